"""One night at a time: of a deployment that carries the tag `one-at-a-time`, one run works; the others end with a sentence.

A run that works, or comes back after its process died, keeps its turn; among those that have not begun, the newest is in turn, so
after missed nights the last one runs, under its own date. Nobody has to note anything down for that: what Prefect says of the runs
is enough, so no crash, restart or outage leaves a turn taken by nobody.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, StateType

ONE_AT_A_TIME = "one-at-a-time"
SETTLING = timedelta(minutes=1)
"""A run looks whose turn it is in its first seconds: one that is still running after this has it."""
LOOK_AGAIN_SECONDS = 2.0
BEGUN = (StateType.PENDING, StateType.RUNNING, StateType.CANCELLING, StateType.PAUSED)


class NotItsTurn(Exception):
    """Another run is in turn. `name`: that of the state with which this one ends."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


def take_turn(run_id: UUID) -> None:
    """Returns when the run `run_id`, which has just begun, may work.

    Raises:
        NotItsTurn: it may not.
    """
    with get_client(sync_client=True) as client:
        mine = client.read_flow_run(run_id)
        if ONE_AT_A_TIME not in mine.tags or mine.deployment_id is None:
            return
        # By the server's clock, since the other runs' times are its, too.
        began, asked = mine.state.timestamp if mine.state else datetime.now(UTC), time.monotonic()
        while True:
            now = began + timedelta(seconds=time.monotonic() - asked)
            others = [run for run in _due(client, mine.deployment_id, now) if run.id != run_id]
            if other := in_the_way(mine, others, now):
                raise _not_its_turn(mine, other)
            # They have less of a claim and are about to find that out, unless they had begun to work before this one was due.
            if not any(_is(run, StateType.RUNNING) for run in others):
                return
            time.sleep(LOOK_AGAIN_SECONDS)


def in_the_way(mine: FlowRun, others: Iterable[FlowRun], now: datetime) -> FlowRun | None:
    """The one of `others`, none of which is over, because of which `mine` must not work."""
    return next((run for run in others if _works(run, now) or _claim(run) > _claim(mine)), None)


def _works(run: FlowRun, now: datetime) -> bool:
    """Whether it has had its turn for a while. What is being cancelled or stands still has a job all the same."""
    if _is(run, StateType.RUNNING):
        return run.state is not None and now - run.state.timestamp > SETTLING
    return _is(run, StateType.CANCELLING, StateType.PAUSED)


def _claim(run: FlowRun) -> tuple[bool, datetime, UUID]:
    """The higher, the sooner it is in turn: what had begun before comes first, then the newest night."""
    comes_back = run.run_count > (1 if _is(run, StateType.RUNNING) else 0)
    return comes_back, _due_at(run), run.id


def _not_its_turn(mine: FlowRun, other: FlowRun) -> NotItsTurn:
    if _due_at(other) > _due_at(mine):
        return NotItsTurn(
            "Missed",
            f"It was due at {_due_at(mine):%Y-%m-%d %H:%M} UTC and could not begin until a newer one was due, too: {other.name}, "
            "which runs instead. Nothing was trained for it. Was the worker away, or the server?",
        )
    state = other.state.name if other.state else "there"
    return NotItsTurn(
        "Skipped",
        f"The run before it is not over: {other.name} is {state} (flow run {other.id}). Nothing was trained. See why that takes so "
        "long; cancel it if it hangs.",
    )


def _due(client: Any, deployment: UUID, now: datetime) -> Sequence[FlowRun]:
    """The deployment's runs that are not over and should have begun by `now`."""
    from prefect.client.schemas.filters import DeploymentFilter, FlowRunFilter

    open_states = [state.value for state in (*BEGUN, StateType.SCHEDULED)]
    runs: list[FlowRun] = client.read_flow_runs(
        deployment_filter=DeploymentFilter.model_validate({"id": {"any_": [deployment]}}),
        flow_run_filter=FlowRunFilter.model_validate(
            {"state": {"type": {"any_": open_states}}, "expected_start_time": {"before_": now}}
        ),
    )
    return runs


def _due_at(run: FlowRun) -> datetime:
    return run.expected_start_time or datetime.max.replace(tzinfo=UTC)


def _is(run: FlowRun, *types: StateType) -> bool:
    return run.state is not None and run.state.type in types
