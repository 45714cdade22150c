"""Waits for the pipeline job.

Promise: the end is noticed within seconds while things move and within ten seconds when they do not; Azure failing to
answer for a while, or a token expiring, does not end the wait. Reads only.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from uuid import UUID

from prefect.runtime import flow_run
from pydantic import BaseModel

from blocks import AzureMLWorkspace
from tasks.azure_ml.errors import AzureFailure, classify
from tasks.azure_ml.kinds import MAY_PASS, Kind
from tasks.azure_ml.polling import PollInterval
from tasks.azure_ml.states import COMPLETED, ENDED
from tasks.azure_ml.tracking import Tracking
from tasks.credentials import WorkspaceIdentity
from tasks.failures import explain, step_failure
from tasks.forecast import Forecast
from tasks.held import cluster_doing
from tasks.jobs import JobStuck
from tasks.naming import run_id_of
from tasks.pipeline import PipelineParameters, SubmittedJob
from tasks.stage import run_logger, stage
from tasks.watch import JobWatch, MachineTime, Step

OWN_STATE_EVERY_SECONDS = 60
TOLERATED = MAY_PASS | {Kind.NOT_FOUND, Kind.NETWORK}
"""What may pass while a job works on: even a refusal (a token expiring, roles being moved, a tunnel that is down) or a job not
visible yet."""


class RunCancelled(Exception):
    """The flow run was cancelled while nobody could tell this process, or deleted, of which nobody tells it."""


class FinishedJob(BaseModel):
    """A completed job."""

    name: str
    attempt: int
    seconds: float
    """From the first poll to the last, so nearly nothing for a job that had ended before."""
    steps: list[Step]
    metrics: dict[str, float]
    tags: dict[str, str]
    studio_url: str
    forecast: Forecast = Forecast()
    """What it could learn at most, as told before it was submitted."""


@stage
def wait_for_pipeline(
    workspace: AzureMLWorkspace,
    where: WorkspaceIdentity,
    job: SubmittedJob,
    choice: PipelineParameters,
    cluster: str | None = None,
    machines: MachineTime | None = None,
    in_vain: Callable[[], Exception | None] = lambda: None,
) -> FinishedJob:
    """Watches `job` to its end; mirrors its state, steps and training metrics into the run's log and progress.

    Args:
        cluster: where it works, to tell what that was doing when the job got stuck.
        machines: is kept up to date with how long nodes have worked.
        in_vain: why it need not go on: the error of what is made beside it. It is raised then.

    Raises:
        JobPreempted: the job lost its nodes.
        JobStuck: nothing new for `choice.stuck_after_minutes`, or no end by `choice.deadline_hours`.
        JobTaken: another run waits for it in this one's place.
        JobFailed: any other bad end, with the failing step's error and last log lines; also of a step within a job that says
            Completed.
        AzureFailure: Azure could not be asked for longer than `choice.tolerate_errors_minutes`.
    """
    tracking, machines = Tracking(workspace, where.tracking_uri), machines or MachineTime()
    watch, pace, outage = (
        JobWatch(workspace, tracking, job.name, run_id_of(job.tags)),
        PollInterval(),
        _Outage(choice.tolerate_errors_minutes * 60),
    )
    began = last_change = own_state_read = time.monotonic()
    why = ""
    while not watch.ended:
        try:
            requests, changed = watch.poll(idle=pace.idle)
            outage.over()
        except Exception as error:
            outage.goes_on(error)
            requests, changed = 1, False
        now = time.monotonic()
        if changed:
            pace.changed()
        if changed or watch.progressed:
            last_change = now
        machines.note(job.name, watch.machine_seconds)
        refused = None if watch.ended else in_vain()
        if now - last_change > choice.stuck_after_minutes * 60:
            why = f"has shown nothing new for {(now - last_change) / 60:.0f} min"
        elif now - began > choice.deadline_hours * 3600:
            why = f"has not ended in {(now - began) / 3600:.1f} h"
        if refused or why:
            # Before it is cancelled: then nobody sees any more what its steps and nodes were doing.
            watch.show_durations()
            machines.note(job.name, watch.machine_seconds)
            if refused:
                raise refused
            doing = cluster_doing(workspace, cluster) if cluster else ""
            raise JobStuck(_stuck_sentence(job, watch, why, doing))
        if now - own_state_read > OWN_STATE_EVERY_SECONDS:
            own_state_read = now
            _stop_if_cancelled()
        if not watch.ended:
            time.sleep(pace.pause(requests))
    if watch.status != COMPLETED:
        raise explain(tracking, job.name, watch.status, watch.leaves, job.studio_url)
    if watch.fallen:
        raise step_failure(tracking, job.name, watch.fallen[0], job.studio_url)
    seconds = time.monotonic() - began
    run_logger().info("Job %s completed.", job.name)
    return FinishedJob(
        name=job.name,
        attempt=job.attempt,
        seconds=seconds,
        steps=watch.leaves,
        metrics=watch.metrics,
        tags=job.tags,
        studio_url=job.studio_url,
        forecast=job.forecast,
    )


def _stuck_sentence(job: SubmittedJob, watch: JobWatch, why: str, doing: str) -> str:
    running = ", ".join(step.name for step in watch.leaves if step.status not in ENDED) or "no step"
    return (
        f"Job {job.name} is stuck: it {why}. Its state is {watch.status}, running: {running}. {doing}The job is being cancelled. "
        f"See {job.studio_url}; if this is how long it takes, start a new run with a higher pipeline.stuck_after_minutes or "
        "pipeline.deadline_hours."
    )


@dataclass
class _Outage:
    """A time in which polls fail. Ends well with the first that succeeds, or badly when it has lasted too long."""

    longest_seconds: float
    since: float | None = None

    def over(self) -> None:
        if self.since is not None:
            run_logger().info("Azure answers again after %.0f s.", time.monotonic() - self.since)
            self.since = None

    def goes_on(self, error: Exception) -> None:
        info = classify(error)
        if info is None:
            raise error
        if info.kind not in TOLERATED:
            raise AzureFailure(info, "watching the job") from error
        if self.since is None:
            self.since = time.monotonic()
            run_logger().warning("The job cannot be read (%s: %s); going on.", info.kind, info.message)
        if time.monotonic() - self.since > self.longest_seconds:
            lasting = replace(info, message=f"{info.message} (for {self.longest_seconds / 60:.0f} min)")
            raise AzureFailure(lasting, "watching the job") from error


def _stop_if_cancelled() -> None:
    """A process whose worker has died hears of no cancellation, and none of its run's deletion; it has to ask."""
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound
    from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    run_id = flow_run.get_id()
    if run_id is None:
        return
    try:
        with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}), get_client(sync_client=True) as client:
            state = client.read_flow_run(UUID(run_id)).state
    except ObjectNotFound as deleted:
        raise RunCancelled(f"Flow run {run_id} was deleted.") from deleted
    except Exception as error:
        run_logger().debug("The run's own state cannot be read: %s", error)
        return
    if state is not None and (state.is_cancelling() or state.is_cancelled()):
        raise RunCancelled(f"Flow run {run_id} was cancelled, and its worker was not there to stop it.")
