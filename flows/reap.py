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
from prefect.client.schemas.sorting import FlowRunSort
from pydantic import BaseModel

from blocks import AzureMLWorkspace
from flows.finetune import finetune
from flows.from_outside import has_summary, publish_end_from_outside
from flows.server_identity import server_id
from flows.vital_signs import let_begin, let_go_on, mark_if_dead
from flows.workspaces import load_workspace
from tasks.artifacts import publish_table
from tasks.azure_ml.errors import InvalidConfiguration
from tasks.cost import CostParameters, Prices, read_prices
from tasks.naming import SERVER_TAG
from tasks.orphans import NOT_NAMED, Leftover, leftovers, unproven, why_release
from tasks.release import Released, cancel_job, delete_endpoint
from tasks.runs import RunState, read_run, state_of
from tasks.stage import run_logger, stage

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
    others: list[str] = []
    """What runs of other Prefect servers made: for a person to look at."""
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
    silent_seconds: float | None = None,
    server: str | None = None,
) -> ReapReport:
    """Deletes endpoints and cancels jobs whose flow run is over, or unknown and long ago. Before that, runs that a worker has left
    behind when it was stopped are handed to the next one.

    Args:
        workspace: Name of the AzureMLWorkspace block. The blocks that runs of the last 30 days worked with are looked at, too, if
            they can be.
        ttl_hours: Hours after which something is released whose run Prefect does not know; for example 24.
        grace_minutes: What is younger than so many minutes stays; for example 15. 0 when one run is named.
        dry_run: Say what would be released, and release nothing.
        resource: Release only what belongs to this run: `prefect.flow-run.<id>`, as events name it, or the id. Default: all runs.
        reason: Why it was called, for the log; for example prefect.flow-run.Crashed, an event's name.
        silent_seconds: Seconds to wait for a heartbeat of the run that `resource` names; for example 240. If none comes it is
            marked as crashed; else nothing is released. Default: it is not waited for.
        server: Also what runs of this other Prefect server left, by its id or not-named, as the reaper's log tells it, once it is
            older than ttl_hours. That server is not asked whether they live.
    """
    only = _named(resource) if resource else None
    if reason or only:
        run_logger().info("Called for run %s: %s", only, reason or "no reason given")
    failed: list[str] = []
    if only is None and not dry_run:
        try:
            let_go_on([finetune.name, reap.name])
        except Exception as error:  # what costs money must not wait for it
            failed.append(f"runs of stopped workers: {error}")
    if only is not None and not dry_run and let_begin(only):
        return ReapReport(dry_run=dry_run, released=[], kept=0, failed=[])
    if only is not None and silent_seconds is not None and (dry_run or not mark_if_dead(only, silent_seconds)):
        return ReapReport(dry_run=dry_run, released=[], kept=0, failed=[])
    now = datetime.now(UTC)
    where: dict[str, AzureMLWorkspace] = {}
    found: list[Leftover] = []
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
    others: list[str] = []
    this, prices = server_id(), _list_prices()
    for left in found:
        if not (left.is_known_to(this, states[left.run_id]) or server == left.tags.get(SERVER_TAG, NOT_NAMED)):
            others.append(left.told(now, prices))
            continue
        why = why_release(
            left, states[left.run_id], now=now, ttl_hours=ttl_hours, grace_minutes=0.0 if only else grace_minutes
        )
        if why is None:
            continue
        run_logger().info("%s %s %s: %s.", "Would release" if dry_run else "Releasing", left.kind, left.name, why)
        try:
            if not (dry_run or release_leftover(where[left.name], left)):
                continue
            released.append(
                Reaped(
                    kind=left.kind, name=left.name, run_id=str(left.run_id), reason=why, hours=round(left.hours(now), 2)
                )
            )
        except Exception as error:
            failed.append(f"{left.kind} {left.name}: {error}")
    if not dry_run:
        for run_id in {run_id for run_id in states.keys() | {only} if run_id}:
            _tell_of_its_end(run_id, [row for row in released if row.run_id == str(run_id)])
    publish_table("reaped", "Released" if not dry_run else "Would be released", [row.model_dump() for row in released])
    report = ReapReport(
        dry_run=dry_run,
        released=released,
        kept=len(found) - len(released) - len(failed),
        failed=failed,
        others=others,
        unproven=sorted(set(looks_like)),
    )
    for sentence in (*report.others, *report.unproven):
        run_logger().warning(sentence)
    run_logger().info(
        "%s %d of %d; %.1f hours of jobs and endpoints.",
        "Would release" if dry_run else "Released", len(released), len(found), sum(row.hours for row in released),
    )  # fmt: skip
    if failed:
        raise NotReleased("; ".join(failed))
    return report


def _list_prices() -> Prices | None:
    try:
        return read_prices(CostParameters())
    except InvalidConfiguration as error:
        run_logger().warning("What things cost cannot be told: %s", error)
        return None


def _tell_of_its_end(run_id: UUID, released: list[Reaped]) -> None:
    """The summary of a run that ended badly without one, since its process, its worker or its machine was gone."""
    try:
        run = read_run(run_id)
        if run is None or run.state is None or state_of(run) is not RunState.ENDED_BADLY or has_summary(run_id):
            return
        named = ", ".join(f"{row.kind} {row.name}" for row in released)
        block = load_workspace(str(run.parameters.get("workspace", "azureml")))
        publish_end_from_outside(finetune, block, run, run.state, named or str(Released()), [])
    except Exception as error:
        run_logger().warning("The summary of run %s could not be shown: %s", run_id, error)


def _named(resource: str) -> UUID:
    """The run that `resource` is.

    Raises:
        InvalidConfiguration: it is none, but most likely a run's name.
    """
    try:
        return UUID(resource.rsplit(".", 1)[-1])
    except ValueError as error:
        raise InvalidConfiguration(
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
        run = read_run(only)
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
    return state_of(read_run(run_id))


@stage
def release_leftover(workspace: AzureMLWorkspace, left: Leftover) -> bool:
    """Cancels the job or deletes the endpoint, and waits until that is done. Whether it is: not for a job that a run has taken over
    meanwhile."""
    if left.kind == "job":
        return cancel_job(workspace, left.name, run_logger(), of=left.run_id)
    delete_endpoint(workspace, left.name)
    return True
