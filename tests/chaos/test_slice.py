"""A slice of the matrix: a run that loses the answer to every write, and a call that goes wrong for as long as the run lasts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.calls import distinct, stages_of
from tests.chaos.matrix import LASTING_EFFECTS, once_effects
from tests.chaos.site import Site
from tests.emulated import Emulator
from tests.flows.conftest import conversations, workspace

__all__ = ["conversations", "workspace"]

ARM = "management.azure.com"
WRITES = (("PUT", ARM), ("POST", ARM), ("POST", "*.inference.ml.azure.com"), ("DELETE", ARM))
READS = {
    "429 with Retry-After": "*/workspaces/emulator-ws/jobs/ft-*",
    "500": "*/workspaces/emulator-ws/computes/*",
    "503": "*/registries/azureml/models/*",
    "reset before": "*/history/*/children",
    "answer lost": "*/mlflow/metrics/get-history",
    "answer 1 s late": "*/mfeOperationsStatus/*",
}


@pytest.fixture(scope="module")
def under_faults(emulator: Emulator, workspace: object, conversations: Path) -> Iterator[tuple[Site, list[int]]]:
    """A site whose own run, the one that trains, lost the first answer to every write, and met a failing read of each kind;
    and how many calls each rule hit."""
    kinds = once_effects(delay=1.0)
    with ExitStack() as rules:
        # Storage's client waits for 15 s before it tries again, so of the uploads only one loses its answer.
        blob = {"method": "PUT", "path": "*.blob.core.windows.net/*"}
        writes: list[dict[str, Any]] = [
            {"method": method, "path": f"{host}/*", "each_path": True} for method, host in WRITES
        ]
        wanted = [(match, kinds["answer lost"]) for match in (blob, *writes)]
        wanted += [({"method": "GET", "path": path}, kinds[name]) for name, path in READS.items()]
        put = [rules.enter_context(emulator.fault(*rule)) for rule in wanted]
        site = Site(emulator, conversations)
        hits = {rule["id"]: rule["hits"] for rule in emulator.ask("GET", "/faults")}
    yield site, [hits[id] for id in put]


def test_a_run_that_loses_the_answer_to_every_write_completes_and_doubles_nothing(
    under_faults: tuple[Site, list[int]],
) -> None:
    site, hits = under_faults
    assert not site.trained.wrong, f"{site.trained.wrong}; {site.trained.message}"
    made = {(call["method"], call["host"] + call["path"]) for call in site.trained.record}
    wanted = [sum(method == m and fnmatchcase(path, f"{host}/*") for m, path in made) for method, host in WRITES]
    assert hits == [1, *wanted, *[1] * len(READS)]
    assert sum(wanted) > 10


def test_a_write_that_stays_forbidden_fails_the_run_in_words_and_leaves_nothing(
    under_faults: tuple[Site, list[int]],
) -> None:
    site, _ = under_faults
    calls = distinct(site.trained.record)
    deployment = next(call for call in calls if call.method == "PUT" and call.path.endswith("/deployments/demo"))
    ended = site.lasting(deployment, LASTING_EFFECTS["lasting 403"], trains=False)
    assert not ended.wrong, f"{ended.wrong}; {ended.message}"
    assert "Stage create_deployment failed: " in ended.message


def test_a_call_is_attributed_to_the_stage_that_makes_it(under_faults: tuple[Site, list[int]]) -> None:
    site, _ = under_faults
    stages = {call[:2]: names for call, names in stages_of(site.record(trains=False)).items()}
    [scored] = [names for (method, path), names in stages.items() if method == "POST" and path.endswith("/score")]
    [deleted] = [names for (method, path), names in stages.items() if method == "DELETE"]
    [found] = [names for (method, path), names in stages.items() if path.endswith("/registries/azureml/discovery")]
    assert (scored, deleted, found) == (("smoke_score",), ("teardown",), ("resolve_credentials",))
