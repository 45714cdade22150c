"""Pipelines are put together, and refused, before anything runs."""

from __future__ import annotations

from typing import Any

import pytest

from emulator.components.catalog import component
from emulator.engine.components import Components
from emulator.engine.definitions import Graph
from emulator.engine.failure import RunFailed
from emulator.store import Document

REGISTRY = "azureml://registries/azureml/components"


class NoAssets:
    """A workspace without assets."""

    def find(self, kind: str, name: str, version: str) -> Document | None:
        return None


class Registry:
    """The system registry's components, and one that contains itself."""

    def component(self, name: str, version: str) -> dict[str, Any] | None:
        if name == "endless":
            return {
                "name": name,
                "type": "pipeline",
                "jobs": {"again": {"type": "pipeline", "component": "azureml:endless:1"}},
            }
        return component(name).document


def graph(jobs: dict[str, Any], **properties: Any) -> Graph:
    return Components(NoAssets(), Registry()).graph({"jobType": "Pipeline", "jobs": jobs, **properties})


def command(inputs: dict[str, Any] | None = None) -> dict[str, Any]:
    """A node whose component takes an optional `x` and writes `y`."""
    spec = {
        "command": "true",
        "inputs": {"x": {"type": "string", "optional": "True"}},
        "outputs": {"y": {"type": "uri_folder"}},
    }
    return {"type": "command", "component": spec, "inputs": inputs or {}}


def test_the_system_pipeline_is_five_steps_that_end_in_the_models_two_outputs() -> None:
    pipeline = component("chat_completion_pipeline").document
    node = {
        "type": "pipeline",
        "componentId": f"{REGISTRY}/chat_completion_pipeline/versions/{pipeline['version']}",
        "inputs": {},
        "outputs": {"mlflow_model_folder": {"type": "literal", "value": "${{parent.outputs.trained_model}}"}},
    }
    found = graph({"tune": node}, outputs={"trained_model": {"jobOutputType": "mlflow_model"}}).nodes["tune"].component
    assert isinstance(found, Graph)
    assert len(found.nodes) == 5
    assert set(found.outputs) == {"pytorch_model_folder", "mlflow_model_folder"}


def test_a_node_needs_those_whose_outputs_it_takes() -> None:
    found = graph({"a": command(), "b": command({"x": "${{parent.jobs.a.outputs.y}}"})})
    assert found.nodes["b"].needs() == {"a"}


@pytest.mark.parametrize(
    ("jobs", "reason"),
    [
        (
            {"a": command({"x": "${{parent.jobs.b.outputs.y}}"}), "b": command({"x": "${{parent.jobs.a.outputs.y}}"})},
            "wait for each other",
        ),
        ({"a": command({"x": "${{parent.jobs.b.outputs.y}}"})}, "which is not there"),
        ({"a": command({"z": "1"})}, "given the input 'z'"),
        ({"a": command({"x": "${{parent.inputs.none}}"})}, "no input of the pipeline"),
        (
            {"a": {"type": "pipeline", "componentId": f"{REGISTRY}/endless/versions/1"}},
            "does a component contain itself",
        ),
        ({"a": {"type": "command", "componentId": "azureml:none:1"}}, "Component none:1 not found"),
    ],
)
def test_what_cannot_run_is_refused_with_its_reason(jobs: dict[str, Any], reason: str) -> None:
    with pytest.raises(RunFailed, match=reason):
        graph(jobs)
