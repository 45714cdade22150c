"""Whose turn it is among the runs of one deployment, in every order in which they can meet."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.states import AwaitingRetry, Cancelling, Completed, Crashed, Pending, Running, Scheduled, Suspended

from blocks import AzureMLWorkspace
from flows import turns
from flows.turns import ONE_AT_A_TIME, SETTLING, NotItsTurn, in_the_way, take_turn

NOW = datetime(2026, 11, 30, 8, tzinfo=UTC)
NIGHTS = [NOW - timedelta(days=days) for days in (3, 2, 1)]
JUST_NOW, LONG_AGO = NOW - timedelta(seconds=3), NOW - timedelta(hours=5)


def night(due: datetime, state: StateType, since: datetime = JUST_NOW, run_count: int | None = None) -> FlowRun:
    """A run; `run_count`: how often it has begun, once if it runs."""
    begun = state is StateType.RUNNING if run_count is None else run_count
    return FlowRun(
        id=uuid4(),
        flow_id=uuid4(),
        name=f"of {due:%Y-%m-%d}",
        state=State(type=state, timestamp=since),
        expected_start_time=due,
        run_count=int(begun),
    )


def works(mine: FlowRun, *others: FlowRun) -> bool:
    return in_the_way(mine, others, NOW) is None


def test_the_newest_of_the_nights_that_were_missed_is_in_turn() -> None:
    runs = [night(due, StateType.RUNNING) for due in NIGHTS]
    for order in itertools.permutations(runs):
        assert [works(run, *(other for other in order if other is not run)) for run in runs] == [False, False, True]


@pytest.mark.parametrize("state", [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING])
def test_a_newer_night_that_is_due_goes_first_wherever_it_is_on_its_way(state: StateType) -> None:
    assert not works(night(NIGHTS[0], StateType.RUNNING), night(NIGHTS[1], state))
    assert works(night(NIGHTS[1], StateType.RUNNING), night(NIGHTS[0], state))


def test_a_run_that_works_keeps_its_turn_however_old_it_is() -> None:
    at_work = night(NIGHTS[0], StateType.RUNNING, since=LONG_AGO)
    assert not works(night(NIGHTS[2], StateType.RUNNING), at_work)
    comes_back = night(NIGHTS[2], StateType.RUNNING, run_count=2)
    assert not works(comes_back, at_work)


@pytest.mark.parametrize("state", [StateType.CANCELLING, StateType.PAUSED])
def test_a_run_that_is_cancelled_or_stands_still_has_its_job_until_it_is_over(state: StateType) -> None:
    assert not works(night(NIGHTS[2], StateType.RUNNING), night(NIGHTS[0], state, run_count=1))


@pytest.mark.parametrize("state", [StateType.CANCELLING, StateType.PAUSED])
def test_a_run_that_comes_back_waits_for_one_that_is_cancelled_or_stands_still(state: StateType) -> None:
    comes_back = night(NIGHTS[2], StateType.RUNNING, run_count=2)
    assert not works(comes_back, night(NIGHTS[0], state, run_count=1))


def test_a_run_that_gives_way_to_a_newer_one_was_missed_and_else_is_skipped() -> None:
    older, newer = (night(due, StateType.RUNNING) for due in NIGHTS[:2])
    assert turns._not_its_turn(older, newer).name == "Missed"
    assert turns._not_its_turn(newer, older).name == "Skipped"


@pytest.mark.parametrize("state", [StateType.SCHEDULED, StateType.PENDING])
def test_a_night_that_was_interrupted_goes_on_before_the_one_that_was_due_meanwhile(state: StateType) -> None:
    interrupted, next_night = night(NIGHTS[1], state, run_count=1), night(NIGHTS[2], StateType.RUNNING)
    assert not works(next_night, interrupted)
    goes_on = night(NIGHTS[1], StateType.RUNNING, run_count=2)
    assert works(goes_on, next_night)
    assert not works(next_night, goes_on)


def test_of_two_that_come_back_one_goes_on() -> None:
    first, second = (night(due, StateType.RUNNING, run_count=2) for due in NIGHTS[:2])
    assert [works(first, second), works(second, first)] == [False, True]


def test_of_two_that_were_due_at_the_same_time_one_works() -> None:
    first, second = (night(NIGHTS[0], StateType.RUNNING) for _ in range(2))
    assert works(first, second) is not works(second, first)


def test_a_run_settles_within_a_minute() -> None:
    for seconds, holds in ((59, False), (61, True)):
        older = night(NIGHTS[0], StateType.RUNNING, since=NOW - timedelta(seconds=seconds))
        assert works(night(NIGHTS[1], StateType.RUNNING), older) is not holds
    assert timedelta(minutes=1) == SETTLING


@flow(name="nights")
def nights() -> None:
    """Stands for a flow whose deployment is one at a time."""


@pytest.fixture(scope="module")
def deployment(workspace: AzureMLWorkspace) -> Iterator[UUID]:
    """A deployment whose runs nobody starts."""
    with get_client(sync_client=True) as client:
        flow_id = client.create_flow(nights)
        yield client.create_deployment(flow_id, "one", tags=[ONE_AT_A_TIME])


def due_run(deployment: UUID, days_ago: float, *states: State[Any]) -> UUID:
    """A run of the deployment that was due so long ago and went through these states."""
    with get_client(sync_client=True) as client:
        due = datetime.now(UTC) - timedelta(days=days_ago)
        run = client.create_flow_run_from_deployment(deployment, state=Scheduled(scheduled_time=due))
        for state in states:
            client.set_flow_run_state(run.id, state, force=True)
        return run.id


@pytest.fixture
def over(deployment: UUID) -> Iterator[list[UUID]]:
    """Runs that are over when the test is."""
    runs: list[UUID] = []
    yield runs
    with get_client(sync_client=True) as client:
        for run in runs:
            client.set_flow_run_state(run, Completed(), force=True)


def refused(run: UUID) -> NotItsTurn:
    with pytest.raises(NotItsTurn) as refusal:
        take_turn(run)
    return refusal.value


def test_a_server_is_asked_what_there_is(deployment: UUID, over: list[UUID]) -> None:
    over += [due_run(deployment, 3, Running()), due_run(deployment, 2, Pending()), due_run(deployment, 1)]
    missed = refused(over[0])
    assert missed.name == "Missed"
    assert "a newer one was due, too" in str(missed)
    with get_client(sync_client=True) as client:
        for run in over[:2]:
            client.set_flow_run_state(run, Crashed(), force=True)
        client.set_flow_run_state(over[2], Running(), force=True)
    take_turn(over[2])


def test_a_night_that_still_works_is_named(deployment: UUID, over: list[UUID], monkeypatch: pytest.MonkeyPatch) -> None:
    over += [due_run(deployment, 1, Running()), due_run(deployment, 0, Running())]
    monkeypatch.setattr(turns, "SETTLING", timedelta(0))
    skipped = refused(over[1])
    assert skipped.name == "Skipped"
    assert f"is Running (flow run {over[0]})" in str(skipped)


def test_an_older_one_that_is_about_to_give_way_is_waited_for(
    deployment: UUID, over: list[UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    over += [due_run(deployment, 1, Running()), due_run(deployment, 0, Running())]
    slept = []

    def gives_way(seconds: float) -> None:
        slept.append(seconds)
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(over[0], Cancelling(), force=True)
            client.set_flow_run_state(over[0], Crashed(), force=True)

    monkeypatch.setattr("flows.turns.time.sleep", gives_way)
    take_turn(over[1])
    assert slept == [turns.LOOK_AGAIN_SECONDS]


def test_an_interrupted_night_keeps_its_turn(deployment: UUID, over: list[UUID]) -> None:
    over += [due_run(deployment, 1, Running(), AwaitingRetry()), due_run(deployment, 0, Running())]
    assert refused(over[1]).name == "Skipped"


def test_one_that_does_not_give_way_is_found_to_have_its_turn(
    deployment: UUID, over: list[UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    over += [due_run(deployment, 1, Running()), due_run(deployment, 0, Running())]
    monkeypatch.setattr(turns, "SETTLING", timedelta(seconds=2))
    slept, sleep = [], time.sleep

    def sleeps(seconds: float) -> None:
        slept.append(seconds)
        assert len(slept) < 10, "it waits for ever"
        sleep(seconds)

    monkeypatch.setattr("flows.turns.time.sleep", sleeps)
    assert refused(over[1]).name == "Skipped"


@pytest.mark.parametrize("state", [Suspended(), Cancelling()], ids=lambda state: str(state.name))
def test_a_night_that_stands_still_or_is_being_cancelled_is_asked_for_too(
    deployment: UUID, over: list[UUID], state: State[Any]
) -> None:
    over += [due_run(deployment, 1, Running(), state), due_run(deployment, 0, Running())]
    assert refused(over[1]).name == "Skipped"


def test_a_worker_whose_clock_is_slow_sees_every_night_that_is_due(
    deployment: UUID, over: list[UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) - timedelta(days=2)

    monkeypatch.setattr(turns, "datetime", Slow)
    over += [due_run(deployment, 1, Running(), AwaitingRetry()), due_run(deployment, 0, Running())]
    assert refused(over[1]).name == "Skipped"


def test_a_run_of_no_deployment_works_whatever_its_tags(workspace: AzureMLWorkspace) -> None:
    with get_client(sync_client=True) as client:
        by_hand = client.create_flow_run(nights, tags=[ONE_AT_A_TIME], state=Pending())
        client.set_flow_run_state(by_hand.id, Running(), force=True)
    take_turn(by_hand.id)


def test_what_is_not_due_yet_is_not_in_the_way_and_other_deployments_are_none(
    deployment: UUID, over: list[UUID]
) -> None:
    over += [due_run(deployment, 0, Running()), due_run(deployment, -1)]
    take_turn(over[0])
    with get_client(sync_client=True) as client:
        plain = client.create_deployment(client.create_flow(nights), "many")
        over += [due_run(plain, 1, Running()), due_run(plain, 0, Running())]
    take_turn(over[2])
    take_turn(over[3])
