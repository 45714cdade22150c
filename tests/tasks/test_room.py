"""Whether the quota that a subscription has left suffices: counted as Azure counts it, against an emulator that others fill."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from azure.ai.ml.entities import AmlCompute

from blocks import AzureMLWorkspace
from tasks.azure_ml.errors import InvalidConfiguration
from tasks.azure_ml.foundation import FoundationModel
from tasks.compute import ComputeParameters, ValidatedCompute, validate_compute
from tasks.endpoint import DeploymentParameters, create_deployment, create_endpoint
from tasks.held import cluster_doing, wait_until_idle_nodes_are_gone
from tasks.models import ModelParameters, find_foundation_model
from tasks.naming import RunNames
from tasks.registration import RegisteredModel
from tasks.release import release
from tasks.teardown import TeardownParameters
from tests.emulated import Emulator, pointed_at, running_emulator
from tests.emulator.endpoints.conftest import registered_model
from tests.emulator.jobs.commands import line, status_of, wait

FOUR_V100, ONE_V100, A100 = "Standard_NC24s_v3", "Standard_NC6s_v3", "Standard_NC24ads_A100_v4"
FAMILY = "standardNCSv3Family"


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """One of this module's own, since its tests use its quota up."""
    with running_emulator(tmp_path_factory.mktemp("full") / "state") as emulator, pointed_at(emulator):
        yield emulator


@pytest.fixture(scope="module")
def workspace(emulator: Emulator) -> AzureMLWorkspace:
    return emulator.block()


@pytest.fixture(scope="module")
def foundation(workspace: AzureMLWorkspace) -> FoundationModel:
    return find_foundation_model.fn(workspace, ModelParameters())


@pytest.fixture(autouse=True)
def nothing_left(workspace: AzureMLWorkspace) -> Iterator[None]:
    """Every test begins with all quota free."""
    yield
    computes = workspace.client().compute
    for one in list(computes.list()):
        computes.begin_delete(str(one.name)).result()


def cluster(
    workspace: AzureMLWorkspace, name: str, nodes: int, size: str = FOUR_V100, most: int = 8, tier: str = "dedicated"
) -> None:
    """Has so many nodes up, and keeps them."""
    made = AmlCompute(name=name, size=size, min_instances=nodes, max_instances=most, tier=tier)
    workspace.client().compute.begin_create_or_update(made).result()


def validated(
    workspace: AzureMLWorkspace,
    foundation: FoundationModel,
    serves_on: str | None = None,
    instances: int = 1,
    names: RunNames | None = None,
    **choice: Any,
) -> ValidatedCompute:
    given = ComputeParameters(**{"cluster": "ours", **choice})
    endpoint = names.endpoint if names else None
    return validate_compute.fn(workspace, foundation, given, 1, serves_on, instances, names, endpoint)


def refused(workspace: AzureMLWorkspace, foundation: FoundationModel, *given: Any, **choice: Any) -> str:
    """The refusal, before anything was made."""
    before = {one.name for one in workspace.client().compute.list()}
    with pytest.raises(InvalidConfiguration) as refusal:
        validated(workspace, foundation, *given, **choice)
    assert {one.name for one in workspace.client().compute.list()} == before
    return str(refusal.value)


def test_an_endpoint_needs_what_azure_reserves_for_upgrades(
    workspace: AzureMLWorkspace, foundation: FoundationModel
) -> None:
    cluster(workspace, "theirs", 8)
    sentence = refused(workspace, foundation, ONE_V100, size=A100)
    assert "No quota for serving on 1 instance(s) Standard_NC6s_v3" in sentence
    assert f"need 12 vCPUs of family {FAMILY}, have 8 of 200." in sentence
    assert "6 of the 12 are the 20 % that Azure reserves for upgrades of endpoints" in sentence
    assert "how-to-manage-quotas#virtual-machine-quota-allocation-for-deployment" in sentence
    cluster(workspace, "theirs", 7)
    assert validated(workspace, foundation, ONE_V100, size=A100).created


