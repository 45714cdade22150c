"""Releases what outlived its run: the guarantee behind every other way of releasing.

Hooks do not run when a worker dies with its runs. This flow runs on a cron and after runs that ended badly, and asks
Azure what there is instead of trusting that somebody noted it down.
"""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from pydantic import BaseModel

from blocks import AzureMLWorkspace
from flows.finetune import load_workspace
from tasks.artifacts import publish_table
from tasks.orphans import Leftover, RunState, leftovers, why_release
from tasks.stage import run_logger, stage
from tasks.teardown import cancel_job, delete_endpoint


class Reaped(BaseModel):
    """One thing that was released, or would have been."""

    kind: str
    name: str
    run_id: str
    reason: str
    hours: float
    """How long it had been there: what it has cost, in hours of its machines."""


class ReapReport(BaseModel):
    """What the reaper found."""

    dry_run: bool
    released: list[Reaped]
    kept: int
    failed: list[str]


class NotReleased(Exception):
    """Something could not be released; the message names it. The next run tries again."""


@flow(name="reap")
def reap(
    workspace: str = "azureml",
    ttl_hours: float = 24.0,
    grace_minutes: float = 15.0,
    dry_run: bool = False,
    resource: str | None = None,
    reason: str | None = None,
) -> ReapReport:
    """Deletes endpoints and cancels jobs whose flow run is over, or unknown and long ago.

    Args:
        workspace: Name of the AzureMLWorkspace block.
        ttl_hours: How old something must be whose run Prefect does not know.
        grace_minutes: What is younger stays. 0 when one run is named.
        dry_run: Only say what would be released.
        resource: Only what belongs to this run: `prefect.flow-run.<id>`, as an event names it, or the id.
        reason: Why it was called, for the log: the event's name.
    """
    block = load_workspace(workspace)
    only = UUID(resource.rsplit(".", 1)[-1]) if resource else None
    if reason or only:
        run_logger().info("Called for run %s: %s", only, reason or "no reason given")
    now = datetime.now(UTC)
    found = [left for left in find_leftovers(block) if only in (None, left.run_id)]
    states = {run_id: state_of_run(run_id) for run_id in {left.run_id for left in found}}
    released: list[Reaped] = []
    failed: list[str] = []
    for left in found:
        why = why_release(
            left, states[left.run_id], now=now, ttl_hours=ttl_hours, grace_minutes=0.0 if only else grace_minutes
        )
        if why is None:
            continue
        run_logger().info("%s %s %s: %s.", "Would release" if dry_run else "Releasing", left.kind, left.name, why)
        try:
            if not dry_run:
                release_leftover(block, left)
            released.append(
                Reaped(
                    kind=left.kind, name=left.name, run_id=str(left.run_id), reason=why, hours=round(left.hours(now), 2)
                )
            )
        except Exception as error:
            failed.append(f"{left.kind} {left.name}: {error}")
    publish_table("reaped", "Released" if not dry_run else "Would be released", [row.model_dump() for row in released])
    report = ReapReport(
        dry_run=dry_run, released=released, kept=len(found) - len(released) - len(failed), failed=failed
    )
    run_logger().info(
        "%s %d of %d; %.1f hours of jobs and endpoints.",
        "Would release" if dry_run else "Released", len(released), len(found), sum(row.hours for row in released),
    )  # fmt: skip
    if failed:
        raise NotReleased("; ".join(failed))
    return report


@stage
def find_leftovers(workspace: AzureMLWorkspace) -> list[Leftover]:
    """What runs of the flow have left in the workspace."""
    return list(leftovers(workspace))


@task(cache_policy=NO_CACHE, persist_result=False, retries=3, retry_delay_seconds=5)
def state_of_run(run_id: UUID) -> RunState:
    """What Prefect says of a run."""
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    try:
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(run_id).state
    except ObjectNotFound:
        return RunState.UNKNOWN
    if state is None or not state.is_final():
        return RunState.ALIVE
    return RunState.SUCCEEDED if state.is_completed() else RunState.ENDED_BADLY


@stage
def release_leftover(workspace: AzureMLWorkspace, left: Leftover) -> None:
    """Cancels the job or deletes the endpoint, and waits until that is done."""
    if left.kind == "job":
        cancel_job(workspace, left.name, run_logger())
    else:
        delete_endpoint(workspace, left.name)
