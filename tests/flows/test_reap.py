"""The reaper: it releases what outlived its run, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import get_client
from prefect.states import Crashed, Running, State

import flows.reap
from blocks import AzureMLWorkspace
from flows.finetune import finetune
from flows.reap import ReapReport, blocks_of_runs, reap
from tasks.naming import RunNames
from tests.emulated import Emulator
from tests.emulator.jobs.commands import line
from tests.flows.conftest import BLOCK
from tests.flows.test_finetune import endpoints, running_jobs


def run_in(state: State[Any], **parameters: Any) -> UUID:
    """The id of a run of the flow whose process is in no one's hands: it is just in this state."""
    with get_client(sync_client=True) as client:
        flow_run = client.create_flow_run(finetune, parameters=parameters)
        client.set_flow_run_state(flow_run.id, state, force=True)
    return flow_run.id


def left_running(workspace: AzureMLWorkspace, tags: dict[str, str]) -> str:
    """The name of a job that would go on for an hour."""
    job: Any = line("sleep 3600")
    job.tags = tags
    return str(workspace.client().jobs.create_or_update(job).name)


def left_endpoint(workspace: AzureMLWorkspace, tags: dict[str, str], name: str | None = None) -> str:
    from azure.ai.ml.entities import ManagedOnlineEndpoint

    made = ManagedOnlineEndpoint(name=name or f"left-{uuid4().hex[:8]}", auth_mode="key", tags=tags)
    return str(workspace.client().online_endpoints.begin_create_or_update(made).result().name)


def reap_all(**more: Any) -> ReapReport:
    return reap(grace_minutes=0, ttl_hours=0, **more)  # type: ignore[return-value]


@pytest.fixture(autouse=True)
def clean(workspace: AzureMLWorkspace) -> Iterator[None]:
    """Afterwards there is nothing for the next test to find."""
    yield
    client = workspace.client()
    for name in running_jobs(workspace):
        client.jobs.begin_cancel(name).wait()
    for name in endpoints(workspace):
        client.online_endpoints.begin_delete(name=name).wait()


def test_the_running_job_of_a_crashed_run_is_cancelled(workspace: AzureMLWorkspace) -> None:
    run_id = run_in(Crashed(message="Its node went away."))
    job = left_running(workspace, RunNames(run_id).tags())
    report = reap_all(resource=f"prefect.flow-run.{run_id}", reason="prefect.flow-run.Crashed")
    [row] = report.released
    assert (row.kind, row.name, row.run_id) == ("job", job, str(run_id))
    assert row.reason == "its run failed, crashed or cancelled"
    assert workspace.client().jobs.get(job).status == "Canceled"
    assert reap_all().released == [], "again finds nothing and is success"


def test_the_job_and_the_endpoint_of_a_living_run_stay(workspace: AzureMLWorkspace) -> None:
    tags = RunNames(run_in(Running())).tags()
    job, endpoint = left_running(workspace, tags), left_endpoint(workspace, tags)
    report = reap_all()
    assert (report.released, report.kept) == ([], 2)
    assert running_jobs(workspace) == [job]
    assert endpoints(workspace) == [endpoint]


@pytest.mark.parametrize(
    "tags", [{}, {"prefect_flow_run_id": "not a run's id"}, {"owner": "somebody"}], ids=["none", "not an id", "other"]
)
def test_what_carries_no_run_is_never_touched(workspace: AzureMLWorkspace, tags: dict[str, str]) -> None:
    job, endpoint = left_running(workspace, tags), left_endpoint(workspace, tags)
    report = reap_all()
    assert (report.released, report.kept) == ([], 0)
    assert running_jobs(workspace) == [job]
    assert endpoints(workspace) == [endpoint]


def test_one_run_named_leaves_the_others_to_their_own_call(workspace: AzureMLWorkspace) -> None:
    named, other = run_in(Crashed()), run_in(Crashed())
    mine = left_endpoint(workspace, RunNames(named).tags())
    theirs = left_endpoint(workspace, RunNames(other).tags())
    assert [row.name for row in reap_all(resource=str(named)).released] == [mine]
    assert endpoints(workspace) == [theirs]


def test_a_named_run_is_looked_for_in_the_workspace_that_it_worked_in(workspace: AzureMLWorkspace) -> None:
    run_id = run_in(Crashed(), workspace=BLOCK)
    endpoint = left_endpoint(workspace, RunNames(run_id).tags())
    report = reap_all(workspace="of-another-deployment", resource=str(run_id))
    assert [row.name for row in report.released] == [endpoint]


