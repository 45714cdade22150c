"""A run that is tried again goes on with its job; a job that ended badly gets one successor, which goes on from its checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect import State
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.flow_engine import run_flow
from prefect.states import AwaitingRetry

from blocks import AzureMLWorkspace
from flows.finetune import _train, finetune
from flows.outcome import FlowResult
from flows.stage_runner import StageRunner
from tasks.azure_ml.tracking import Tracking
from tasks.credentials import resolve_credentials
from tasks.jobs import JobFailed, JobPreempted
from tasks.naming import run_id_of
from tasks.pipeline import SubmittedJob
from tasks.waiting import FinishedJob
from tests.emulated import Emulator, keep_calls
from tests.flows.test_finetune import of_run, parameters, running_jobs
from tests.partial import with_only

SUBMIT = {"method": "PUT", "path": "management.azure.com/*/jobs/*"}


def given(conversations: Path, **more: Any) -> dict[str, Any]:
    """A run of its own model name that serves nothing."""
    wanted = {"deployment": {"enabled": False}, "registration": {"name": f"reattached-{uuid4().hex[:6]}"}}
    return parameters(conversations, **{**wanted, **more})


def created(wanted: dict[str, Any]) -> FlowRun:
    """A run that has not begun."""
    with get_client(sync_client=True) as client:
        return client.create_flow_run(finetune, parameters=finetune.serialize_parameters(wanted))


def first_try(wanted: dict[str, Any]) -> tuple[UUID, State[FlowResult]]:
    """Runs the flow; returns the run's id with its state."""
    flow_run = created(wanted)
    return flow_run.id, run_flow(finetune, flow_run=flow_run, return_type="state")  # type: ignore[return-value,arg-type]


def retry(run_id: UUID) -> State[FlowResult]:
    """What Prefect does after its Retry button: the same run, once more."""
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run_id, AwaitingRetry(), force=True)
        flow_run = client.read_flow_run(run_id)
    return run_flow(finetune, flow_run=flow_run, return_type="state")  # type: ignore[return-value,arg-type]


def jobs_of(workspace: AzureMLWorkspace, run_id: UUID) -> list[str]:
    readable = [job for job in workspace.client().jobs.list() if job is not None]
    return sorted(str(job.name) for job in readable if run_id_of(job.tags) == run_id)


def resumed_at(workspace: AzureMLWorkspace, job: str) -> float:
    """The step of the checkpoint that the job's training began with."""
    tracking = Tracking(workspace, resolve_credentials.fn(workspace).tracking_uri)
    return tracking.run(job).metrics["checkpoint_load_step"]


@pytest.mark.parametrize("preemptions", [1, 2, 3])
def test_there_are_as_many_successors_as_are_needed_and_allowed(preemptions: int) -> None:
    clock, attempts = StageRunner(), list[int]()

    def submit() -> SubmittedJob:
        attempts.append(len(attempts) + 1)
        return with_only(SubmittedJob, attempt=attempts[-1])

    def wait(job: SubmittedJob) -> FinishedJob:
        if job.attempt <= preemptions:
            clock.failed = "wait_for_pipeline"
            raise JobPreempted("Its nodes were taken.")
        return with_only(FinishedJob, attempt=job.attempt)

    if preemptions < 3:
        assert _train(clock, submit, wait, 3).attempt == preemptions + 1
        assert clock.failed is None, "what comes next has failed by itself"
    else:
        with pytest.raises(JobFailed, match=r"taken\.\nThe run may submit no more than 3"):
            _train(clock, submit, wait, 3)
    assert attempts == list(range(1, min(preemptions + 1, 3) + 1))


