"""The wait for a job: what it survives, what it says, and when it gives up."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

import tasks.watch
from blocks import AzureMLWorkspace
from tasks.azure_ml.errors import AzureFailure, ErrorInfo, InvalidConfiguration
from tasks.azure_ml.kinds import MAY_PASS, Kind
from tasks.azure_ml.tracking import Tracking
from tasks.credentials import WorkspaceIdentity, resolve_credentials
from tasks.jobs import JobFailed, JobStuck
from tasks.pipeline import PipelineParameters, SubmittedJob
from tasks.waiting import FinishedJob, _Outage, wait_for_pipeline
from tasks.watch import JobWatch, MachineTime, Step
from tests.deployments.operated import until
from tests.emulated import Emulator, pointed_at, running_emulator
from tests.emulator.jobs.commands import line, pipeline_of
from tests.emulator.jobs.commands import wait as job_wait
from tests.emulator.jobs.test_refusals import put, step

InVain = Callable[[], Exception | None]

JOB = {"method": "GET", "path": "management.azure.com/*/jobs/*"}
RUN = {"method": "GET", "path": "*/mlflow/runs/get"}
UNAVAILABLE = {"kind": "status", "status": 503, "code": "ServiceUnavailable"}
EXPIRED = {"kind": "status", "status": 401, "code": "InvalidAuthenticationToken", "message": "The token has expired."}


def submitted(workspace: AzureMLWorkspace, seconds: float) -> str:
    """The name of a job that takes so long."""
    return str(workspace.client().jobs.create_or_update(line(f"sleep {seconds}")).name)


def begun(workspace: AzureMLWorkspace) -> str:
    """The name of a pipeline job whose step goes on for long."""
    job = str(workspace.client().jobs.create_or_update(pipeline_of(line("sleep 600"))).name)
    while not any(step.status == "Running" for step in workspace.client().jobs.list(parent_job_name=job)):
        time.sleep(0.2)
    return job


def wait(
    workspace: AzureMLWorkspace,
    job: str,
    machines: MachineTime | None = None,
    in_vain: InVain = lambda: None,
    **choice: Any,
) -> FinishedJob:
    described = SubmittedJob(
        name=job,
        attempt=1,
        adopted=False,
        display_name=job,
        experiment="waiting",
        studio_url="",
        tags={},
        parameters=[],
    )
    where: WorkspaceIdentity = resolve_credentials.fn(workspace)
    return wait_for_pipeline.fn(
        workspace, where, described, PipelineParameters(**choice), machines=machines, in_vain=in_vain
    )


@pytest.fixture
def held(workspace: AzureMLWorkspace) -> Iterator[str]:
    """A job that goes on until the test is over."""
    job = submitted(workspace, 600)
    yield job
    workspace.client().jobs.begin_cancel(job).wait()


@pytest.mark.parametrize("effect", [UNAVAILABLE, EXPIRED], ids=["service away", "token refused"])
def test_a_run_of_errors_is_outlasted_and_said_once(
    workspace: AzureMLWorkspace, emulator: Emulator, effect: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    job = submitted(workspace, 1)
    with caplog.at_level(logging.INFO), emulator.fault({**JOB, "times": 5}, effect):
        assert wait(workspace, job).name == job
    said = [record.getMessage() for record in caplog.records if record.name == "prefect.finetune"]
    assert len([text for text in said if "cannot be read" in text]) == 1
    assert len([text for text in said if "Azure answers again" in text]) == 1


@pytest.mark.parametrize("kind", Kind)
def test_an_outage_is_what_may_pass_while_a_job_works_on(kind: Kind) -> None:
    error = AzureFailure(ErrorInfo(kind, "It broke."), "get job")
    if kind in MAY_PASS or kind in (Kind.NOT_FOUND, Kind.NETWORK):
        _Outage(60).goes_on(error)
    else:
        with pytest.raises(AzureFailure, match="watching the job failed"):
            _Outage(60).goes_on(error)


def test_an_outage_ends_the_wait_when_it_has_lasted_too_long_and_a_second_one_is_another() -> None:
    error = AzureFailure(ErrorInfo(Kind.TRANSIENT, "It broke."), "get job")
    outage = _Outage(60, since=time.monotonic() - 50)
    outage.goes_on(error)
    outage.since = time.monotonic() - 61
    with pytest.raises(AzureFailure, match=r"It broke\. \(for 1 min\)"):
        outage.goes_on(error)
    outage.over()
    outage.goes_on(error)


def test_errors_that_last_end_the_wait_with_what_azure_says(
    workspace: AzureMLWorkspace, emulator: Emulator, held: str
) -> None:
    with (
        emulator.fault({**JOB, "times": 0}, UNAVAILABLE),
        pytest.raises(AzureFailure, match=r"watching the job failed, transient .*503"),
    ):
        wait(workspace, held, tolerate_errors_minutes=0.02)


def test_tokens_that_expire_during_the_wait_are_renewed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZUREML_EMULATOR_TOKEN_SECONDS", "2")
    with running_emulator(tmp_path / "state") as emulator, pointed_at(emulator):
        workspace = emulator.block()
        finished = wait(workspace, submitted(workspace, 3))
        assert finished.seconds > 2
        calls = emulator.ask("GET", "/calls")
        granted = [call for call in calls if call["path"].endswith("/oauth2/v2.0/token") and call["status"] == 200]
        assert len(granted) >= 3


def test_a_job_that_shows_nothing_new_is_stuck(
    workspace: AzureMLWorkspace, held: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO), pytest.raises(JobStuck, match=f"Job {held} is stuck: it has shown nothing new"):
        wait(workspace, held, stuck_after_minutes=0.1)
    states = [record.getMessage() for record in caplog.records if record.getMessage().startswith(f"Job {held}:")]
    assert len(states) == len(set(states)), "a state is logged when it changes, and not again"


def test_metrics_that_were_seen_already_are_nothing_new(workspace: AzureMLWorkspace) -> None:
    code = (
        "import os, time; from mlflow import MlflowClient; "
        "MlflowClient().log_metric(os.environ['MLFLOW_RUN_ID'], 'train_runtime', 3.0); time.sleep(600)"
    )
    job = str(workspace.client().jobs.create_or_update(line(f'python -c "{code}"')).name)
    tracking = Tracking(workspace, resolve_credentials.fn(workspace).tracking_uri)
    try:
        job_wait(workspace.client(), job, lambda status: status == "Running")
        until(lambda: bool(tracking.run(job).metrics))
        with pytest.raises(JobStuck, match="has shown nothing new"):
            wait(workspace, job, stuck_after_minutes=0.2, deadline_hours=0.02)
    finally:
        workspace.client().jobs.begin_cancel(job).wait()


def test_a_job_past_its_deadline_is_given_up(workspace: AzureMLWorkspace, held: str) -> None:
    with pytest.raises(JobStuck, match="has not ended in"):
        wait(workspace, held, deadline_hours=0.0005)


@pytest.mark.parametrize("refused", [None, InvalidConfiguration("The endpoint is denied.")], ids=["stuck", "in vain"])
def test_what_a_job_used_before_it_was_taken_over_is_billed_too(
    workspace: AzureMLWorkspace, refused: InvalidConfiguration | None
) -> None:
    job = begun(workspace)
    try:
        time.sleep(8)
        machines, began = MachineTime(), time.monotonic()
        with pytest.raises(InvalidConfiguration if refused else JobStuck):
            wait(workspace, job, machines, lambda: refused, deadline_hours=0.0001)
        assert machines.seconds > 8
        assert machines.seconds < time.monotonic() - began + 60
    finally:
        workspace.client().jobs.begin_cancel(job).wait()


@pytest.mark.parametrize("readable", [True, False], ids=["read by the SDK", "read from MLflow"])
def test_a_job_that_somebody_cancelled_is_told_as_such(
    workspace: AzureMLWorkspace, emulator: Emulator, readable: bool
) -> None:
    if readable:
        job = submitted(workspace, 600)
    else:
        job = f"unreadable-{uuid4().hex[:8]}"
        assert put(emulator, job, step(command="sleep 600")).status_code == 201
    workspace.client().jobs.begin_cancel(job).wait()
    with pytest.raises(JobFailed, match="was cancelled in Azure"):
        wait(workspace, job, stuck_after_minutes=5)


@pytest.mark.parametrize("readable", [True, False], ids=["read by the SDK", "read from the run history"])
def test_a_job_that_says_completed_though_a_step_failed_is_not_accepted(
    workspace: AzureMLWorkspace, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, readable: bool
) -> None:
    """The emulator says Failed of such a pipeline, Azure may say Completed."""
    if readable:
        pipeline = pipeline_of(line("true"), line("echo The disk is full. && exit 3"))
        pipeline.settings.continue_on_step_failure = True
        name = str(workspace.client().jobs.create_or_update(pipeline).name)
    else:
        name = f"unreadable-{uuid4().hex[:8]}"
        assert put(emulator, name, step(command="echo The disk is full. && exit 3")).status_code == 201
    state = JobWatch._read_state
    monkeypatch.setattr(JobWatch, "_read_state", lambda self: state(self).replace("Failed", "Completed"))
    with pytest.raises(JobFailed) as failed:
        wait(workspace, name)
    assert type(failed.value) is JobFailed
    message = str(failed.value)
    assert re.match(f"Job {name} says Completed, but its step \\w+ is Failed: .+", message)
    assert "Last log lines:\n" in message and "  The disk is full." in message
    assert "begin a new run" in message


def test_a_job_that_says_completed_though_a_step_was_cancelled_is_not_accepted(
    workspace: AzureMLWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = begun(workspace)
    workspace.client().jobs.begin_cancel(job).wait()
    monkeypatch.setattr(JobWatch, "_read_state", lambda _: "Completed")
    with pytest.raises(JobFailed, match=f"Job {job} says Completed, but its step \\w+ is Canceled"):
        wait(workspace, job)


def test_a_job_is_told_as_stuck_though_its_steps_times_cannot_be_read(
    workspace: AzureMLWorkspace, emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    job = begun(workspace)
    try:
        with emulator.fault({"path": "*/history/*/details", "times": 0}, EXPIRED), pytest.raises(JobStuck):
            wait(workspace, job, deadline_hours=0.0005)
        assert "How long the steps took cannot be read: " in caplog.text
    finally:
        workspace.client().jobs.begin_cancel(job).wait()


def test_a_refusal_that_nobody_knows_is_no_answer_that_cannot_be_read(
    workspace: AzureMLWorkspace, emulator: Emulator, held: str
) -> None:
    unknown = {"kind": "status", "status": 418, "code": "Unknown", "message": "No."}
    with (
        emulator.fault({**JOB, "times": 0}, unknown),
        pytest.raises(AzureFailure, match=r"watching the job failed, permanent \(HTTP 418\)"),
    ):
        wait(workspace, held, deadline_hours=0.001)


def test_what_steps_worked_is_counted_from_the_first_state_of_work_to_the_end(
    workspace: AzureMLWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """States as Azure has them, of a sub-pipeline whose step is made after it has begun."""
    seen: dict[str, list[Step]] = {}
    clock = SimpleNamespace(now=0)
    monkeypatch.setattr(JobWatch, "_children", lambda _, parent: seen.get(parent, []))
    monkeypatch.setattr(tasks.watch, "time", SimpleNamespace(monotonic=lambda: clock.now))
    watch = JobWatch(workspace, Tracking(workspace, "azureml://nowhere/mlflow/v1.0"), "job")
    for at, status in (
        (0, None),
        (5, "Queued"),
        (10, "Running"),
        (40, "Finalizing"),
        (60, "Completed"),
        (90, "Completed"),
    ):
        clock.now = at
        seen["job"] = [Step(run_id="sub", name="sub", status="Running")]
        seen["sub"] = [Step(run_id="train", name="train", status=status)] if status else []
        watch._poll_steps()
    assert [step.name for step in watch.leaves] == ["train"]
    assert watch.machine_seconds == 50


def test_an_end_is_not_believed_before_its_steps_were_seen(
    workspace: AzureMLWorkspace, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = pipeline_of(line("true"), line("exit 3"))
    pipeline.settings.continue_on_step_failure = True
    name = str(workspace.client().jobs.create_or_update(pipeline).name)
    assert job_wait(workspace.client(), name) == "Failed"
    monkeypatch.setattr(JobWatch, "_read_state", lambda _: "Completed")
    children = {"method": "GET", "path": "*/history/*/children"}
    with emulator.fault({**children, "times": 2}, EXPIRED), pytest.raises(JobFailed, match="is Failed"):
        wait(workspace, name)
    with emulator.fault({**children, "times": 0}, EXPIRED), pytest.raises(AzureFailure, match="watching the job"):
        wait(workspace, name, tolerate_errors_minutes=0.02)


def test_a_job_that_the_sdk_cannot_read_is_waited_for_all_the_same(
    workspace: AzureMLWorkspace, emulator: Emulator
) -> None:
    name = f"unreadable-{uuid4().hex[:8]}"
    assert put(emulator, name, step()).status_code == 201
    assert wait(workspace, name).name == name
