"""The endpoint and its deployment when Azure has failed one, or has no room for it, and what becomes of them by policy."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from blocks import AzureMLWorkspace
from tasks.endpoint import (
    DeploymentChoice,
    DeploymentFailed,
    Endpoint,
    create_deployment,
    create_endpoint,
    find_endpoint,
)
from tasks.errors import AzureFailure
from tasks.naming import RunNames, run_id_of
from tasks.orphans import RunState, leftovers, why_release
from tasks.registration import RegisteredModel
from tasks.teardown import TeardownPolicy, release, teardown
from tests.emulated import Emulator
from tests.emulator.endpoints.conftest import registered_model

DEPLOYMENTS = {"method": "PUT", "path": "management.azure.com/*/deployments/*"}
CHOICE = DeploymentChoice(liveness_initial_delay=1)


@pytest.fixture
def names(workspace: AzureMLWorkspace) -> Iterator[RunNames]:
    """Of a run whose endpoint is gone when the test is over."""
    names = RunNames(uuid4())
    yield names
    release(workspace, names.run_id)


@pytest.fixture(scope="module")
def model(workspace: AzureMLWorkspace, tmp_path_factory: pytest.TempPathFactory) -> RegisteredModel:
    """Registered, and never loaded: no deployment of these tests gets so far."""
    made = registered_model(workspace.client(), tmp_path_factory.mktemp("served") / "weights", name="served")
    return RegisteredModel(id=str(made.id), name=str(made.name), version=str(made.version), tags={})


def created(workspace: AzureMLWorkspace, names: RunNames, policy: str = "always") -> Endpoint:
    chosen = TeardownPolicy(policy=policy, ttl_hours=2)  # type: ignore[arg-type]
    return create_endpoint.fn(workspace, names, CHOICE, chosen, "served")


def test_an_endpoint_that_azure_failed_to_create_is_made_anew(
    workspace: AzureMLWorkspace, emulator: Emulator, names: RunNames
) -> None:
    path = f"management.azure.com/*/onlineEndpoints/{names.endpoint}"
    failing = {"kind": "operation_failed", "message": "No certificate."}
    with emulator.fault({"method": "PUT", "path": path}, failing), pytest.raises(AzureFailure, match="No certificate"):
        created(workspace, names)
    assert created(workspace, names).name == names.endpoint
    found = find_endpoint(workspace, names.endpoint)
    assert found is not None
    assert found.provisioning_state == "Succeeded"
    assert run_id_of(found.tags) == names.run_id


def test_no_quota_for_the_deployment_is_told_with_what_to_do(
    workspace: AzureMLWorkspace, emulator: Emulator, names: RunNames, model: RegisteredModel
) -> None:
    endpoint = created(workspace, names)
    with (
        emulator.fault({**DEPLOYMENTS, "times": 0}, {"kind": "quota"}),
        pytest.raises(
            AzureFailure, match=r"creating the deployment on Standard_NC6s_v3 failed, quota.*ask for more quota"
        ),
    ):
        create_deployment.fn(workspace, names, endpoint, model, CHOICE, "none")


def test_a_deployment_that_is_not_ready_by_the_deadline_has_failed(
    workspace: AzureMLWorkspace, emulator: Emulator, names: RunNames, model: RegisteredModel
) -> None:
    endpoint = created(workspace, names)
    choice = CHOICE.model_copy(update={"deadline_minutes": 0.02})
    polls = {"method": "GET", "path": "*/mfeOperationsStatus/*"}
    with (
        emulator.fault({**polls, "times": 0}, {"kind": "delay", "seconds": 5}),
        pytest.raises(DeploymentFailed, match=r"not ready after 0\.02 minutes \(deployment\.deadline_minutes\)"),
    ):
        create_deployment.fn(workspace, names, endpoint, model, choice, "none")


@pytest.mark.parametrize("policy", ["keep_on_success", "ttl"])
def test_a_kept_endpoint_stays_until_its_time_is_over(
    workspace: AzureMLWorkspace, names: RunNames, policy: str
) -> None:
    created(workspace, names, policy)
    chosen = TeardownPolicy(policy=policy, ttl_hours=2)  # type: ignore[arg-type]
    assert teardown.fn(workspace, names, chosen).deleted_endpoints == []
    assert find_endpoint(workspace, names.endpoint) is not None
    [left] = [left for left in leftovers(workspace) if left.run_id == names.run_id]

    def reason(hours: float) -> str | None:
        at = datetime.now(UTC) + timedelta(hours=hours)
        return why_release(left, RunState.SUCCEEDED, now=at, ttl_hours=24, grace_minutes=15)

    assert reason(1) is None
    assert bool(reason(3)) == (policy == "ttl")


def test_without_a_policy_it_is_deleted(workspace: AzureMLWorkspace, names: RunNames) -> None:
    created(workspace, names)
    assert teardown.fn(workspace, names, TeardownPolicy()).deleted_endpoints == [names.endpoint]
    assert find_endpoint(workspace, names.endpoint) is None