def test_a_preempted_job_gets_a_successor_that_goes_on_from_its_checkpoint(
    emulator: Emulator, workspace: AzureMLWorkspace, conversations: Path
) -> None:
    training = {"max_steps": 600, "logging_steps": 5, "evaluation_strategy": "steps", "eval_steps": 300}
    wanted = given(conversations, training=training)
    with emulator.fault(SUBMIT, {"kind": "preempt", "step": 5}):
        run_id, state = first_try(wanted)
    assert state.is_completed(), state.message
    result = state.result()
    first, second = jobs_of(workspace, run_id)
    assert (second, result.job.attempt) == (f"{first}-r2", 2)
    assert result.job.name == second
    assert 0 < resumed_at(workspace, second) < 600
    assert result.review.steps == 600
    assert result.review.eval_loss_before is not None, "measured by the first job"
    assert len(list(workspace.client().models.list(name=wanted["registration"]["name"]))) == 1  # type: ignore[union-attr]


def test_a_run_that_is_preempted_again_and_again_ends(
    emulator: Emulator, workspace: AzureMLWorkspace, conversations: Path
) -> None:
    wanted = given(conversations, training={"max_steps": 3000, "logging_steps": 1}, pipeline={"max_attempts": 1})
    with emulator.fault({**SUBMIT, "times": 0}, {"kind": "preempt", "step": 1}):
        run_id, state = first_try(wanted)
    assert state.is_failed()
    assert "PreemptionError: Nodes of this job got pre-empted" in str(state.message)
    assert "no more than 1 (pipeline.max_attempts)" in str(state.message)
    assert len(jobs_of(workspace, run_id)) == 1
    assert running_jobs(workspace) == []


def test_a_retry_of_a_failed_run_submits_a_successor_that_trains_nothing_twice(
    emulator: Emulator, workspace: AzureMLWorkspace, conversations: Path
) -> None:
    wanted = given(conversations)
    with emulator.fault(
        SUBMIT, {"kind": "step_failed", "node": "ft_nlp_model_converter", "message": "The disk is full."}
    ):
        run_id, state = first_try(wanted)
    assert state.is_failed()
    assert "in step ft_nlp_model_converter: UserError: The disk is full" in str(state.message)

    state = retry(run_id)
    assert state.is_completed(), state.message
    first, second = jobs_of(workspace, run_id)
    assert second == f"{first}-r2"
    assert resumed_at(workspace, second) == wanted["training"]["max_steps"]
    assert state.result().review.eval_loss is not None, "measured by the first job"
    assert len(list(workspace.client().models.list(name=wanted["registration"]["name"]))) == 1  # type: ignore[union-attr]

    state = retry(run_id)
    assert state.is_completed(), state.message
    assert state.result().job.name == second
    assert jobs_of(workspace, run_id) == [first, second]
    assert len(list(workspace.client().models.list(name=wanted["registration"]["name"]))) == 1  # type: ignore[union-attr]


@pytest.fixture(scope="module")
def trained(workspace: AzureMLWorkspace, conversations: Path) -> FlowResult:
    """A run whose job the others take over."""
    state = first_try(given(conversations))[1]
    assert state.is_completed(), state.message
    return state.result()


LOST = {
    "register": ("*/models/*", "models"),
    "endpoint create": ("*/onlineEndpoints/*", "onlineEndpoints"),
    "deployment create": ("*/onlineEndpoints/*/deployments/*", "deployments"),
}


@pytest.mark.parametrize("what", LOST)
def test_a_lost_answer_makes_no_second_one(
    what: str, emulator: Emulator, workspace: AzureMLWorkspace, conversations: Path, trained: FlowResult
) -> None:
    path, kind = LOST[what]
    wanted = given(conversations, resume_run=of_run(trained), deployment={"liveness_initial_delay": 1})
    keep_calls()
    with emulator.fault({"method": "PUT", "path": f"management.azure.com{path}"}, {"kind": "reset_after"}):
        _, state = first_try(wanted)
    assert state.is_completed(), state.message
    calls = [call for call in emulator.ask("GET", "/calls") if call["method"] == "PUT"]
    made = {
        call["path"].lower() for call in calls if call["path"].rsplit("/", 4)[-2 if kind != "models" else -4] == kind
    }
    assert len(made) == 1, made
    assert len(list(workspace.client().models.list(name=wanted["registration"]["name"]))) == 1  # type: ignore[union-attr]
    assert list(workspace.client().online_endpoints.list()) == []
