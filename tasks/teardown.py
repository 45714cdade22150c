"""Releases what costs money: running jobs, endpoints with their deployments.

Promise: `release` may be called at any time, any number of times, from anywhere, and afterwards nothing that the run made
is running. What is gone already is success. It never touches what the run did not make.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from blocks import AzureMLWorkspace
from tasks.errors import AzureFailure, Fault, lists_as_missing
from tasks.form import Group
from tasks.held import find_endpoint
from tasks.jobs import CANCELLING, ENDED, attempts, find_job
from tasks.kinds import Kind
from tasks.naming import RunNames, run_id_in, run_id_of
from tasks.pace import Pace
from tasks.stage import retried, run_logger, stage
from tasks.states import word

if TYPE_CHECKING:
    from azure.ai.ml.entities import OnlineEndpoint

GONE_DEADLINE_SECONDS = 30 * 60
KEEP_TAG, EXPIRES_TAG = "keep", "expires_at"

Log = logging.Logger | logging.LoggerAdapter[logging.Logger]


class TeardownPolicy(Group):
    """What becomes of a successful run's endpoint. A run that does not succeed always deletes its own."""

    policy: Literal["always", "keep_on_success", "ttl"] = Field(
        "always",
        title="Policy",
        description="always: delete it after scoring. keep_on_success: leave it serving until somebody deletes it; a nightly "
        "leaves one more each night. ttl: leave it for some hours; the reaper deletes it then.",
    )
    ttl_hours: float = Field(
        24.0,
        gt=0,
        le=8760,
        title="Time to live (hours)",
        description="With policy ttl, from when the endpoint is made: as the training begins, whose hours count too.",
    )

    def tags(self) -> dict[str, str]:
        """What the endpoint carries, so that the reaper knows what was meant."""
        if self.policy == "keep_on_success":
            return {KEEP_TAG: "on_success"}
        if self.policy == "ttl":
            expires = datetime.now(UTC) + timedelta(hours=self.ttl_hours)
            return {KEEP_TAG: "on_success", EXPIRES_TAG: expires.isoformat(timespec="seconds")}
        return {}


class StillThere(Exception):
    """Azure did not let go of something. The message names each thing with its reason."""

    def __init__(self, left: Mapping[str, Exception], endpoints: Sequence[str]) -> None:
        self.endpoints = list(endpoints)
        """Names of those that may go on costing."""
        told: dict[object, tuple[list[str], Exception]] = {}
        for what, error in left.items():
            # Refused for one reason, they have one sentence.
            cause = (error.fault.kind, error.fault.message) if isinstance(error, AzureFailure) else str(error)
            told.setdefault(cause, ([], error))[0].append(what)
        parts = [
            f"{' and '.join(whats)} {'are' if len(whats) > 1 else 'is'} still there: {error}"
            for whats, error in told.values()
        ]
        super().__init__("; ".join(parts))


class Released(BaseModel):
    """What was there to release, and is no more."""

    cancelled_jobs: list[str] = Field(default_factory=list)
    deleted_endpoints: list[str] = Field(default_factory=list)

    def __str__(self) -> str:
        parts = [f"cancelled job {name}" for name in self.cancelled_jobs]
        parts += [f"deleted endpoint {name}" for name in self.deleted_endpoints]
        return ", ".join(parts) or "nothing was left to release"


@stage
def teardown(
    workspace: AzureMLWorkspace, names: RunNames, policy: TeardownPolicy, endpoint: str | None = None
) -> Released:
    """After success: releases by `policy`. `endpoint`: the one that the run has made."""
    if policy.policy != "always":
        run_logger().info("The endpoint keeps serving (teardown policy %s).", policy.policy)
        return Released()
    released = release(workspace, names.run_id, names.job_key, made=endpoint)
    run_logger().info("Released: %s.", released)
    return released