def test_a_runs_name_is_no_id() -> None:
    state: Any = reap(resource="Phi-3 on chitchat, 2026-11-28", dry_run=True, return_state=True)
    assert state.is_failed()
    assert (
        "The parameter resource is 'Phi-3 on chitchat, 2026-11-28', which is no run's id. Give the id" in state.message
    )


def test_a_named_run_that_was_given_no_workspace_there_is_leaves_nothing_to_do() -> None:
    run_id = run_in(Crashed(), workspace="mistyped")
    assert reap_all(resource=str(run_id)) == ReapReport(dry_run=False, released=[], kept=0, failed=[])


def test_every_workspace_that_runs_lately_worked_in_is_looked_at_and_each_leftover_once(
    workspace: AzureMLWorkspace,
) -> None:
    workspace.model_copy().save("second", overwrite=True)
    run_in(Running(), workspace="second")
    run_in(Running(), workspace="second")
    run_in(Running(), workspace="since-deleted")
    endpoint = left_endpoint(workspace, RunNames(run_in(Crashed(), workspace=BLOCK)).tags())
    looked_at = blocks_of_runs("second", None)
    assert looked_at[0] == "second"
    assert len(looked_at) == len(set(looked_at)) and {"second", "since-deleted", BLOCK} <= set(looked_at)
    assert [row.name for row in reap_all(workspace="second").released] == [endpoint]


def test_another_workspace_that_cannot_be_asked_keeps_nothing_from_being_released(
    workspace: AzureMLWorkspace, caplog: pytest.LogCaptureFixture
) -> None:
    workspace.model_copy(update={"workspace_name": "never-was"}).save("wrong", overwrite=True)
    run_in(Running(), workspace="wrong")
    endpoint = left_endpoint(workspace, RunNames(run_in(Crashed(), workspace=BLOCK)).tags())
    assert [row.name for row in reap_all().released] == [endpoint]
    assert "Workspace wrong cannot be looked at: " in caplog.text


def test_a_workspace_that_cannot_be_asked_fails_its_reaper_and_the_rest_is_released(
    workspace: AzureMLWorkspace,
) -> None:
    endpoint = left_endpoint(workspace, RunNames(run_in(Crashed(), workspace=BLOCK)).tags())
    state: Any = reap(workspace="nowhere", grace_minutes=0, ttl_hours=0, return_state=True)
    assert state.is_failed()
    assert "workspace nowhere: There is no AzureMLWorkspace block 'nowhere'" in state.message
    assert endpoint not in endpoints(workspace)


def test_an_endpoint_that_goes_between_the_listing_and_the_delete_is_success(
    workspace: AzureMLWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = run_in(Crashed())
    endpoint = left_endpoint(workspace, RunNames(run_id).tags())
    states = flows.reap.state_of_run

    def gone_meanwhile(asked: UUID) -> Any:
        workspace.client().online_endpoints.begin_delete(name=endpoint).wait()
        return states(asked)

    monkeypatch.setattr(flows.reap, "state_of_run", gone_meanwhile)
    report = reap_all()
    assert [row.name for row in report.released] == [endpoint]
    assert report.failed == []
    assert endpoints(workspace) == []


def test_what_cannot_be_deleted_fails_the_reaper_by_name_and_the_rest_is_released(
    workspace: AzureMLWorkspace, emulator: Emulator
) -> None:
    held = left_endpoint(workspace, RunNames(run_in(Crashed())).tags(), f"aaa-{uuid4().hex[:8]}")
    other = left_endpoint(workspace, RunNames(run_in(Crashed())).tags(), f"bbb-{uuid4().hex[:8]}")
    refused = {"kind": "status", "status": 403, "code": "AuthorizationFailed", "message": "Not allowed."}
    with emulator.fault({"method": "DELETE", "path": f"*/onlineEndpoints/{held}", "times": 0}, refused):
        state: Any = reap(grace_minutes=0, ttl_hours=0, return_state=True)
    assert state.is_failed()
    assert f"endpoint {held}: " in state.message
    assert endpoints(workspace) == [held]
    assert other not in state.message
    assert [row.name for row in reap_all().released] == [held]


def test_hours_are_told(workspace: AzureMLWorkspace) -> None:
    left_endpoint(workspace, RunNames(run_in(Crashed())).tags())
    shown = reap_all(dry_run=True)
    assert shown.dry_run
    assert 0 <= shown.released[0].hours < 0.1
    assert len(endpoints(workspace)) == 1
