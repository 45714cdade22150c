"""Which parameter counts."""

from typing import Any

import pytest
from pydantic import ValidationError

from tasks.azure_ml.errors import InvalidConfiguration
from tasks.parameters import DEFAULTS, DeclaredInput, MergedParameter, TrainingParameters, display_name, merge

DECLARED = {
    "num_train_epochs": DeclaredInput("integer", min=1),
    "per_device_train_batch_size": DeclaredInput("integer", min=1),
    "per_device_eval_batch_size": DeclaredInput("integer", min=1),
    "learning_rate": DeclaredInput("number"),
    "lr_scheduler_type": DeclaredInput("string", enum=["linear", "cosine"]),
    "apply_lora": DeclaredInput("string", enum=["true", "false"]),
    "apply_deepspeed": DeclaredInput("string", enum=["true", "false"]),
    "deepspeed_stage": DeclaredInput("string", enum=["2", "3"]),
    "precision": DeclaredInput("string", enum=["32", "16"]),
}


def merged(explicit: dict[str, Any] | None = None, model: dict[str, Any] | None = None) -> dict[str, MergedParameter]:
    return {row.name: row for row in merge(DECLARED, explicit or {}, model or {}, DEFAULTS)}


def test_explicit_wins_over_the_model_and_the_model_over_the_default() -> None:
    rows = merged({"num_train_epochs": 7}, {"num_train_epochs": 5, "learning_rate": 1e-4})
    assert (rows["num_train_epochs"].value, rows["num_train_epochs"].source) == (7, "explicit")
    assert (rows["learning_rate"].value, rows["learning_rate"].source) == (1e-4, "model")
    assert (rows["lr_scheduler_type"].value, rows["lr_scheduler_type"].source) == ("cosine", "default")


def test_values_are_written_in_the_declared_type() -> None:
    rows = merged({"apply_lora": False}, {"precision": 16})
    assert rows["apply_lora"].value == "false"
    assert rows["precision"].value == "16"
    assert rows["deepspeed_stage"].value == "2"


def test_what_the_component_does_not_declare_is_left_out_and_said() -> None:
    rows = merged(model={"learning_rate_min": 1e-6, "ignore_me": 1})
    assert not rows["learning_rate_min"].passed
    assert not rows["ignore_me"].passed
    assert rows["ignore_me"].note


def test_an_explicit_parameter_that_the_component_does_not_know_is_refused() -> None:
    with pytest.raises(InvalidConfiguration, match="no_such_input"):
        merged({"no_such_input": 1})


def test_the_models_bounds_move_a_default_learning_rate() -> None:
    row = merged(model={"learning_rate_min": 1e-5, "learning_rate_max": 1e-3})["learning_rate"]
    assert row.value == 1e-5
    assert "bound" in row.note


def test_an_explicit_learning_rate_outside_the_models_bounds_is_refused() -> None:
    with pytest.raises(InvalidConfiguration, match=r"1e-05 to 0\.001"):
        merged({"learning_rate": 0.1}, {"learning_rate_min": 1e-5, "learning_rate_max": 1e-3})


@pytest.mark.parametrize(
    "explicit", [{"lr_scheduler_type": "zigzag"}, {"num_train_epochs": 0}, {"num_train_epochs": "many"}]
)
def test_a_value_that_the_component_does_not_take_is_refused(explicit: dict[str, Any]) -> None:
    with pytest.raises(InvalidConfiguration, match=next(iter(explicit))):
        merged(explicit)


def test_a_publishers_learning_rate_that_is_no_number_is_refused_by_name() -> None:
    with pytest.raises(InvalidConfiguration, match="learning_rate must be of type number, not 'low'"):
        merged(model={"learning_rate": "low"})


def test_an_unknown_name_in_the_group_is_refused() -> None:
    with pytest.raises(ValidationError, match="epochs"):
        TrainingParameters.model_validate({"epochs": 3})


@pytest.mark.parametrize(
    "values",
    [
        {"evaluation_strategy": "steps"},
        {"apply_deepspeed": False, "deepspeed_stage": 2},
        {"other": {"learning_rate": 1}},
        {"learning_rate": 0},
        {"num_train_epochs": 0},
    ],
)
def test_values_that_do_not_fit_together_or_are_out_of_range_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TrainingParameters.model_validate(values)


def test_only_what_somebody_decided_is_explicit() -> None:
    assert TrainingParameters().explicit() == {}
    assert TrainingParameters(seed=1, other={"optim": "adafactor"}).explicit() == {"seed": 1, "optim": "adafactor"}


def test_the_display_name_is_the_references() -> None:
    values = {row.name: row.value for row in merged().values()}
    assert display_name("Phi-3-mini-4k-instruct", "ultrachat", values, gpus_per_node=4) == (
        "Phi-3-mini-4k-instruct-ultrachat-bs4-cosine-ds2-lora-save_limit-1-seqlen-1"
    )


def test_the_display_name_counts_all_that_makes_a_batch() -> None:
    values = {
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 3,
        "num_nodes_finetune": 2,
        "apply_lora": "false",
        "apply_deepspeed": "false",
        "save_total_limit": 5,
        "max_seq_length": 512,
    }
    assert (
        display_name("m", "ultrachat", values, gpus_per_node=4)
        == "m-ultrachat-bs48-linear-nods-nolora-save_limit5-seqlen512"
    )
