"""`python -m deployments.stack.nights`: for each deployment of the server of `PREFECT_API_URL`, when it last ended well and when it
next runs; the exit status is 3 where one that should run by itself never will.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import yaml

from deployments.stack.deploying import full_name
from deployments.stack.layout import ROOT

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun, WorkPool, WorkQueue
    from prefect.client.schemas.responses import DeploymentResponse

NEVER = 3


@dataclass(frozen=True)
class Outlook:
    """What has become of a deployment and what will."""

    name: str
    """With its flow's: finetune/nightly."""
    last: datetime | None = None
    """When a run of it last ended well."""
    next: datetime | None = None
    """None where none is planned."""
    scheduled: bool = False
    """Whether it is to run by itself."""
    never: str = ""
    """Why it never will, and what to do."""

    def sentence(self) -> str:
        last = f"last ended well {_minute(self.last)}" if self.last else "has never ended well"
        if self.never:
            return f"{self.name} {last}; NEVER RUNS: {self.never}"
        if not self.scheduled:
            return f"{self.name} {last}; runs when somebody starts it"
        if self.next is None:
            return f"{self.name} {last}; next is not planned yet"
        late = " (late: no worker has taken it)" if self.next < datetime.now(UTC) else ""
        return f"{self.name} {last}; next {_minute(self.next)}{late}"


def main() -> int:
    """Prints a sentence for each deployment."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        outlooks = list(outlook(client))
    print(*(each.sentence() for each in outlooks), sep="\n")
    return NEVER if any(each.never for each in outlooks) else 0


def outlook(client: SyncPrefectClient) -> Iterator[Outlook]:
    """Of every deployment that there is, and of those in prefect.yaml that there should be."""
    flows = {flow.id: flow.name for flow in client.read_flows()}
    # Another flow may have a deployment of the same name.
    there = {f"{flows.get(its.flow_id, '?')}/{its.name}": its for its in client.read_deployments(limit=200)}
    for name in _in_the_file():
        if name not in there:
            yield Outlook(name, never="it is not on the server any more. `make up` deploys it again")
    for name, deployment in there.items():
        yield Outlook(
            name=name,
            last=_last_good_end(client, deployment),
            next=_next_start(client, deployment),
            scheduled=bool(deployment.schedules),
            never=_why_never(client, deployment),
        )


def _in_the_file() -> Iterator[str]:
    """The deployments in prefect.yaml, each with its flow's name."""
    for wanted in yaml.safe_load((ROOT / "prefect.yaml").read_text("utf-8"))["deployments"]:
        yield full_name(wanted)


def _why_never(client: SyncPrefectClient, deployment: DeploymentResponse) -> str:
    """Empty if it may run. What keeps even runs that a person starts from running counts for every deployment."""
    if deployment.paused:
        return "the deployment is paused. Switch it on, on its page"
    if deployment.schedules and not any(schedule.active for schedule in deployment.schedules):
        return "its schedule is off. Switch it on, on the deployment's page"
    if deployment.work_pool_name is None:
        return "it has no work pool. `make up` deploys it again"
    pool = client.read_work_pool(deployment.work_pool_name)
    if closed := _closed(pool):
        return f"work pool {pool.name} {closed}. Switch it on, on the pool's page"
    queue = client.read_work_queue(deployment.work_queue_id) if deployment.work_queue_id else None
    if queue and (closed := _closed(queue)):
        return f"work queue {queue.name} of pool {pool.name} {closed}. Switch it on, on the pool's page"
    return ""


def _closed(its: WorkPool | WorkQueue) -> str:
    """How a pool or queue lets no run through; empty if it does."""
    if its.is_paused:
        return "is paused"
    return "has a concurrency limit of 0" if its.concurrency_limit == 0 else ""


def _last_good_end(client: SyncPrefectClient, deployment: DeploymentResponse) -> datetime | None:
    """A rejected model is a good end, too: the night did its work."""
    run = _first(client, deployment, "COMPLETED", sort="END_TIME_DESC")
    return run.end_time if run else None


def _next_start(client: SyncPrefectClient, deployment: DeploymentResponse) -> datetime | None:
    run = _first(client, deployment, "SCHEDULED", sort="NEXT_SCHEDULED_START_TIME_ASC")
    return run.expected_start_time if run else None


def _first(client: SyncPrefectClient, deployment: DeploymentResponse, state: str, *, sort: str) -> FlowRun | None:
    from prefect.client.schemas.filters import DeploymentFilter, FlowRunFilter
    from prefect.client.schemas.sorting import FlowRunSort

    runs = client.read_flow_runs(
        flow_run_filter=FlowRunFilter.model_validate({"state": {"type": {"any_": [state]}}}),
        deployment_filter=DeploymentFilter.model_validate({"id": {"any_": [deployment.id]}}),
        sort=FlowRunSort(sort),
        limit=1,
    )
    return runs[0] if runs else None


def _minute(when: datetime) -> str:
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


if __name__ == "__main__":
    sys.exit(main())