def test_an_exempt_size_needs_no_reserve(workspace: AzureMLWorkspace, foundation: FoundationModel) -> None:
    cluster(workspace, "theirs", 7, size=A100)
    made = validated(workspace, foundation, A100, size=ONE_V100)
    assert [
        (line.row, line.need, line.used, line.limit) for line in made.quota if line.purpose.startswith("serving")
    ] == [
        ("Total Cluster Dedicated Regional vCPUs", 24, 168, 500),
        ("StandardNCADSA100v4Family", 24, 168, 192),
    ]
    assert "reserve" not in refused(workspace, foundation, A100, 2, size=ONE_V100)


def test_the_total_of_the_region_binds_training_and_serving(
    workspace: AzureMLWorkspace, foundation: FoundationModel
) -> None:
    cluster(workspace, "volta", 7)  # 168 of 200
    cluster(workspace, "ampere", 8, size=A100)  # 192 of 192
    cluster(workspace, "turing", 2, size="Standard_NC64as_T4_v3")  # 128 of 128, and 488 of all 500
    total = "dedicated vCPUs of the whole region (Total Cluster Dedicated Regional vCPUs), have 12 of 500"
    assert f"training on 1 dedicated node(s) {FOUR_V100}: need 24 {total}." in refused(
        workspace, foundation, size=FOUR_V100, priority="dedicated"
    )
    assert f"serving on 2 instance(s) {ONE_V100}: need 18 {total}." in refused(
        workspace, foundation, ONE_V100, 2, size=ONE_V100
    )
    assert validated(workspace, foundation, ONE_V100, size=ONE_V100).tier == "dedicated"


def test_low_priority_has_a_total_of_its_own(workspace: AzureMLWorkspace, foundation: FoundationModel) -> None:
    cluster(workspace, "theirs", 8)
    made = validated(workspace, foundation, size=FOUR_V100)
    assert made.tier == "low_priority"
    assert [(line.row, line.used, line.limit) for line in made.quota] == [
        ("Total Cluster LowPriority Regional vCPUs", 0, 200)
    ]
    cluster(workspace, "cheap", 8, tier="low_priority")
    sentence = refused(workspace, foundation, size=FOUR_V100, cluster="another")
    assert (
        f"dedicated node(s) {FOUR_V100}: need 24 vCPUs of family {FAMILY}, have 8 of 200; nor for training on 1 low-priority"
        in (sentence)
    )
    assert (
        "need 24 low-priority vCPUs of the whole region (Total Cluster LowPriority Regional vCPUs), have 8 of 200."
        in sentence
    )


def test_nodes_of_the_cluster_itself_are_not_in_its_way(
    workspace: AzureMLWorkspace, foundation: FoundationModel
) -> None:
    cluster(workspace, "ours", 8)
    made = validated(workspace, foundation)
    assert [(line.row, line.need, line.used) for line in made.quota][1] == (FAMILY, 24, 0)


def test_nodes_that_a_cluster_keeps_are_in_the_endpoints_way(
    workspace: AzureMLWorkspace, foundation: FoundationModel
) -> None:
    cluster(workspace, "ours", 8)
    assert f"serving on 1 instance(s) {ONE_V100}: need 12 vCPUs of family {FAMILY}, have 8 of 200" in refused(
        workspace, foundation, ONE_V100
    )


def test_busy_nodes_are_gone_when_the_endpoint_comes(workspace: AzureMLWorkspace, foundation: FoundationModel) -> None:
    cluster(workspace, "theirs", 7)  # leaves 32
    cluster(workspace, "ours", 0)
    client = workspace.client()
    job = client.jobs.create_or_update(line("sleep 60", compute="ours"))
    wait(client, job.name, lambda status: status == "Running")
    assert len(list(client.compute.list_nodes("ours"))) == 1, "24 of the 32"
    made = validated(workspace, foundation, ONE_V100)
    assert {line.used for line in made.quota if line.row == FAMILY} == {168}
    client.jobs.begin_cancel(job.name).result()