def release(
    workspace: AzureMLWorkspace,
    run_id: UUID,
    job_key: str | None = None,
    *,
    made: str | None = None,
    chosen: str | None = None,
    log: Log | None = None,
) -> Released:
    """Cancels the run's unfinished job and deletes the run's endpoints; returns when they are gone.

    The run is known by its id alone: names derive from it, and endpoints carry it as a tag. All of it is tried even if some
    fails.

    Args:
        made: an endpoint of which the caller knows that the run has made it, whatever its tags say by now.
        chosen: the name that the run was told to use. Its endpoint is the run's if its description or its deployment says so.

    Raises:
        StillThere: Azure did not let go of something.
    """
    names = RunNames(run_id, job_key)
    log = log or run_logger()
    released = Released()
    left: dict[str, Exception] = {}
    try:
        for name in _running_jobs(workspace, names):
            try:
                cancel_job(workspace, name, log)
                released.cancelled_jobs.append(name)
            except Exception as error:
                left[f"job {name}"] = error
    except Exception as error:
        left[f"job {names.job(1)}, if it still runs,"] = error
    endpoints = []
    try:
        for name in _own_endpoints(workspace, names, made, chosen):
            log.info("Deleting endpoint %s.", name)
            try:
                delete_endpoint(workspace, name)
                released.deleted_endpoints.append(name)
            except Exception as error:
                left[f"endpoint {name}"] = error
                endpoints.append(name)
    except Exception as error:
        endpoints += [made] if made else []
        left[f"endpoint {made or chosen or names.endpoint}, if it was made,"] = error
    if left:
        raise StillThere(left, endpoints)
    return released


@retried
def _running_jobs(workspace: AzureMLWorkspace, names: RunNames) -> list[str]:
    """The run's own: a job that another run has taken over is that one's. One that is called after the run is its own without a
    tag, too: somebody may have overwritten them."""
    own = {names.run_id, None} if names.job_key is None else {names.run_id}
    found = [job for job in attempts(workspace, names) if run_id_of(job.tags) in own]
    return [str(job.name) for job in found if word(job.status) not in ENDED]


@retried
def cancel_job(workspace: AzureMLWorkspace, name: str, log: Log) -> None:
    """Cancels job `name` and waits until it has ended; one that has ended already is left as it is."""
    deadline, pace = time.monotonic() + GONE_DEADLINE_SECONDS, Pace()
    asked = False
    while True:
        job = find_job(workspace, name)
        if job is None or word(job.status) in ENDED:
            return
        if not asked and word(job.status) != CANCELLING:
            log.info("Cancelling job %s (%s).", name, word(job.status))
            workspace.client().jobs.begin_cancel(name)
            asked = True
        if time.monotonic() > deadline:
            raise AzureFailure(
                Fault(Kind.PERMANENT, f"half an hour later it is still {word(job.status)}"), f"cancelling job {name}"
            )
        time.sleep(pace.pause())


@retried
def _own_endpoints(workspace: AzureMLWorkspace, names: RunNames, made: str | None, chosen: str | None) -> list[str]:
    """By name and by tag: a listing may lag, and a name may have been chosen. Whoever updates an endpoint with tags of his own
    takes ours away."""
    endpoints = workspace.client().online_endpoints
    mine = {str(endpoint.name) for endpoint in endpoints.list() if run_id_of(endpoint.tags) == names.run_id}
    for name in {names.endpoint, made, chosen} - mine - {None}:
        found = find_endpoint(workspace, str(name))
        if found and (name in (names.endpoint, made) or _says_who_made_it(workspace, found, names.run_id)):
            mine.add(str(name))
    return sorted(mine)


def _says_who_made_it(workspace: AzureMLWorkspace, endpoint: OnlineEndpoint, run_id: UUID) -> bool:
    """Whether an endpoint's description, or what is deployed there, is of that run."""
    deployments = workspace.client().online_deployments.list(endpoint_name=str(endpoint.name))
    return run_id_in(endpoint.description) == run_id or any(run_id_of(its.tags) == run_id for its in deployments)


@retried
def delete_endpoint(workspace: AzureMLWorkspace, name: str) -> None:
    """Deletes the endpoint with its deployments and waits until Azure no longer finds it."""
    deadline, pace = time.monotonic() + GONE_DEADLINE_SECONDS, Pace()
    try:
        workspace.client().online_endpoints.begin_delete(name=name).wait(timeout=GONE_DEADLINE_SECONDS)
    except Exception as error:
        if not lists_as_missing(error):
            raise
    while find_endpoint(workspace, name):
        if time.monotonic() > deadline:
            raise AzureFailure(
                Fault(Kind.PERMANENT, "half an hour later it is still there"), f"deleting endpoint {name}"
            )
        time.sleep(pace.pause())
