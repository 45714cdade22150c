"""The reaper: it releases what outlived its run, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter
from prefect.states import AwaitingRetry, Crashed, Running, State
from prefect.variables import Variable

import flows.reap
from blocks import AzureMLWorkspace
from flows.finetune import finetune
from flows.hooks import release_what_it_made
from flows.reap import ReapReport, blocks_of_runs, reap
from flows.server_identity import server_id
from tasks.cost import CostParameters, read_prices
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


def test_a_run_whose_process_is_gone_has_a_page_by_the_hook(workspace: AzureMLWorkspace) -> None:
    crashed: State[Any] = Crashed(message="Process exited with status code: -9.")
    no_cluster = {"cluster": "was-never-made"}
    run_id = run_in(crashed, workspace=BLOCK, compute=no_cluster)
    endpoint = left_endpoint(workspace, RunNames(run_id).tags())
    with get_client(sync_client=True) as client:
        flow_run = client.read_flow_run(run_id)
        assert flow_run.state is not None
        release_what_it_made(flow=finetune, flow_run=flow_run, state=flow_run.state)
        of_run = ArtifactFilter.model_validate({"flow_run_id": {"any_": [run_id]}, "key": {"any_": ["summary"]}})
        [page] = client.read_artifacts(artifact_filter=of_run)
    assert page.key == "summary"
    assert page.description == "Crashed: Process exited with status code: -9."
    assert f"| Torn down | deleted endpoint {endpoint} |" in str(page.data)
    assert "| What stays | nothing |" in str(page.data)


def test_a_hook_that_cannot_delete_an_endpoint_tells_what_it_costs_and_until_when(
    workspace: AzureMLWorkspace, emulator: Emulator
) -> None:
    from azure.ai.ml.entities import AmlCompute, Model

    word = f"a{uuid4().hex[:7]}"
    compute, registration = {"cluster": f"left-{word}"}, {"name": f"left-{word}"}
    deployment = {"instance_type": "Standard_NC6s_v3", "instance_count": 2}
    run_id = run_in(
        Crashed(message="gone"), workspace=BLOCK, compute=compute, registration=registration, deployment=deployment
    )
    endpoint = left_endpoint(workspace, RunNames(run_id).tags())
    client = workspace.client()
    client.compute.begin_create_or_update(
        AmlCompute(name=compute["cluster"], size="Standard_NC6s_v3", min_instances=1, max_instances=1)
    ).wait()
    model = Model(name=registration["name"], version="7", path=__file__, tags=RunNames(run_id).tags())
    client.models.create_or_update(model)
    with get_client(sync_client=True) as prefect:
        flow_run = prefect.read_flow_run(run_id)
        assert flow_run.state is not None
        held = {"kind": "status", "status": 409, "code": "ScopeLocked", "message": "The scope is locked."}
        with emulator.fault({"method": "DELETE", "path": f"*/onlineEndpoints/{endpoint}", "times": 0}, held):
            release_what_it_made(flow=finetune, flow_run=flow_run, state=flow_run.state)
        of_run = ArtifactFilter.model_validate({"flow_run_id": {"any_": [run_id]}, "key": {"any_": ["summary"]}})
        [page] = prefect.read_artifacts(artifact_filter=of_run)
    an_hour = read_prices(CostParameters()).of("Standard_NC6s_v3", "dedicated")
    assert an_hour is not None
    assert (
        f"| What stays | model left-{word} version 7; endpoint {endpoint}, which costs about {2 * an_hour:.2f} USD an hour while a "
        f"deployment serves, until the reaper deletes it; cluster left-{word}, which keeps 1 of its nodes for about {an_hour:.2f} "
        "USD an hour |"
    ) in str(page.data)
    assert "| Torn down | not everything; the reaper will try again (" in str(page.data)
    assert [row.name for row in reap_all(resource=str(run_id)).released] == [endpoint]
    client.compute.begin_delete(compute["cluster"]).wait()


def test_a_silent_run_is_marked_as_crashed_and_what_it_left_is_released(workspace: AzureMLWorkspace) -> None:
    run_id = run_in(Running())
    endpoint = left_endpoint(workspace, RunNames(run_id).tags())
    asked: dict[str, Any] = {"resource": f"prefect.flow-run.{run_id}", "silent_seconds": 0}
    assert reap_all(**asked, dry_run=True).released == []
    assert [row.name for row in reap_all(**asked).released] == [endpoint]
    with get_client(sync_client=True) as client:
        state = client.read_flow_run(run_id).state
        of_run = ArtifactFilter.model_validate({"flow_run_id": {"any_": [run_id]}, "key": {"any_": ["summary"]}})
        [page] = client.read_artifacts(artifact_filter=of_run)
    assert state is not None and state.is_crashed()
    assert str(page.description).startswith("Crashed: No heartbeat for nine minutes")
    assert f"| Torn down | endpoint {endpoint} |" in str(page.data)
    reap_all(**asked)
    with get_client(sync_client=True) as client:
        assert len(client.read_artifacts(artifact_filter=of_run)) == 1, "told once"


def test_what_costs_is_released_even_if_nobody_can_tell_of_workers(
    workspace: AzureMLWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = left_endpoint(workspace, RunNames(run_in(Crashed())).tags())

    def no_events(flows: list[str]) -> None:
        raise OSError("events are gone")

    monkeypatch.setattr(flows.reap, "let_go_on", no_events)
    state: Any = reap(grace_minutes=0, ttl_hours=0, return_state=True)
    assert state.is_failed() and "runs of stopped workers: events are gone" in state.message
    assert endpoint not in endpoints(workspace)


def test_a_silent_run_that_waits_to_be_taken_up_again_keeps_its_job(workspace: AzureMLWorkspace) -> None:
    run_id = run_in(AwaitingRetry())
    job = left_running(workspace, RunNames(run_id).tags())
    assert reap_all(resource=str(run_id), silent_seconds=0).released == []
    assert running_jobs(workspace) == [job]


@pytest.mark.parametrize(
    "tags", [{}, {"prefect_flow_run_id": "not a run's id"}, {"owner": "somebody"}], ids=["none", "not an id", "other"]
)
def test_what_carries_no_run_is_never_touched(workspace: AzureMLWorkspace, tags: dict[str, str]) -> None:
    job, endpoint = left_running(workspace, tags), left_endpoint(workspace, tags)
    report = reap_all()
    assert (report.released, report.kept) == ([], 0)
    assert running_jobs(workspace) == [job]
    assert endpoints(workspace) == [endpoint]


def test_what_belongs_to_another_server_is_told_and_released_only_by_its_name(workspace: AzureMLWorkspace) -> None:
    """Two servers in one workspace; neither knows the other's runs."""
    theirs = left_endpoint(workspace, RunNames(uuid4(), server="the-other-one").tags())
    older = left_endpoint(workspace, RunNames(uuid4()).tags())
    report = reap_all()
    assert report.released == []
    assert len(report.others) == 2
    assert any(
        f"Endpoint {theirs} was made" in told and "Prefect server the-other-one" in told for told in report.others
    )
    assert [row.name for row in reap_all(server="the-other-one").released] == [theirs]
    assert [row.name for row in reap_all(server="not-named").released] == [older]


def test_after_a_lost_database_what_was_made_before_is_told(workspace: AzureMLWorkspace) -> None:
    before = server_id()
    assert server_id() == before, "it stays the same"
    mine = left_endpoint(workspace, RunNames(uuid4(), server=before).tags())
    Variable.unset("finetune_server")
    assert server_id() != before
    report = reap_all()
    assert report.released == [] and mine in report.others[0]
    Variable.set("finetune_server", before, overwrite=True)
    assert [row.name for row in reap_all().released] == [mine], "a run of its own that was deleted"


def test_what_another_flow_tagged_with_a_run_of_its_own_stays(workspace: AzureMLWorkspace) -> None:
    tags = {**RunNames(run_in(Crashed())).tags(), "created_by": "another flow"}
    endpoint = left_endpoint(workspace, tags)
    assert reap_all().released == []
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
