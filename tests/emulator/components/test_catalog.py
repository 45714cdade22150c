"""The components' YAML files agree with each other, and say what Azure's do."""

from __future__ import annotations

import importlib.util
import re

import pytest

from emulator.components.catalog import component, system_components

PIPELINE = component("chat_completion_pipeline").document
STEPS = [
    "ft_nlp_common_validation",
    "chat_completion_model_import",
    "chat_completion_datapreprocess",
    "chat_completion_finetune",
    "ft_nlp_model_converter",
]


def test_the_pipelines_children_are_azures_in_azures_order() -> None:
    assert list(PIPELINE["jobs"]) == STEPS


@pytest.mark.parametrize("name", STEPS)
def test_a_job_refers_to_a_version_that_the_registry_holds(name: str) -> None:
    assert PIPELINE["jobs"][name]["component"] == f"azureml:{name}:{component(name).version}"


@pytest.mark.parametrize("name", STEPS)
def test_a_job_binds_inputs_of_its_component_to_inputs_of_the_same_type_and_default(name: str) -> None:
    declared = component(name).document["inputs"]
    for port, binding in PIPELINE["jobs"][name]["inputs"].items():
        if parent := re.fullmatch(r"\$\{\{parent\.inputs\.(\w+)}}", binding):
            outer = PIPELINE["inputs"][parent[1]]
            kept = ("type", "default", "enum", "min")
            assert {key: declared[port].get(key) for key in kept} == {key: outer.get(key) for key in kept}
        elif output := re.fullmatch(r"\$\{\{parent\.jobs\.(\w+)\.outputs\.(\w+)}}", binding):
            assert output[2] in component(output[1]).document["outputs"]
            assert STEPS.index(output[1]) < STEPS.index(name)


@pytest.mark.parametrize("name", STEPS)
def test_every_required_input_of_a_step_is_bound(name: str) -> None:
    required = {port for port, spec in component(name).document["inputs"].items() if not spec["optional"]}
    assert required <= set(PIPELINE["jobs"][name]["inputs"])


@pytest.mark.parametrize("name", STEPS)
def test_a_command_line_names_each_port_once_and_optional_ones_optionally(name: str) -> None:
    document = component(name).document
    for port, spec in document["inputs"].items():
        argument = f"--{port} '${{{{inputs.{port}}}}}'"
        assert document["command"].count(argument) == 1
        assert (f"$[[{argument}]]" in document["command"]) == spec["optional"]
    for port in document["outputs"]:
        assert document["command"].count(f"--{port} '${{{{outputs.{port}}}}}'") == 1


@pytest.mark.parametrize("name", STEPS)
def test_a_command_line_starts_a_module_that_exists(name: str) -> None:
    module = component(name).document["command"].split()[2]
    assert importlib.util.find_spec(module)


def test_both_outputs_of_the_pipeline_are_written_by_a_step() -> None:
    bound = {binding for job in PIPELINE["jobs"].values() for binding in job.get("outputs", {}).values()}
    assert bound == {f"${{{{parent.outputs.{name}}}}}" for name in PIPELINE["outputs"]}


def test_the_notebooks_parameters_are_inputs_of_the_types_it_sends() -> None:
    inputs = PIPELINE["inputs"]
    assert {
        name: inputs[name]["type"] for name in ("num_train_epochs", "learning_rate", "apply_lora", "deepspeed_stage")
    } == {
        "num_train_epochs": "integer",
        "learning_rate": "number",
        "apply_lora": "string",
        "deepspeed_stage": "string",
    }
    assert inputs["precision"]["enum"] == ["32", "16"]
    assert inputs["apply_lora"]["enum"] == ["true", "false"]
    assert inputs["learning_rate"]["default"] == 2e-5


def test_every_input_is_optional_but_the_task_which_has_a_default() -> None:
    assert [name for name, port in PIPELINE["inputs"].items() if not port["optional"]] == ["task_name"]
    assert PIPELINE["inputs"]["task_name"]["default"] == "ChatCompletion"


def test_an_unknown_component_is_named() -> None:
    with pytest.raises(KeyError, match="holds no component 'nope'"):
        component("nope")


def test_versions_are_text() -> None:
    assert all(isinstance(each.version, str) for each in system_components())
