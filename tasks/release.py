"""Releases what costs money: running jobs, endpoints with their deployments.

Promise: `release` may be called at any time, any number of times, from anywhere, and afterwards nothing that the run made
is running. What is gone already is success. It never touches what the run did not make.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from pydantic import BaseModel, Field

from blocks import AzureMLWorkspace
from tasks.azure_ml.errors import AzureFailure, ErrorInfo, is_not_found
from tasks.azure_ml.kinds import Kind
from tasks.azure_ml.polling import polls
from tasks.azure_ml.states import CANCELLING, ENDED, word
from tasks.held import find_endpoint
from tasks.jobs import attempts, find_job
from tasks.naming import RunNames, run_id_in, run_id_of
from tasks.stage import run_logger, step

if TYPE_CHECKING:
    from azure.ai.ml.entities import OnlineEndpoint

GONE_DEADLINE_SECONDS = 30 * 60
KEEP_TAG, EXPIRES_TAG = "keep", "expires_at"

Log = logging.Logger | logging.LoggerAdapter[logging.Logger]


def expiry(tags: Mapping[str, str] | None) -> str:
    """When the reaper deletes an endpoint with these tags, in UTC to the minute; empty if it was not given a time to live."""
    expires = moment((tags or {}).get(EXPIRES_TAG))
    return f"{expires.astimezone(UTC):%Y-%m-%d %H:%M}" if expires else ""


def moment(text: str | None) -> datetime | None:
    """A time as a tag or a property has it; None for what is none, which a person may have written."""
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


class StillThere(Exception):
    """Azure did not let go of something. The message names each thing with its reason."""

    def __init__(self, left: Mapping[str, Exception], endpoints: Sequence[str]) -> None:
        self.endpoints = list(endpoints)
        """Names of those that may go on costing."""
        told: dict[object, tuple[list[str], Exception]] = {}
        for what, error in left.items():
            # Refused for one reason, they have one sentence.
            cause = (error.info.kind, error.info.message) if isinstance(error, AzureFailure) else str(error)
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


def release(
    workspace: AzureMLWorkspace,
    names: RunNames,
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
    log = log or run_logger()
    released = Released()
    left: dict[str, Exception] = {}
    try:
        for name in find_running_jobs(workspace, names):
            try:
                if cancel_job(workspace, name, log, of=names.run_id):
                    released.cancelled_jobs.append(name)
            except Exception as error:
                left[f"job {name}"] = error
    except Exception as error:
        left[f"job {names.job(1)}, if it still runs,"] = error
    endpoints = []
    try:
        for name in find_own_endpoints(workspace, names, made, chosen):
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


def release_what_one_can(workspace: AzureMLWorkspace, names: RunNames, **more: Any) -> tuple[str, list[str]]:
    """What was released, or that it could not be, and the endpoints that are still there. Must not hide why the run ended: what
    cannot be released now is left to the reaper. `more`: what `release` takes."""
    try:
        return str(release(workspace, names, **more)), []
    except Exception as error:
        left = error.endpoints if isinstance(error, StillThere) else []
        return f"not everything; the reaper will try again ({error})", left


@step
def find_running_jobs(workspace: AzureMLWorkspace, names: RunNames) -> list[str]:
    """The run's own: a job that another run has taken over is that one's. One that is called after the run is its own without a
    tag, too: somebody may have overwritten them."""
    own = {names.run_id, None} if not names.shares else {names.run_id}
    found = [job for job in attempts(workspace, names) if run_id_of(job.tags) in own]
    return [str(job.name) for job in found if word(job.status) not in ENDED]


@step
def cancel_job(workspace: AzureMLWorkspace, name: str, log: Log, *, of: UUID) -> bool:
    """Cancels the job `name` of the run `of` and waits until it has ended; one that has ended already is left as it is. Whether it
    has: not if another run took it over meanwhile."""
    asked, job = False, None
    for _ in polls(GONE_DEADLINE_SECONDS):
        job = find_job(workspace, name)
        if job is None or word(job.status) in ENDED:
            return True
        if not asked and word(job.status) != CANCELLING:
            if run_id_of(job.tags) not in (of, None):
                log.info("Job %s is run %s's by now: it goes on.", name, run_id_of(job.tags))
                return False
            log.info("Cancelling job %s (%s).", name, word(job.status))
            workspace.client().jobs.begin_cancel(name)
            asked = True
    still = word(job.status) if job else "there"
    raise AzureFailure(ErrorInfo(Kind.PERMANENT, f"half an hour later it is still {still}"), f"cancelling job {name}")


@step
def find_own_endpoints(workspace: AzureMLWorkspace, names: RunNames, made: str | None, chosen: str | None) -> list[str]:
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


@step
def delete_endpoint(workspace: AzureMLWorkspace, name: str) -> None:
    """Deletes the endpoint with its deployments and waits until Azure no longer finds it."""
    began = time.monotonic()
    try:
        workspace.client().online_endpoints.begin_delete(name=name).wait(timeout=GONE_DEADLINE_SECONDS)
    except Exception as error:
        if not is_not_found(error):
            raise
    for _ in polls(GONE_DEADLINE_SECONDS - (time.monotonic() - began)):
        if find_endpoint(workspace, name) is None:
            return
    raise AzureFailure(ErrorInfo(Kind.PERMANENT, "half an hour later it is still there"), f"deleting endpoint {name}")
