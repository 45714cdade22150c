"""The endpoint and its deployment when Azure has failed one, or has no room for it, and what becomes of them by policy."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from blocks import AzureMLWorkspace
from tasks.azure_ml.errors import AzureFailure, ErrorInfo, InvalidConfiguration
from tasks.azure_ml.kinds import Kind
from tasks.endpoint import (
    DeploymentFailed,
    DeploymentParameters,
    Endpoint,
    _refuse_foreign,
    create_deployment,
    create_endpoint,
)
from tasks.held import find_endpoint
from tasks.naming import DEPLOYMENT, RUN_TAG, RunNames, run_id_of
from tasks.orphans import leftovers, unproven, why_release
from tasks.registration import RegisteredModel
from tasks.release import StillThere, release
from tasks.runs import RunState
from tasks.teardown import TeardownParameters, teardown
from tests.emulated import Emulator
from tests.emulator.endpoints.conftest import Endpoint as Served
from tests.emulator.endpoints.conftest import registered_model

DEPLOYMENTS = {"method": "PUT", "path": "management.azure.com/*/deployments/*"}
CHOICE = DeploymentParameters(liveness_initial_delay=1)


@pytest.fixture
def names(workspace: AzureMLWorkspace) -> Iterator[RunNames]:
    """Of a run whose endpoint is gone when the test is over."""
    names = RunNames(uuid4())
    yield names
    release(workspace, names)


@pytest.fixture(scope="module")
def model(workspace: AzureMLWorkspace, tmp_path_factory: pytest.TempPathFactory) -> RegisteredModel:
    """Registered, and never loaded: what these tests deploy does not get so far, or is a script."""
    made = registered_model(workspace.client(), tmp_path_factory.mktemp("served") / "weights", name="served")
    return RegisteredModel(id=str(made.id), name=str(made.name), version=str(made.version), tags={})


def created(workspace: AzureMLWorkspace, names: RunNames, policy: str = "always") -> Endpoint:
    chosen = TeardownParameters(policy=policy, ttl_hours=2)  # type: ignore[arg-type]
    return create_endpoint.fn(workspace, names, CHOICE, chosen, "served")


def test_an_endpoint_under_a_lock_is_named_as_still_there_and_asked_for_once(
    workspace: AzureMLWorkspace, emulator: Emulator, names: RunNames
) -> None:
    created(workspace, names)
    said = "The scope '/subscriptions/s' cannot perform delete operation because following scope(s) are locked: '/subscriptions/s'."
    deleting = {"method": "DELETE", "path": "management.azure.com/*/onlineEndpoints/*", "times": 0}
    emulator.ask("DELETE", "/calls")
    locked = {"kind": "status", "status": 409, "code": "ScopeLocked", "message": said}
    with emulator.fault(deleting, locked), pytest.raises(StillThere) as raised:
        release(workspace, names)
    assert raised.value.endpoints == [names.endpoint]
    assert str(raised.value).startswith(
        f"endpoint {names.endpoint} is still there: delete endpoint failed, locked (HTTP 409): {said}"
    )
    assert "take the lock off" in str(raised.value) and "another name" not in str(raised.value)
    assert [call["method"] for call in emulator.ask("GET", "/calls")].count("DELETE") == 1


def overwritten(workspace: AzureMLWorkspace, name: str, description: str | None = None) -> None:
    """Somebody updates the endpoint with tags of his own."""
    endpoints = workspace.client().online_endpoints
    endpoint = endpoints.get(name)
    endpoint.tags = {"owner": "team-a"}
    endpoint.description = description or endpoint.description
    endpoints.begin_create_or_update(endpoint).result()


def named(workspace: AzureMLWorkspace, names: RunNames, name: str) -> Endpoint:
    choice = CHOICE.model_copy(update={"endpoint": name})
    return create_endpoint.fn(workspace, names, choice, TeardownParameters(), "served")


def test_an_endpoint_whose_tags_somebody_overwrote_is_released_by_the_run_that_made_it(
    workspace: AzureMLWorkspace, names: RunNames
) -> None:
    name = named(workspace, names, f"nightly-{names.run_id.hex[:8]}a").name
    overwritten(workspace, name)
    assert release(workspace, names).deleted_endpoints == []
    assert [sentence for sentence in unproven(workspace) if name in sentence] == [
        f"Endpoint {name} looks like a run's (its description names flow run {names.run_id}), but its tags have been overwritten. "
        "Delete it if nobody uses it: it costs as long as it has a deployment."
    ]
    assert release(workspace, RunNames(uuid4()), chosen=name).deleted_endpoints == []
    assert release(workspace, names, chosen=name).deleted_endpoints == [name]

    name = named(workspace, names, f"nightly-{names.run_id.hex[:8]}b").name
    overwritten(workspace, name, "Ours now.")
    assert release(workspace, names, chosen=name).deleted_endpoints == []
    assert teardown.fn(workspace, names, TeardownParameters(), name).deleted_endpoints == [name]


def test_what_is_called_as_only_runs_call_theirs_is_told_to_a_person(
    workspace: AzureMLWorkspace, names: RunNames
) -> None:
    name = created(workspace, names).name
    assert [sentence for sentence in unproven(workspace) if name in sentence] == []
    overwritten(workspace, name, "Ours now.")
    assert [sentence for sentence in unproven(workspace) if name in sentence] == [
        f"Endpoint {name} looks like a run's (it is called as only runs call theirs), but its tags have been overwritten. Delete "
        "it if nobody uses it: it costs as long as it has a deployment."
    ]


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


def test_what_was_asked_for_reaches_azure_and_its_tags_say_whose_the_endpoint_is(
    workspace: AzureMLWorkspace, emulator: Emulator, names: RunNames, model: RegisteredModel
) -> None:
    name = f"nightly-{names.run_id.hex[:8]}c"
    choice = DeploymentParameters(
        endpoint=name, instance_count=2, liveness_initial_delay=77, request_timeout_ms=12_000, deadline_minutes=1
    )
    endpoint = create_endpoint.fn(workspace, names, choice, TeardownParameters(), "served")
    with emulator.fault(DEPLOYMENTS, {"kind": "operation_failed"}), pytest.raises(DeploymentFailed):
        create_deployment.fn(workspace, names, endpoint, model, choice, "none")
    [made] = workspace.client().online_deployments.list(name)
    assert (made.instance_type, made.instance_count) == (choice.instance_type, 2)
    assert (made.liveness_probe.initial_delay, made.request_settings.request_timeout_ms) == (77, 12_000)
    assert made.tags["model"] == f"{model.name}:{model.version}"

    overwritten(workspace, name, "Ours now.")
    assert release(workspace, RunNames(uuid4()), chosen=name).deleted_endpoints == []
    assert release(workspace, names, chosen=name).deleted_endpoints == [name]


def test_an_endpoint_that_goes_on_after_azure_called_it_gone_is_not_called_deleted(
    workspace: AzureMLWorkspace, emulator: Emulator, names: RunNames, monkeypatch: pytest.MonkeyPatch
) -> None:
    created(workspace, names)
    monkeypatch.setattr("tasks.release.GONE_DEADLINE_SECONDS", 0)
    gone = {"kind": "status", "status": 404, "code": "ResourceNotFound"}
    with (
        emulator.fault({"method": "DELETE", "path": "management.azure.com/*/onlineEndpoints/*"}, gone),
        pytest.raises(StillThere) as raised,
    ):
        release(workspace, names)
    assert raised.value.endpoints == [names.endpoint]


def test_an_endpoint_that_was_made_may_go_on_costing_where_none_can_be_listed(
    workspace: AzureMLWorkspace, emulator: Emulator, names: RunNames
) -> None:
    refused = {"kind": "status", "status": 403, "code": "RequestDisallowedByPolicy", "message": "Not from here."}
    listing = {"method": "GET", "path": "management.azure.com/*/onlineEndpoints", "times": 0}
    for made, endpoints in (("chats", ["chats"]), (None, [])):
        with emulator.fault(listing, refused), pytest.raises(StillThere) as raised:
            release(workspace, names, made=made)
        assert raised.value.endpoints == endpoints
        assert str(raised.value).startswith(f"endpoint {made or names.endpoint}, if it was made, is still there: ")


def test_what_is_still_there_for_one_reason_has_one_sentence() -> None:
    locked = [AzureFailure(ErrorInfo(Kind.LOCKED, "Locked."), f"delete endpoint {which}") for which in "ab"]
    left = {"endpoint a": locked[0], "job c": ValueError("busy"), "endpoint b": locked[1]}
    assert str(StillThere(left, ["a", "b"])) == (
        f"endpoint a and endpoint b are still there: {locked[0]}; job c is still there: busy"
    )


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
    chosen = TeardownParameters(policy=policy, ttl_hours=2)  # type: ignore[arg-type]
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
    assert teardown.fn(workspace, names, TeardownParameters()).deleted_endpoints == [names.endpoint]
    assert find_endpoint(workspace, names.endpoint) is None


def test_a_deployment_that_is_ready_answers_whoever_does_not_name_it(
    workspace: AzureMLWorkspace, names: RunNames, model: RegisteredModel
) -> None:
    endpoint = created(workspace, names, "keep_on_success")
    served = Served(workspace.client(), endpoint.name, model.id)
    served.deploy(DEPLOYMENT)
    assert served.score().status_code == 404
    create_deployment.fn(workspace, names, endpoint, model, CHOICE, "none")
    assert served.score().status_code == 200


def test_an_endpoint_is_deleted_also_where_nobody_can_tell_of_jobs(
    workspace: AzureMLWorkspace, emulator: Emulator, names: RunNames
) -> None:
    created(workspace, names)
    refused = {"kind": "status", "status": 403, "code": "AuthorizationFailed", "message": "Not allowed."}
    job = {"method": "GET", "path": f"*/jobs/{names.job(1)}", "times": 0}
    with (
        emulator.fault(job, refused),
        pytest.raises(StillThere, match=f"job {names.job(1)}, if it still runs") as raised,
    ):
        release(workspace, names)
    assert raised.value.endpoints == []
    assert find_endpoint(workspace, names.endpoint) is None


def test_no_run_releases_what_another_one_has_made(workspace: AzureMLWorkspace, names: RunNames) -> None:
    created(workspace, names)
    assert release(workspace, RunNames(uuid4())).deleted_endpoints == []
    assert find_endpoint(workspace, names.endpoint) is not None


@pytest.mark.parametrize("tags", [None, {}, {RUN_TAG: str(uuid4())}])
def test_an_endpoint_that_the_run_has_not_made_is_refused(tags: dict[str, str] | None) -> None:
    from azure.ai.ml.entities import ManagedOnlineEndpoint

    names = RunNames(uuid4())
    with pytest.raises(InvalidConfiguration, match="Endpoint chats exists and was not made by this run"):
        _refuse_foreign(ManagedOnlineEndpoint(name="chats", auth_mode="key", tags=tags), "chats", names)
    _refuse_foreign(ManagedOnlineEndpoint(name="chats", auth_mode="key", tags=names.tags()), "chats", names)
    _refuse_foreign(None, "chats", names)
