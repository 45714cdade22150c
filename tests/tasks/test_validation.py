"""Models and computes that do not do end here, with one sentence and nothing created."""

from typing import Any

import pytest

from blocks import AzureMLWorkspace
from tasks.azure_ml.errors import InvalidConfiguration
from tasks.azure_ml.foundation import FoundationModel
from tasks.compute import ComputeParameters, ValidatedCompute, validate_compute

SIZE = "Standard_NC6s_v3"


def validated(
    workspace: AzureMLWorkspace,
    foundation: FoundationModel,
    nodes: int = 1,
    instance_type: str | None = SIZE,
    **choice: Any,
) -> ValidatedCompute:
    return validate_compute.fn(workspace, foundation, ComputeParameters(**choice), nodes, instance_type)


def clusters(workspace: AzureMLWorkspace) -> set[str]:
    return {str(compute.name) for compute in workspace.client().compute.list()}


def test_the_default_model_is_found_with_what_its_publisher_says(foundation: FoundationModel) -> None:
    assert foundation.id.startswith("azureml://registries/azureml/models/Phi-3-mini-4k-instruct/versions/")
    assert not foundation.archived
    assert foundation.finetune_allow_list
    assert foundation.defaults["apply_lora"] == "true"


def test_a_missing_cluster_is_created_and_then_found(workspace: AzureMLWorkspace, foundation: FoundationModel) -> None:
    first = validated(workspace, foundation, cluster="made-once", size=SIZE, max_nodes=3, idle_seconds=300)
    made: Any = workspace.client().compute.get("made-once")
    assert (made.min_instances, made.max_instances, made.idle_time_before_scale_down) == (0, 3, 300)
    again = validated(workspace, foundation, cluster="made-once", max_nodes=1, nodes=2)
    assert (first.created, again.created) == (True, False)
    assert (again.size.lower(), again.gpus_per_node, again.tier) == (SIZE.lower(), 1, "dedicated")
    assert {line.purpose.split()[0] for line in again.quota} == {"training", "serving"}


def test_a_cluster_of_another_size_is_refused(workspace: AzureMLWorkspace, foundation: FoundationModel) -> None:
    validated(workspace, foundation, cluster="small-one", size=SIZE)
    with pytest.raises(InvalidConfiguration, match="not Standard_NC24rs_v3"):
        validated(workspace, foundation, cluster="small-one", size="Standard_NC24rs_v3")


@pytest.mark.parametrize(
    ("choice", "why"),
    [
        ({"size": "Standard_DS3_v2"}, "no GPU"),
        ({"size": "Standard_NoSuchSize"}, "not offered"),
        ({"size": "Standard_NC24"}, "list of sizes for fine-tuning|not offered"),
        ({"size": "Standard_NC24rs_v3", "max_nodes": 90, "nodes": 90}, "need 2160 vCPUs of family"),
        ({"size": SIZE, "nodes": 2}, "at most 1"),
        ({"size": SIZE, "instance_type": "Standard_DS3_v2"}, "list of sizes for inference"),
    ],
)
def test_what_does_not_do_is_refused_before_anything_is_created(
    workspace: AzureMLWorkspace, foundation: FoundationModel, choice: dict[str, Any], why: str
) -> None:
    with pytest.raises(InvalidConfiguration, match=why):
        validated(workspace, foundation, cluster="never-made", **choice)
    assert "never-made" not in clusters(workspace)