def test_a_cluster_without_nodes_gets_none_while_others_hold_the_quota(
    workspace: AzureMLWorkspace, foundation: FoundationModel
) -> None:
    cluster(workspace, "ours", 0)
    cluster(workspace, "theirs", 8)
    assert f"training on 1 dedicated node(s) {FOUR_V100}: need 24 vCPUs of family {FAMILY}, have 8 of 200" in refused(
        workspace, foundation
    )


def test_nodes_of_low_priority_are_neither_in_the_endpoints_way_nor_waited_for(
    workspace: AzureMLWorkspace, foundation: FoundationModel
) -> None:
    cluster(workspace, "theirs", 8)
    cluster(workspace, "ours", 0, tier="low_priority")
    client = workspace.client()
    job = client.jobs.create_or_update(line("sleep 60", compute="ours"))
    wait(client, job.name, lambda status: status == "Running")
    assert f"need 12 vCPUs of family {FAMILY}, have 8 of 200" in refused(workspace, foundation, ONE_V100)
    assert not wait_until_idle_nodes_are_gone(workspace, "ours", 2)
    assert not wait_until_idle_nodes_are_gone(workspace, "deleted-meanwhile", 2)
    client.jobs.begin_cancel(job.name).result()


def test_idle_nodes_are_waited_for_no_longer_than_there_is_time(workspace: AzureMLWorkspace) -> None:
    cluster(workspace, "ours", 0)
    client = workspace.client()
    job = client.jobs.create_or_update(line("sleep 60", compute="ours"))
    wait(client, job.name, lambda status: status == "Running")
    began = time.monotonic()
    assert wait_until_idle_nodes_are_gone(workspace, "ours", 2)
    assert time.monotonic() - began < 30
    client.jobs.begin_cancel(job.name).result()


def test_what_a_cluster_does_is_told_and_what_cannot_be_told_hides_nothing(workspace: AzureMLWorkspace) -> None:
    cluster(workspace, "ours", 2)
    assert cluster_doing(workspace, "ours") == "Cluster ours is steady, 2 of 2 wanted nodes are there (2 idle). "
    assert cluster_doing(workspace, "deleted-meanwhile") == ""


def test_a_run_whose_job_failed_needs_nodes_again(workspace: AzureMLWorkspace, foundation: FoundationModel) -> None:
    cluster(workspace, "ours", 0)
    client, names = workspace.client(), RunNames(uuid4())
    job = line("false", compute="ours")
    job.name = names.job(1)
    wait(client, client.jobs.create_or_update(job).name, lambda status: status == "Failed")
    cluster(workspace, "theirs", 8)
    assert "training on 1 dedicated" in refused(workspace, foundation, names=names)


def test_a_run_that_has_trained_needs_no_nodes_again(workspace: AzureMLWorkspace, foundation: FoundationModel) -> None:
    cluster(workspace, "ours", 0)
    client, names = workspace.client(), RunNames(uuid4())
    job = line("true", compute="ours")
    job.name = names.job(1)
    assert wait(client, client.jobs.create_or_update(job).name) == "Completed"
    cluster(workspace, "theirs", 8)
    assert validated(workspace, foundation, names=names).quota[0].need == 0
    assert "training" in refused(workspace, foundation, names=RunNames(uuid4()))


