"""Releases what outlived its run: the guarantee behind every other way of releasing.

Hooks do not run when a worker dies with its runs. This flow runs on a cron and after runs that ended badly, and asks
Azure what there is instead of trusting that somebody noted it down.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.filters import FlowFilter, FlowFilterName, FlowRunFilter, FlowRunFilterStartTime
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort
from pydantic import BaseModel

from blocks import AzureMLWorkspace
from flows.finetune import finetune, load_workspace
from tasks.artifacts import publish_table
from tasks.errors import Refused
from tasks.orphans import Leftover, RunState, leftovers, unproven, why_release
from tasks.stage import run_logger, stage
from tasks.teardown import cancel_job, delete_endpoint

LATELY = timedelta(days=30)
"""Where runs of that time worked, something of theirs may be left."""


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
    unproven: list[str] = []
    """What looks like a run's and carries no tag of one: for a person to look at."""


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
        workspace: Name of the AzureMLWorkspace block. The blocks that runs of the last days worked with are looked at, too, if they
            can be.
        ttl_hours: How old something must be whose run Prefect does not know.
        grace_minutes: What is younger stays. 0 when one run is named.
        dry_run: Only say what would be released.
        resource: Only what belongs to this run: `prefect.flow-run.<id>`, as an event names it, or the id.
        reason: Why it was called, for the log: the event's name.
    """
    only = _named(resource) if resource else None
    if reason or only:
        run_logger().info("Called for run %s: %s", only, reason or "no reason given")
    now = datetime.now(UTC)
    where: dict[str, AzureMLWorkspace] = {}
    found: list[Leftover] = []
    failed: list[str] = []
    looks_like: list[str] = []
    for name in blocks_of_runs(workspace, only):
        try:
            block = load_workspace(name)
            here = [left for left in find_leftovers(block) if only in (None, left.run_id) and left.name not in where]
            looks_like += find_unproven(block) if only is None else []
        except Exception as error:
            if name == workspace:
                failed.append(f"workspace {name}: {error}")
            else:  # as likely a block that never was, or never worked; its own runs fail and tell of it
                run_logger().warning("Workspace %s cannot be looked at: %s", name, error)
            continue
        found += here
        where |= {left.name: block for left in here}
    states = {run_id: state_of_run(run_id) for run_id in {left.run_id for left in found}}
    released: list[Reaped] = []
    for left in found:
        why = why_release(
            left, states[left.run_id], now=now, ttl_hours=ttl_hours, grace_minutes=0.0 if only else grace_minutes
        )
        if why is None:
            continue
        run_logger().info("%s %s %s: %s.", "Would release" if dry_run else "Releasing", left.kind, left.name, why)
        try:
            if not dry_run:
                release_leftover(where[left.name], left)
            released.append(
                Reaped(
                    kind=left.kind, name=left.name, run_id=str(left.run_id), reason=why, hours=round(left.hours(now), 2)
                )
            )
        except Exception as error:
            failed.append(f"{left.kind} {left.name}: {error}")
    publish_table("reaped", "Released" if not dry_run else "Would be released", [row.model_dump() for row in released])
    report = ReapReport(
        dry_run=dry_run,
        released=released,
        kept=len(found) - len(released) - len(failed),
        failed=failed,
        unproven=sorted(set(looks_like)),
    )
    for sentence in report.unproven:
        run_logger().warning(sentence)
    run_logger().info(
        "%s %d of %d; %.1f hours of jobs and endpoints.",
        "Would release" if dry_run else "Released", len(released), len(found), sum(row.hours for row in released),
    )  # fmt: skip
    if failed:
        raise NotReleased("; ".join(failed))
    return report


def _named(resource: str) -> UUID:
    """The run that `resource` is.

    Raises:
        Refused: it is none, but most likely a run's name.
    """
    try:
        return UUID(resource.rsplit(".", 1)[-1])
    except ValueError as error:
        raise Refused(
            f"The parameter resource is '{resource}', which is no run's id. Give the id, as the address of the run's page ends; a "
            "name may be several runs'. Without resource, all runs are looked at. Nothing was released."
        ) from error


@stage
def find_leftovers(workspace: AzureMLWorkspace) -> list[Leftover]:
    """What runs of the flow have left in the workspace."""
    return list(leftovers(workspace))


@stage
def find_unproven(workspace: AzureMLWorkspace) -> list[str]:
    """What looks as if a run of the flow had made it, and does not say which."""
    return list(unproven(workspace))


@task(cache_policy=NO_CACHE, persist_result=False, retries=3, retry_delay_seconds=5)
def blocks_of_runs(workspace: str, only: UUID | None) -> list[str]:
    """Names of the blocks that runs were given: just the one of the run `only`, or `workspace` and those of the latest runs."""
    from prefect.client.orchestration import get_client

    if only is not None:
        run = _read_run(only)
        return [str(run.parameters.get("workspace", workspace)) if run else workspace]
    lately = FlowRunFilterStartTime(after_=datetime.now(UTC) - LATELY)
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=[finetune.name])),
            flow_run_filter=FlowRunFilter(start_time=lately),
            sort=FlowRunSort.START_TIME_DESC,
        )
    given = (str(run.parameters["workspace"]) for run in runs if "workspace" in run.parameters)
    return list(dict.fromkeys([workspace, *given]))


@task(cache_policy=NO_CACHE, persist_result=False, retries=3, retry_delay_seconds=5)
def state_of_run(run_id: UUID) -> RunState:
    """What Prefect says of a run."""
    run = _read_run(run_id)
    if run is None:
        return RunState.UNKNOWN
    if run.state is None or not run.state.is_final():
        return RunState.ALIVE
    return RunState.SUCCEEDED if run.state.is_completed() else RunState.ENDED_BADLY


def _read_run(run_id: UUID) -> FlowRun | None:
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    try:
        with get_client(sync_client=True) as client:
            return client.read_flow_run(run_id)
    except ObjectNotFound:
        return None


@stage
def release_leftover(workspace: AzureMLWorkspace, left: Leftover) -> None:
    """Cancels the job or deletes the endpoint, and waits until that is done."""
    if left.kind == "job":
        cancel_job(workspace, left.name, run_logger())
    else:
        delete_endpoint(workspace, left.name)
