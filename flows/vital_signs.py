"""Which runs that Prefect calls running have no process any more: nobody tells it when a machine is gone, or a worker and its runs.
And which that it calls crashed had never begun, and go on.

What a run's process sends is its heartbeat; what a worker says, when it takes a run and when it is stopped, is an event, too. A
worker of processes kills its runs when it is stopped, without a word of them.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from uuid import UUID

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import ObjectNotFound
from prefect.states import AwaitingRetry, Crashed, State

from tasks.stage import run_logger

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.events import Event

HEARTBEAT = "prefect.flow-run.heartbeat"
TAKEN, STOPPED = "prefect.worker.submitted-flow-run", "prefect.worker.stopped"
PROCESS_WORKER = "prefect.worker.process."
"""How the ids of workers begin whose runs end with them."""
LOOK_EVERY_SECONDS = 5.0
AT_WORK = (StateType.RUNNING, StateType.PENDING)
TOLD_TO_END = re.compile(r"status code:? (-15|143)\b")
"""How workers word that a process or a container ended by SIGTERM."""
MOST_FALSE_STARTS = 20
LATELY = timedelta(hours=3)


@task(cache_policy=NO_CACHE, persist_result=False, retries=3, retry_delay_seconds=5)
def mark_if_dead(run_id: UUID, wait_seconds: float) -> bool:
    """Waits for a heartbeat of the run `run_id`, which has sent none for a while; without one, the run is marked as crashed.

    It may live: heartbeats get lost while Prefect's server is away, and none is sent while a run waits to be taken up again.
    """
    asked, deadline = datetime.now(UTC), time.monotonic() + wait_seconds
    with get_client(sync_client=True) as client:
        while True:
            if (why := _why_alive(client, run_id, asked)) is not None:
                run_logger().info("Run %s is not dead: %s.", run_id, why)
                return False
            if time.monotonic() > deadline:
                break
            time.sleep(LOOK_EVERY_SECONDS)
        sentence = "No heartbeat for nine minutes, and none when it was waited for: the process, the worker or the machine is gone."
        client.set_flow_run_state(run_id, Crashed(message=sentence))
    run_logger().warning("Run %s: %s", run_id, sentence)
    return True


def _why_alive(client: SyncPrefectClient, run_id: UUID, since: datetime) -> str | None:
    try:
        state = client.read_flow_run(run_id).state
    except ObjectNotFound:
        return "it was deleted"
    if state is None or state.type is not StateType.RUNNING:
        return f"it is {state.name if state else 'without a state'}"
    if state.timestamp > since:
        return "it has begun anew"
    return "its process sends heartbeats" if _latest(client, HEARTBEAT, of=run_id, since=since) else None


@task(cache_policy=NO_CACHE, persist_result=False, retries=3, retry_delay_seconds=5)
def let_go_on(flows: list[str]) -> None:
    """Hands the runs of `flows` (names) that a stopped worker has left behind to the next one, and those that crashed lately before
    they had begun: the event of that may have been lost. They find the job that they had submitted."""
    with get_client(sync_client=True) as client:
        for run in _left_behind(client, flows):
            client.set_flow_run_state(run.id, AwaitingRetry(message="Its worker was stopped; it goes on."))
            run_logger().warning("Run %s (%s) was left behind by its worker and goes on.", run.name, run.id)
        for run in _crashed_lately(client, flows):
            let_begin.fn(run.id)


def had_not_begun(run_id: UUID) -> bool:
    """Whether a run counts as crashed only since it was told to end before it had begun, so that nothing of it may be released:
    Prefect's command for a run heeds PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR only once it is up, seconds after its start."""
    with get_client(sync_client=True) as client:
        states = sorted(client.read_flow_run_states(run_id), key=lambda state: state.timestamp)
    false_starts = [after for before, after in pairwise(states) if _is_false_start(before, after)]
    return bool(false_starts) and false_starts[-1] is states[-1] and len(false_starts) <= MOST_FALSE_STARTS


def _is_false_start(before: State[Any], after: State[Any]) -> bool:
    # A worker of processes reports the same end twice, and a run may have been handed back in between.
    waited = before.type in (StateType.PENDING, StateType.SCHEDULED)
    return waited and after.type is StateType.CRASHED and TOLD_TO_END.search(after.message or "") is not None


@task(cache_policy=NO_CACHE, persist_result=False, retries=3, retry_delay_seconds=5)
def let_begin(run_id: UUID) -> bool:
    """Hands the run `run_id` back if it crashed before it had begun; says whether it did."""
    if not had_not_begun(run_id):
        return False
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run_id, AwaitingRetry(message="It was told to end before it had begun; it goes on."))
    run_logger().warning("Run %s was told to end before it had begun. It goes on.", run_id)
    return True


def _crashed_lately(client: SyncPrefectClient, flows: list[str]) -> list[FlowRun]:
    crashed = {"any_": [StateType.CRASHED.value]}
    return _runs(client, flows, {"state": {"type": crashed}, "end_time": {"after_": datetime.now(UTC) - LATELY}})


def _runs(client: SyncPrefectClient, flows: list[str], wanted: dict[str, Any]) -> list[FlowRun]:
    """The runs of `flows` (names) that a filter of flow runs lets through."""
    from prefect.client.schemas.filters import FlowFilter, FlowRunFilter

    return client.read_flow_runs(
        flow_filter=FlowFilter.model_validate({"name": {"any_": flows}}),
        flow_run_filter=FlowRunFilter.model_validate(wanted),
    )


def _left_behind(client: SyncPrefectClient, flows: list[str]) -> Iterator[FlowRun]:
    """The runs whose worker was stopped after it had taken them, and that have not begun anew since."""
    at_work = {"any_": [state.value for state in AT_WORK]}
    for run in _runs(client, flows, {"state": {"type": at_work}}):
        taken = _latest(client, TAKEN, of=run.id)
        if taken is None or not taken.resource.id.startswith(PROCESS_WORKER):
            continue
        stopped = _latest(client, STOPPED, by=taken.resource.id, since=taken.occurred)
        if stopped and run.state and run.state.timestamp < stopped.occurred:
            yield run


def taken_by(client: SyncPrefectClient, run_id: UUID) -> str | None:
    """Name of the worker that took the run last; None if nobody remembers."""
    taken = _latest(client, TAKEN, of=run_id)
    return taken.resource.get("prefect.resource.name") if taken else None


def _latest(
    client: SyncPrefectClient,
    name: str,
    *,
    of: UUID | None = None,
    by: str | None = None,
    since: datetime | None = None,
) -> Event | None:
    """The last event called `name` that a run (`of`) is part of, or that a worker (`by`) has sent."""
    from prefect.events.filters import EventFilter

    wanted: dict[str, Any] = {"event": {"name": [name]}}
    if of is not None:
        wanted["any_resource"] = {"id": [f"prefect.flow-run.{of}"]}
    if by is not None:
        wanted["resource"] = {"id": [by]}
    if since is not None:
        wanted["occurred"] = {"since": since}
    found = client.read_events(EventFilter.model_validate(wanted), limit=1).events
    return found[0] if found else None