def test_a_run_that_serves_already_needs_no_quota_again(
    workspace: AzureMLWorkspace, emulator: Emulator, foundation: FoundationModel, tmp_path: Path
) -> None:
    cluster(workspace, "ours", 0)
    client, names = workspace.client(), RunNames(uuid4())
    job = line("true", compute="ours")
    job.name = names.job(1)
    assert wait(client, client.jobs.create_or_update(job).name) == "Completed"
    deploy_in_vain(workspace, names, tmp_path)
    cluster(workspace, "theirs", 7)
    cluster(workspace, "small", 3, size=ONE_V100)  # 168 + 18 + the deployment's 12: 2 are free
    assert validated(workspace, foundation, ONE_V100, names=names).quota[-1].used == 186
    assert "have 2 of 200" in refused(workspace, foundation, ONE_V100, names=RunNames(uuid4()))
    assert "have 2 of 200" in refused(workspace, foundation, FOUR_V100, names=names), (
        "another size is another deployment"
    )
    release(workspace, names)


def test_a_size_without_low_priority_is_told_as_that(
    workspace: AzureMLWorkspace, foundation: FoundationModel, monkeypatch: Any
) -> None:
    from tasks import compute
    from tasks.azure_ml.skus import Sku

    def dedicated_only(size: Any) -> Sku:
        size.low_priority_capable = size.lowPriorityCapable = False
        return Sku.of(size)

    monkeypatch.setattr(compute, "Sku", type("Sizes", (), {"of": staticmethod(dedicated_only)}))
    sentence = refused(workspace, foundation, size=FOUR_V100, priority="low_priority")
    assert sentence.startswith(f"VM size {FOUR_V100} has no low-priority nodes. Set compute.priority to dedicated")
    cluster(workspace, "theirs", 8)
    sentence = refused(workspace, foundation, size=FOUR_V100, priority="dedicated_then_low_priority")
    assert "training on 1 dedicated" in sentence and "low-priority" not in sentence


def deploy_in_vain(workspace: AzureMLWorkspace, names: RunNames, folder: Path) -> None:
    """A deployment that fails for want of a model, and is there."""
    model = registered_model(workspace.client(), folder / "weights", name=f"served-{uuid4().hex[:8]}")
    choice = DeploymentParameters(liveness_initial_delay=1)
    endpoint = create_endpoint.fn(workspace, names, choice, TeardownParameters(), "served")
    registered = RegisteredModel(id=str(model.id), name=str(model.name), version=str(model.version), tags={})
    with pytest.raises(Exception, match="failed"):
        create_deployment.fn(workspace, names, endpoint, registered, choice, "ours")


def test_a_deployment_waits_for_the_nodes_that_trained(
    workspace: AzureMLWorkspace, emulator: Emulator, tmp_path: Path
) -> None:
    """Azure keeps them for the cluster's idle time, and their quota with them."""
    cluster(workspace, "ours", 0)
    client, names = workspace.client(), RunNames(uuid4())
    job = client.jobs.create_or_update(line("sleep 15", compute="ours"))
    wait(client, job.name, lambda status: status == "Running")
    deployments = {"method": "PUT", "path": "management.azure.com/*/deployments/*"}
    with emulator.fault(deployments, {"kind": "quota"}):
        deploy_in_vain(workspace, names, tmp_path)
    assert status_of(client, job.name) == "Completed"
    calls = [
        call
        for call in emulator.ask("GET", "/calls")
        if call["method"] == "PUT" and f"{names.endpoint}/deployments" in call["path"]
    ]
    assert len(calls) == 2
    release(workspace, names)


def test_a_deployment_that_no_nodes_are_in_the_way_of_is_asked_for_once(
    workspace: AzureMLWorkspace, emulator: Emulator, tmp_path: Path
) -> None:
    cluster(workspace, "ours", 2)
    names = RunNames(uuid4())
    deployments = {"method": "PUT", "path": "management.azure.com/*/deployments/*", "times": 0}
    began = time.monotonic()
    with emulator.fault(deployments, {"kind": "quota"}) as rule:
        deploy_in_vain(workspace, names, tmp_path)
        assert emulator.hits(rule) == 1
    assert time.monotonic() - began < 30
    release(workspace, names)
