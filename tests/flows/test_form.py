"""What the flow looks like to Prefect before it runs."""

import json
import subprocess
import sys
from typing import Any

import pytest
from prefect.exceptions import ParameterTypeError

from flows.finetune import finetune, release_what_it_made

HEAVY = [
    "azure.ai.ml",
    "azure.identity",
    "azure.core",
    "mlflow",
    "polars",
    "pandas",
    "torch",
    "transformers",
    "datasets",
    "pyarrow",
]


def test_importing_the_flow_loads_nothing_heavy() -> None:
    code = f"import sys, json, flows.finetune; print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert json.loads(loaded) == []


def groups() -> dict[str, dict[str, Any]]:
    definitions = finetune.parameters.model_dump()["definitions"]
    return {name: schema for name, schema in definitions.items() if schema.get("type") == "object"}


@pytest.mark.parametrize("group", groups())
def test_every_field_has_a_title_a_description_and_a_place(group: str) -> None:
    fields = groups()[group]["properties"]
    assert all(field.get("title") and field.get("description") for field in fields.values())
    assert sorted(field["position"] for field in fields.values()) == list(range(len(fields)))
    # The form takes what is in angle brackets for HTML and leaves it out.
    assert not any("<" in field["description"] for field in fields.values())


@pytest.mark.parametrize(
    "parameters",
    [
        {"dataset": {"percentage": 5}},
        {"training": {"epochs": 1}},
        {"training": {"learning_rate": -1}},
        {"deployment": {"request_timeout_ms": 200_000}},
        {"deployment": {"endpoint": "1-starts-with-a-digit"}},
        {"compute": {"priority": "free"}},
    ],
)
def test_nonsense_is_refused_before_a_run_begins(parameters: dict[str, Any]) -> None:
    with pytest.raises(ParameterTypeError):
        finetune.validate_parameters(parameters)


def test_the_defaults_are_a_valid_run() -> None:
    assert finetune.validate_parameters({})["model"].name == "Phi-3-mini-4k-instruct"


def test_cancellation_and_crash_release_what_the_run_made() -> None:
    assert release_what_it_made in finetune.on_cancellation_hooks
    assert release_what_it_made in finetune.on_crashed_hooks


def test_the_hook_takes_its_arguments_by_the_names_that_a_worker_uses() -> None:
    code = release_what_it_made.__code__
    assert code.co_varnames[: code.co_argcount] == ("flow", "flow_run", "state")
