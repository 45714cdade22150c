"""A cell is void when what its stage rests on has changed, and only then."""

from __future__ import annotations

import pytest

from tests.emulated import ROOT
from tests.resilience import digest as module
from tests.resilience.digest import digest


def changed(monkeypatch: pytest.MonkeyPatch, name: str, stage: str) -> bool:
    """Whether the stage's digest is another one when that file is."""
    before, read = digest.__wrapped__(tuple(stage.split())), module._read
    with monkeypatch.context() as patch:
        patch.setattr(module, "_read", lambda file: read(file) + (b"#" if file == ROOT / name else b""))
        return bool(digest.__wrapped__(tuple(stage.split())) != before)


@pytest.mark.parametrize(
    ("file", "stage", "void"),
    [
        ("tasks/registration.py", "register_model", True),
        ("tasks/registration.py", "resolve_credentials", False),
        ("tasks/azure_ml/kinds.py", "resolve_credentials", True),
        ("tasks/sampling/reading.py", "sample_dataset", True),
        ("tasks/sampling/reading.py", "teardown", False),
        ("tasks/sampling/reading.py", "teardown sample_dataset", True),
        ("flows/hooks.py", "sample_dataset", True),
        ("flows/finetune.py", "teardown", True),
        ("blocks/azure_credentials.py", "smoke_score", True),
        ("tasks/release.py", "sample_dataset", True),
        ("tasks/orphans.py", "resolve_credentials", True),
        ("emulator/arm/jobs.py", "teardown", True),
        ("emulator/components/chat_completion/chat_completion_finetune.yaml", "teardown", True),
        ("tests/resilience/verdict.py", "teardown", True),
    ],
)
def test_a_stage_s_digest_is_of_what_it_imports_and_of_what_every_run_goes_through(
    file: str, stage: str, void: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert changed(monkeypatch, file, stage) is void


def test_what_judges_a_cell_belongs_to_its_digest() -> None:
    judges = ("tests/resilience/digest.py",)
    assert module.digest(("teardown",), judges) != module.digest(("teardown",))
