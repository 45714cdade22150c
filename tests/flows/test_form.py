"""What the flow looks like to Prefect before it runs."""

import json
import logging
import re
import subprocess
import sys
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ParameterTypeError
from prefect.states import Crashed
from prefect.utilities.schema_tools.validation import ValidationError, validate

from flows.finetune import finetune
from flows.hooks import release_what_it_made

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


NUMBERS = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")


@pytest.mark.parametrize("group", groups())
def test_every_description_has_the_bounds_and_a_default_or_an_example(group: str) -> None:
    for name, field in groups()[group]["properties"].items():
        said = field["description"]
        assert re.search(r"[Dd]efault|[Ff]or example|Empty: ", said), name
        for variant in (field, *field.get("anyOf", [])):
            for bound in NUMBERS:
                assert bound not in variant or re.search(
                    rf"(at least|at most|than) {variant[bound]:,}\b", said, re.IGNORECASE
                ), name
        assert said.endswith("."), name


def test_a_sentence_of_the_form_has_its_bounds_its_default_and_its_example() -> None:
    said = {name: field["description"] for name, field in groups()["TrainingParameters"]["properties"].items()}
    assert said["lora_dropout"] == (
        "The share of LoRA's inputs that is left out at random. Default: the model's own, else the component's own. At least 0, "
        "less than 1; for example 0.05."
    )
    said = {name: field["description"] for name, field in groups()["ScoringParameters"]["properties"].items()}
    assert said["rows"].endswith("At least 1, at most 100; default 1.")


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


NAMES = {
    "model.name": ("meta-llama/Llama-3.1-8B", "1 to 255 letters, digits, dots, dashes", "Phi-3.5-mini-instruct"),
    "compute.cluster": ("gpu-cluster-1", "3 to 24 letters, digits and dashes", "gpu-cluster-a100"),
    "pipeline.component": ("chat.completion", "1 to 255 letters, digits, dashes", "chat_completion_pipeline"),
    "pipeline.experiment": ("chat/Phi-3.5", "1 to 256 letters, digits, dashes", "chat_completion_Phi-4"),
    "registration.name": ("Phi-3.5-chats", "1 to 255 letters, digits, dashes", "Phi-4-chats"),
    "deployment.endpoint": ("chats_of_may", "3 to 32 letters, digits and single dashes", "chats-of-may"),
    "job_key": ("nightly/chats", "1 to 248 letters, digits, dashes", "june-trial"),
}


@pytest.mark.parametrize("parameter", NAMES)
def test_a_name_that_azure_refuses_is_refused_in_one_sentence(parameter: str) -> None:
    name, allowed, example = NAMES[parameter]
    group, _, field = parameter.rpartition(".")
    given = {group: {field: name}} if group else {field: name}
    with pytest.raises(ParameterTypeError) as refused:
        finetune.validate_parameters(given)
    said = str(refused.value)
    assert said.count("\n") == 1, "one line below Prefect's own"
    assert f"- {parameter}: Value error, {field} '{name}' is not what Azure ML takes as " in said
    assert f" Give {allowed}" in said and said.endswith(f"; for example {example}.")


@pytest.mark.parametrize("parameter", NAMES)
def test_a_name_that_azure_refuses_never_becomes_a_run(parameter: str) -> None:
    """As the API holds parameters of deployments, and of their schedules, to the form."""
    name, _, example = NAMES[parameter]
    group, _, field = parameter.rpartition(".")
    schema = finetune.parameters.model_dump()
    validate({group: {field: example}} if group else {field: example}, schema, raise_on_error=True)
    with pytest.raises(ValidationError, match="does not match"):
        validate({group: {field: name}} if group else {field: name}, schema, raise_on_error=True)


def test_the_defaults_are_a_valid_run() -> None:
    assert finetune.validate_parameters({})["model"].name == "Phi-3-mini-4k-instruct"


def test_cancellation_and_crash_release_what_the_run_made() -> None:
    assert release_what_it_made in finetune.on_cancellation_hooks
    assert release_what_it_made in finetune.on_crashed_hooks


def test_the_hook_takes_its_arguments_by_the_names_that_a_worker_uses() -> None:
    code = release_what_it_made.__code__
    assert code.co_varnames[: code.co_argcount] == ("flow", "flow_run", "state")


def test_the_hook_leaves_a_run_alone_that_is_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.hooks.flow_run_logger", lambda *_: logging.getLogger("a-run"))
    monkeypatch.setattr("flows.hooks.had_not_begun", lambda _: True)
    monkeypatch.setattr("flows.hooks.load_workspace", lambda name: pytest.fail(f"it looks into {name}"))
    release_what_it_made(finetune, FlowRun(id=uuid4(), flow_id=uuid4(), name="nimble-otter"), Crashed())
