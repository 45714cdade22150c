"""What ends a run that waits for its job: a bound, or a cancellation that no worker could deliver."""

from __future__ import annotations

import contextlib
import contextvars
import logging
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.flow_engine import run_flow
from prefect.states import Cancelling

import tasks.waiting
from blocks import AzureMLWorkspace
from flows.finetune import _bad_end, finetune
from flows.run import RunRecord
from flows.stage_runner import StageRunner
from tasks.azure_ml.states import word
from tasks.jobs import JobStuck
from tasks.waiting import RunCancelled
from tests.deployments.operated import until
from tests.emulated import Emulator
from tests.flows.test_finetune import endpoints, page_of, run, running_jobs
from tests.flows.test_reattach import SUBMIT, created, given, jobs_of, retry

HANGS = {"kind": "step_hang", "node": "ft_nlp_model_converter"}


def test_what_was_cancelled_ends_as_that_and_any_other_error_as_failed() -> None:
    def ended(error: Exception) -> Any:
        return _bad_end(error, StageRunner(failed="wait_for_pipeline"), RunRecord(), "cancelled job ft-x", [])

    cancelled, failed = ended(RunCancelled("Somebody cancelled it.")), ended(JobStuck("It is stuck."))
    assert cancelled.is_cancelled() and cancelled.message == "Somebody cancelled it. Released: cancelled job ft-x."
    assert failed.is_failed()
    assert failed.message == "Stage wait_for_pipeline failed: It is stuck. Released: cancelled job ft-x."


