"""How a step reads its arguments and reports its failures."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

import pytest

from emulator.components.step import Terminated, UserError, run
from tests.emulator.components.steps import arguments

FINETUNE = "chat_completion_finetune"
PATHS = {"preprocess_output": "p", "model_selector_output": "m", "pytorch_model_folder": "o"}


def test_arguments_come_in_their_declared_types() -> None:
    given = arguments(FINETUNE, num_train_epochs="3", learning_rate="5e-06", apply_lora="true", precision="16", **PATHS)
    assert (given.num_train_epochs, given.learning_rate, given.apply_lora, given.precision) == (3, 5e-6, True, "16")
    assert given.preprocess_output == Path.cwd() / "p"


def test_what_is_not_given_has_the_declared_default_or_is_none() -> None:
    given = arguments(FINETUNE, **PATHS)
    assert (given.lora_alpha, given.merge_lora_weights, given.optim, given.deepspeed) == (
        128,
        True,
        "adamw_torch",
        None,
    )


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("num_train_epochs", "0", "less than the minimum, 1"),
        ("num_train_epochs", "three", "not of type integer"),
        ("optim", "sgd", "none of adamw_torch, adafactor"),
        ("apply_lora", "yes", "none of true, false"),
        ("learning_rate_min", "0", "unrecognized arguments: --learning_rate_min"),
    ],
)
def test_a_wrong_argument_is_named_with_what_is_wrong(name: str, value: str, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        arguments(FINETUNE, **{name: value}, **PATHS)


@pytest.mark.parametrize(
    ("error", "code", "reported"),
    [
        (
            UserError("Give a larger max_seq_length."),
            1,
            {"code": "UserError", "message": "Give a larger max_seq_length."},
        ),
        (RuntimeError("disk"), 1, {"code": "SystemError", "message": f"{FINETUNE} failed: RuntimeError: disk"}),
        (Terminated("stopped"), 143, None),
    ],
)
def test_a_failure_is_left_where_the_engine_looks_for_it(
    error: Exception, code: int, reported: dict[str, str] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZUREML_ERROR_FILE", str(tmp_path / "error.json"))

    def fail(_: Namespace) -> None:
        raise error

    with pytest.raises(SystemExit) as end:
        run(FINETUNE, fail, [text for key, value in PATHS.items() for text in (f"--{key}", value)])
    assert end.value.code == code
    written = (tmp_path / "error.json").read_text() if (tmp_path / "error.json").exists() else "null"
    assert json.loads(written) == reported
