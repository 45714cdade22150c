"""Finds what outlived its run: jobs and endpoints that the flow made, and whose run is over or unknown.

Promise: reads only, and never counts anything that carries no run's tag.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal
from uuid import UUID

from blocks import AzureMLWorkspace
from tasks.azure_ml.states import ENDED, word
from tasks.cost import Prices, an_hour_by_tag
from tasks.naming import CREATOR, CREATOR_TAG, SERVER_TAG, is_derived, run_id_in, run_id_of
from tasks.release import EXPIRES_TAG, KEEP_TAG, moment
from tasks.runs import RunState

if TYPE_CHECKING:
    from azure.ai.ml.entities import Job, OnlineEndpoint

OLDEST_JOB = timedelta(days=31)
"""A job that began earlier has long met any deadline (30 days at most); the listing is newest first."""


NOT_NAMED = "not-named"
"""Stands for the server of what names none."""


@dataclass(frozen=True)
class Leftover:
    """A job that is not over, or an endpoint."""

    kind: Literal["job", "endpoint"]
    name: str
    run_id: UUID
    created: datetime | None
    tags: dict[str, str]

    def is_known_to(self, server: str, run: RunState) -> bool:
        """Whether the Prefect server with this id, which says `run` of its run, is the one to say what becomes of it. What an
        older version made names no server."""
        named = self.tags.get(SERVER_TAG)
        return named == server or (named is None and run is not RunState.UNKNOWN)

    def told(self, now: datetime, prices: Prices | None) -> str:
        """What belongs to another server, for a person."""
        named = self.tags.get(SERVER_TAG)
        server = f"Prefect server {named}" if named else "a Prefect server that is not named"
        return (
            f"{self.kind.capitalize()} {self.name} was made {self.hours(now):.1f} hours ago by flow run {self.run_id} of {server}, "
            f"not of this one. It stays, and costs {an_hour_by_tag(prices, self.tags)} an hour while it works. If that server is "
            f"gone, or says that the run is over, run the reaper with server {named or NOT_NAMED}."
        )

    def hours(self, now: datetime) -> float:
        """Since it was made; 0 if Azure does not say when that was."""
        return (now - self.created).total_seconds() / 3600 if self.created else 0.0


def leftovers(workspace: AzureMLWorkspace) -> Iterator[Leftover]:
    """Everything in the workspace that a run of this flow made and that may cost money."""
    for endpoint in workspace.client().online_endpoints.list():
        if (run_id := run_id_of(endpoint.tags)) and _is_ours(endpoint.tags):
            yield Leftover("endpoint", str(endpoint.name), run_id, _endpoint_created(endpoint), endpoint.tags or {})
    for job, created in _unfinished_jobs(workspace):
        if (run_id := run_id_of(job.tags)) and _is_ours(job.tags):
            yield Leftover("job", str(job.name), run_id, created, job.tags or {})


def _is_ours(tags: Mapping[str, str] | None) -> bool:
    return (tags or {}).get(CREATOR_TAG) == CREATOR


def unproven(workspace: AzureMLWorkspace) -> Iterator[str]:
    """What looks like a run's and carries no tag of one, each as a sentence. It may be somebody's by now, so it stays."""
    for endpoint in workspace.client().online_endpoints.list():
        run_id = run_id_in(endpoint.description)
        if run_id_of(endpoint.tags) is None and (run_id or is_derived(str(endpoint.name))):
            sign = f"its description names flow run {run_id}" if run_id else "it is called as only runs call theirs"
            yield (
                f"Endpoint {endpoint.name} looks like a run's ({sign}), but its tags have been overwritten. Delete it if nobody "
                "uses it: it costs as long as it has a deployment."
            )
    for job, _ in _unfinished_jobs(workspace):
        if run_id_of(job.tags) is None and is_derived(str(job.name)):
            yield (
                f"Job {job.name} looks like a run's (it is called as only runs call theirs), but its tags have been overwritten. "
                "Cancel it if nobody waits for it."
            )


def _unfinished_jobs(workspace: AzureMLWorkspace) -> Iterator[tuple[Job, datetime | None]]:
    """Those that may still run, each with when it was made."""
    oldest = datetime.now(UTC) - OLDEST_JOB
    for job in workspace.client().jobs.list():
        if job is None:
            continue
        created = _job_created(job)
        if created is not None and created < oldest:
            return
        if word(job.status) not in ENDED:
            yield job, created


def why_release(
    leftover: Leftover, run: RunState, *, now: datetime, ttl_hours: float, grace_minutes: float
) -> str | None:
    """Why `leftover` of a run in state `run` is to be released; None if it is to stay.

    `grace_minutes`: what is younger stays, so that a run that is just ending can release it itself. `ttl_hours`: how old
    what belongs to an unknown run must be.
    """
    expires = moment(leftover.tags.get(EXPIRES_TAG))
    if run is RunState.ALIVE or leftover.hours(now) * 60 < grace_minutes:
        return None
    if expires is not None and expires <= now:
        return f"its time to live ended {expires:%Y-%m-%d %H:%M} UTC"
    kept = leftover.kind == "endpoint" and leftover.tags.get(KEEP_TAG) == "on_success"
    if kept and run in (RunState.SUCCEEDED, RunState.UNKNOWN):
        return None
    if run is RunState.UNKNOWN:
        return f"its run is {run} and it is older than {ttl_hours:g} h" if leftover.hours(now) >= ttl_hours else None
    return f"its run {run}"


def _endpoint_created(endpoint: OnlineEndpoint) -> datetime | None:
    return moment((endpoint.properties or {}).get("createdAt"))


def _job_created(job: Job) -> datetime | None:
    created = getattr(job.creation_context, "created_at", None)
    return created if isinstance(created, datetime) else moment(created)