def test_a_bad_end_is_told_without_the_secrets_in_its_error_and_in_its_trace(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.finetune.run_logger", lambda: logging.getLogger("a-run"))
    error = RuntimeError("GET https://account.blob.core.windows.net/rows?sig=hush-hush broke")
    error.__cause__ = ValueError("GET https://account.blob.core.windows.net/samples?sig=hush-hush")
    ended = _bad_end(error, StageRunner(), RunRecord(), "nothing was left to release", [])
    assert "/samples?sig=********" in caplog.text and "hush-hush" not in caplog.text + str(ended.message)


def test_a_run_that_is_deleted_while_it_waits_cancels_its_job(
    emulator: Emulator, workspace: AzureMLWorkspace, conversations: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks.waiting, "OWN_STATE_EVERY_SECONDS", 1)
    flow_run = created(given(conversations, deployment={"liveness_initial_delay": 1}))

    def delete() -> None:
        until(lambda: bool(running_jobs(workspace)))
        with get_client(sync_client=True) as client:
            client.delete_flow_run(flow_run.id)

    with ThreadPoolExecutor(1) as pool, emulator.fault(SUBMIT, HANGS):
        deleting = pool.submit(contextvars.copy_context().run, delete)
        with contextlib.suppress(ObjectNotFound):  # nobody is there to be told how it ended
            run_flow(finetune, flow_run=flow_run, return_type="state")
        deleting.result()
    assert [word(workspace.client().jobs.get(job).status) for job in jobs_of(workspace, flow_run.id)] == ["Canceled"]
    assert endpoints(workspace) == []


def test_a_cancelled_run_whose_worker_is_gone_cancels_its_job_itself_and_can_be_retried(
    emulator: Emulator, workspace: AzureMLWorkspace, conversations: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks.waiting, "OWN_STATE_EVERY_SECONDS", 1)
    flow_run = created(given(conversations, deployment={"liveness_initial_delay": 1}))

    def cancel() -> None:
        until(lambda: bool(jobs_of(workspace, flow_run.id)))
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(flow_run.id, Cancelling())

    with ThreadPoolExecutor(1) as pool, emulator.fault(SUBMIT, HANGS):
        cancelling = pool.submit(contextvars.copy_context().run, cancel)
        state: Any = run_flow(finetune, flow_run=flow_run, return_type="state")
        cancelling.result()
    assert state.is_cancelled(), state
    [job] = jobs_of(workspace, flow_run.id)
    assert f"Released: cancelled job {job}" in str(state.message)
    assert "Cancelled in wait_for_pipeline, " in page_of("summary") and f"cancelled job {job}" in page_of("summary")
    assert _state_of(flow_run.id) == "CANCELLED"
    assert running_jobs(workspace) == []
    assert endpoints(workspace) == []

    state = retry(flow_run.id)
    assert state.is_completed(), state.message
    assert jobs_of(workspace, flow_run.id) == [job, f"{job}-r2"]
    assert state.result().job.name == f"{job}-r2"


def test_a_job_that_hangs_is_told_as_stuck_and_cancelled(
    emulator: Emulator, workspace: AzureMLWorkspace, conversations: Path
) -> None:
    with emulator.fault(SUBMIT, HANGS):
        state = run(conversations, deployment={"enabled": False}, pipeline={"stuck_after_minutes": 0.2})
    assert state.is_failed()
    message = str(state.message)
    assert message.startswith("Stage wait_for_pipeline failed: Job ")
    assert "is stuck: it has shown nothing new" in message
    assert re.search(
        r"running: \w+\. Cluster \S+ is steady, 1 of 1 wanted nodes are there \(1 running\)\. The job is being", message
    )
    assert re.search(r"Used: 0\.\d\d machine hours", message)
    assert "Released: cancelled job " in message
    assert running_jobs(workspace) == []


def test_a_job_that_waits_for_its_nodes_is_told_with_its_cluster_and_not_billed(
    emulator: Emulator, workspace: AzureMLWorkspace, conversations: Path
) -> None:
    compute = {"cluster": "never-there", "size": "Standard_NC24ads_A100_v4"}
    with emulator.fault({"method": "PUT", "path": "*/computes/never-there"}, {"kind": "resizing"}):
        state = run(
            conversations, deployment={"enabled": False}, pipeline={"stuck_after_minutes": 0.1}, compute=compute
        )
    message = str(state.message)
    assert state.is_failed()
    assert (
        "Cluster never-there is resizing, 0 of 1 wanted nodes are there (none at work). The job is being cancelled."
        in message
    )
    assert "Used:" not in message and "machine hours" not in message
    assert running_jobs(workspace) == []


def test_a_page_of_html_instead_of_the_job_is_watched_through(
    emulator: Emulator, workspace: AzureMLWorkspace, conversations: Path
) -> None:
    path = {"method": "GET", "path": "management.azure.com/*/jobs/ft-*", "nth": 6, "times": 2}
    with emulator.fault(path, {"kind": "page"}):
        state = run(conversations, deployment={"enabled": False}, training={"max_steps": 20})
    assert state.is_completed(), state.message
    assert running_jobs(workspace) == []


DENIED = {
    "kind": "status", "status": 403, "code": "RequestDisallowedByPolicy",
    "message": "Resource 'ft' was disallowed by policy. Reasons: 'Local authentication methods are not allowed.'.",
}  # fmt: skip
ENDPOINTS = {"method": "PUT", "path": "management.azure.com/*/onlineEndpoints/*", "times": 0}


def test_what_is_refused_beside_the_training_ends_it(
    emulator: Emulator, workspace: AzureMLWorkspace, conversations: Path
) -> None:
    with emulator.fault(SUBMIT, HANGS), emulator.fault(ENDPOINTS, DENIED):
        state = run(conversations)
    message = str(state.message)
    assert state.is_failed()
    assert message.startswith(
        "Stage create_endpoint failed: create endpoint failed, policy (HTTP 403): Resource 'ft' was disallowed"
    )
    assert "ask the owner of the policy" in message and "Released: cancelled job " in message
    assert re.search(r"What stays: cluster \S+, which scales to zero and then costs nothing\. Released", message)
    assert running_jobs(workspace) == []


def test_what_may_pass_beside_the_training_is_asked_for_again_when_the_model_is_there(
    emulator: Emulator, workspace: AzureMLWorkspace, conversations: Path
) -> None:
    busy = {"kind": "status", "status": 409, "code": "Conflict", "message": "Another operation is under way."}
    with emulator.fault({**ENDPOINTS, "times": 5}, busy):
        state = run(conversations, deployment={"liveness_initial_delay": 1})
    assert state.is_completed(), state.message
    assert state.result().smoke is not None
    assert endpoints(workspace) == []


def _state_of(run_id: UUID) -> str:
    with get_client(sync_client=True) as client:
        state = client.read_flow_run(run_id).state
    return state.type.value if state else "none"
