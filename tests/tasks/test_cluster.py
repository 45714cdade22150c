"""Making the cluster when Azure has no quota or no nodes, or refuses it."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from azure.core.exceptions import HttpResponseError

from blocks import AzureMLWorkspace
from tasks.azure_ml.errors import AzureFailure, InvalidConfiguration
from tasks.azure_ml.foundation import FoundationModel
from tasks.compute import ComputeParameters, ValidatedCompute, validate_compute
from tests.emulated import Emulator, pointed_at, running_emulator

SIZE = "Standard_NC6s_v3"


@pytest.fixture
def cluster() -> str:
    return f"cluster-a{uuid4().hex[:8]}"


def validated(
    workspace: AzureMLWorkspace, foundation: FoundationModel, cluster: str, priority: Any
) -> ValidatedCompute:
    choice = ComputeParameters(cluster=cluster, size=SIZE, priority=priority)
    return validate_compute.fn(workspace, foundation, choice, 1, None)


def creation(cluster: str) -> dict[str, str]:
    return {"method": "PUT", "path": f"management.azure.com/*/computes/{cluster}"}


@pytest.mark.parametrize(
    "effect",
    [
        {"kind": "quota"},
        {"kind": "status", "status": 400, "code": "AllocationFailed", "message": "Sold out."},
        {"kind": "status", "status": 400, "code": "SkuNotAvailable", "message": "Not here."},
    ],
    ids=["quota", "capacity", "not available"],
)
def test_without_dedicated_nodes_low_priority_ones_are_taken(
    workspace: AzureMLWorkspace, emulator: Emulator, foundation: FoundationModel, cluster: str, effect: dict[str, Any]
) -> None:
    with emulator.fault(creation(cluster), effect):
        made = validated(workspace, foundation, cluster, "dedicated_then_low_priority")
    assert (made.created, made.tier) == (True, "low_priority")
    assert workspace.client().compute.get(cluster).tier == "low_priority"


def test_without_quota_for_either_the_last_refusal_is_told(
    workspace: AzureMLWorkspace, emulator: Emulator, foundation: FoundationModel, cluster: str
) -> None:
    with (
        emulator.fault({**creation(cluster), "times": 0}, {"kind": "quota"}),
        pytest.raises(AzureFailure, match=f"creating cluster {cluster} .*low_priority.* failed, regional quota"),
    ):
        validated(workspace, foundation, cluster, "dedicated_then_low_priority")


def test_another_refusal_is_not_taken_for_a_lack_of_quota(
    workspace: AzureMLWorkspace, emulator: Emulator, foundation: FoundationModel, cluster: str
) -> None:
    refused = {"kind": "status", "status": 403, "code": "AuthorizationFailed", "message": "Not allowed."}
    with (
        emulator.fault({**creation(cluster), "times": 0}, refused),
        pytest.raises(AzureFailure, match="failed, roles"),
    ):
        validated(workspace, foundation, cluster, "dedicated_then_low_priority")
    calls = [call for call in emulator.ask("GET", "/calls") if call["method"] == "PUT" and cluster in call["path"]]
    assert len(calls) == 1, "never with the other priority; the stage is tried again by Prefect"


def test_a_cluster_whose_provisioning_failed_is_refused(
    workspace: AzureMLWorkspace, emulator: Emulator, foundation: FoundationModel, cluster: str
) -> None:
    from azure.ai.ml.entities import AmlCompute

    full = {"kind": "operation_failed", "message": "The subnet is full."}
    with emulator.fault(creation(cluster), full), pytest.raises(HttpResponseError, match="The subnet is full"):
        workspace.client().compute.begin_create_or_update(AmlCompute(name=cluster, size=SIZE)).result()
    with pytest.raises(InvalidConfiguration, match=f"Provisioning of cluster {cluster} failed"):
        validated(workspace, foundation, cluster, "dedicated")


def test_a_cluster_that_another_is_creating_is_waited_for(
    tmp_path: Path, foundation: FoundationModel, cluster: str
) -> None:
    from azure.ai.ml.entities import AmlCompute

    # A faithful emulator takes Azure's time to create.
    with running_emulator(tmp_path / "state", "--faithful") as emulator, pointed_at(emulator):
        workspace = emulator.block()
        computes = workspace.client().compute
        computes.begin_create_or_update(AmlCompute(name=cluster, size=SIZE))
        assert computes.get(cluster).provisioning_state == "Creating"
        assert validated(workspace, foundation, cluster, "dedicated").created is False
        assert computes.get(cluster).provisioning_state == "Succeeded"
