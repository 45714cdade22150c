"""A run goes on with the job of one that is over, and never with that of one that lives."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.states import (
    AwaitingRetry,
    Cancelling,
    Completed,
    Crashed,
    Paused,
    Pending,
    Running,
    Scheduled,
    State,
    Suspended,
)
from pydantic import TypeAdapter, ValidationError

from blocks import AzureMLWorkspace
from flows.finetune import _own_names, finetune
from flows.outcome import FlowResult
from flows.reap import release_leftover
from tasks.azure_ml.errors import InvalidConfiguration
from tasks.naming import RunNames
from tasks.orphans import leftovers
from tasks.runs import RunId, RunState, names_of, state_of
from tests.flows.test_finetune import endpoints, of_run, run, running_jobs
from tests.flows.test_reap import left_running, run_in

TOMORROW = datetime.now(UTC) + timedelta(days=1)
"""Of a run that was to start by now, Prefect's server soon says that it is late."""
BASE = {"dataset": {"source": "chats"}}


@pytest.fixture(scope="module")
def trained(workspace: AzureMLWorkspace, conversations: Path) -> FlowResult:
    """A run whose job the others go on with."""
    state = run(conversations)
    assert state.is_completed(), state.message
    return state.result()  # type: ignore[return-value]


@pytest.mark.parametrize(
    "state", [Running(), Pending(), Suspended(), Scheduled(scheduled_time=TOMORROW)], ids=lambda state: str(state.name)
)
def test_the_job_of_a_run_that_lives_is_refused_before_anything_is_spent(
    workspace: AzureMLWorkspace,
    conversations: Path,
    state: State,  # type: ignore[type-arg]
) -> None:
    living = run_in(state)
    job = left_running(workspace, RunNames(living).tags())
    try:
        ended = run(conversations, resume_run=str(living))
        assert ended.is_failed()
        assert f"({living}), which is not over: it is {state.name}. Nothing of it was touched. Wait for its end" in str(
            ended.message
        )
        assert running_jobs(workspace) == [job]
    finally:  # it would keep a node from the jobs of the tests to come
        workspace.client().jobs.begin_cancel(job).wait()
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(living, Completed(), force=True)


def test_what_resumed_a_run_can_be_resumed_itself_and_trains_nothing(
    workspace: AzureMLWorkspace, conversations: Path, trained: FlowResult
) -> None:
    jobs = len(list(workspace.client().jobs.list()))
    with get_client(sync_client=True) as client:
        between = client.create_flow_run(finetune, parameters={**BASE, "resume_run": of_run(trained)})
        client.set_flow_run_state(between.id, Crashed(), force=True)
    ended = run(conversations, resume_run=str(between.id))
    assert ended.is_completed(), ended.message
    assert ended.result().job.name == trained.job.name
    told = ", of which the run that began the job tells its part, too"
    assert [told in result.cost.sentence() for result in (trained, ended.result()) if result.cost] == [False, True]
    assert len(list(workspace.client().jobs.list())) == jobs
    assert endpoints(workspace) == []


@pytest.mark.parametrize("stored", ["job_name", "successor", "run_id"])
def test_a_job_key_of_an_older_version_goes_on_with_the_same_job(
    workspace: AzureMLWorkspace,
    conversations: Path,
    trained: FlowResult,
    stored: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    of = UUID(of_run(trained))
    key = {"job_name": trained.job.name, "successor": f"{trained.job.name}-r2", "run_id": str(of)}[stored]
    assert names_of(uuid4(), {"job_key": key}).resume_run == of
    if stored != "job_name":
        return
    ended = run(conversations, job_key=key)
    assert ended.is_completed(), ended.message
    assert ended.result().job.name == trained.job.name
    assert "The parameter job_key will go: give the other run's id as resume_run instead." in caplog.text


@pytest.mark.parametrize("word", ["june-trial", "ft-june-trial", "ft-" + "a" * 25 + "z"])
def test_a_word_names_one_job_for_the_runs_that_have_it(word: str, workspace: AzureMLWorkspace) -> None:
    one, other = (names_of(uuid4(), {"job_key": word}) for _ in range(2))
    assert one.job(1) == other.job(1) == f"ft-{word.removeprefix('ft-')}"


def test_what_resumes_a_run_that_went_on_with_a_word_s_job_goes_on_with_that(workspace: AzureMLWorkspace) -> None:
    before = run_in(Crashed(), job_key="june-trial")
    assert names_of(uuid4(), {"resume_run": str(before)}).job(1) == "ft-june-trial"


def test_a_run_of_which_prefect_says_no_state_may_live() -> None:
    assert state_of(FlowRun(id=uuid4(), flow_id=uuid4(), name="nimble-otter")) is RunState.ALIVE


@pytest.mark.parametrize(
    "state",
    [AwaitingRetry(), Cancelling(), Paused(), Pending(), Running(), Scheduled(), Suspended()],
    ids=lambda state: str(state.name),
)
def test_the_job_of_a_run_that_waits_or_stands_still_is_nobody_else_s(
    state: State,  # type: ignore[type-arg]
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    living = FlowRun(id=uuid4(), flow_id=uuid4(), name="nimble-otter", state=state)
    assert state_of(living) is RunState.ALIVE
    monkeypatch.setattr("flows.finetune.server_id", lambda: "this")
    for module in ("flows.finetune", "tasks.runs"):
        monkeypatch.setattr(f"{module}.read_run", lambda _: living)
    with pytest.raises(InvalidConfiguration, match=f"which is not over: it is {state.name}"):
        _own_names(uuid4(), "azureml", living.id, None)


def test_two_names_for_one_job_are_refused(workspace: AzureMLWorkspace, conversations: Path) -> None:
    ended = run(conversations, resume_run=str(uuid4()), job_key="june-trial")
    assert ended.is_failed()
    assert "resume_run and job_key both name a job to go on with" in str(ended.message)


def test_a_job_that_was_taken_over_after_the_reaper_had_listed_it_goes_on(workspace: AzureMLWorkspace) -> None:
    crashed, living = run_in(Crashed()), run_in(Running())
    job = left_running(workspace, RunNames(crashed).tags())
    [listed] = [left for left in leftovers(workspace) if left.name == job]
    workspace.client().jobs.update(job, tags={"prefect_flow_run_id": str(living)})
    assert release_leftover.fn(workspace, listed) is False
    assert running_jobs(workspace) == [job]
    workspace.client().jobs.begin_cancel(job).wait()
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(living, Completed(), force=True)


def test_what_is_no_run_s_id_is_refused_in_a_sentence() -> None:
    with pytest.raises(ValidationError, match=r"'nimble-otter' is not a flow run's id. Give the id, as the address"):
        TypeAdapter(RunId).validate_python("nimble-otter")
