"""Which runs are found dead, and which are left alone: by events as Prefect's workers and runs send them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.events import emit_event
from prefect.events.worker import EventsWorker
from prefect.states import AwaitingRetry, Completed, Crashed, Paused, Pending, Running, Scheduled, Suspended

from blocks import AzureMLWorkspace
from flows import vital_signs
from flows.vital_signs import HEARTBEAT, STOPPED, TAKEN, let_begin, let_go_on, mark_if_dead, taken_by
from tests.deployments.operated import until

MOST_SENT = 6
PROCESS, DOCKER = "prefect.worker.process.w1", "prefect.worker.docker.w1"


@flow(name="works")
def works() -> None:
    """Stands for a flow that workers run."""


@pytest.fixture
def running(workspace: AzureMLWorkspace) -> Iterator[UUID]:
    """A run that Prefect calls running, of which no process exists."""
    with get_client(sync_client=True) as client:
        run = client.create_flow_run(works, state=Pending())
        client.set_flow_run_state(run.id, Running(), force=True)
        yield run.id
        client.set_flow_run_state(run.id, Completed(), force=True)


def say(event: str, by: str, run: UUID | None = None) -> None:
    """Sends an event, and returns when the server has it. It is sent again where Prefect's client lost it with its connection."""
    related = [{"prefect.resource.id": f"prefect.flow-run.{run}", "prefect.resource.role": "flow-run"}] if run else []
    resource = {"prefect.resource.id": by, "prefect.resource.name": by.rpartition(".")[2]}
    since = datetime.now(UTC)
    with get_client(sync_client=True) as client:
        for _ in range(MOST_SENT):
            assert emit_event(event, resource, related=related) is not None
            EventsWorker.drain_all()
            with suppress(AssertionError):
                return until(lambda: vital_signs._latest(client, event, by=by, since=since) is not None, seconds=20)
    raise AssertionError(f"{event} was sent {MOST_SENT} times, and the server has none")


def state(run: UUID) -> State:  # type: ignore[type-arg]
    with get_client(sync_client=True) as client:
        found = client.read_flow_run(run).state
        assert found is not None
        return found


def beat(run: UUID) -> None:
    say(HEARTBEAT, f"prefect.flow-run.{run}")


def test_a_run_that_stays_silent_is_marked_as_crashed(running: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    beat(running)
    monkeypatch.setattr(vital_signs, "LOOK_EVERY_SECONDS", 0.1)
    assert mark_if_dead.fn(running, 0.5) is True
    assert state(running).is_crashed()
    assert "No heartbeat for nine minutes" in str(state(running).message)


def test_a_run_that_sends_a_heartbeat_when_it_is_asked_after_lives(
    running: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.vital_signs.time.sleep", lambda seconds: beat(running))
    assert mark_if_dead.fn(running, 600) is False
    assert state(running).is_running()


@pytest.mark.parametrize("other", [AwaitingRetry(), Completed(), Pending()], ids=lambda state: str(state.name))
def test_a_run_that_is_not_at_work_is_left_as_it_is(running: UUID, other: State) -> None:  # type: ignore[type-arg]
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(running, other, force=True)
    assert mark_if_dead.fn(running, 0) is False
    assert state(running).name == other.name


@pytest.mark.parametrize(
    ("its", "lives"),
    [(Running(), False), (Suspended(), True), (Paused(), True), (AwaitingRetry(), True), (Completed(), True)],
    ids=lambda its: getattr(its, "name", None),
)
def test_of_silent_runs_only_one_that_is_called_running_is_dead(
    its: State,  # type: ignore[type-arg]
    lives: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Server:
        def read_flow_run(self, run_id: UUID) -> FlowRun:
            return FlowRun(id=run_id, flow_id=uuid4(), name="nimble-otter", state=its)

    monkeypatch.setattr(vital_signs, "_latest", lambda *_, **__: None)
    server: Any = Server()
    since = datetime.now(UTC) + timedelta(minutes=1)
    assert (vital_signs._why_alive(server, uuid4(), since) is not None) is lives


def test_a_run_that_has_begun_anew_lives(running: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    def begin_anew(seconds: float) -> None:
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(running, Running(), force=True)

    monkeypatch.setattr("flows.vital_signs.time.sleep", begin_anew)
    assert mark_if_dead.fn(running, 600) is False


def test_a_run_that_was_deleted_is_no_error(workspace: AzureMLWorkspace) -> None:
    with get_client(sync_client=True) as client:
        run = client.create_flow_run(works, state=Running())
        client.delete_flow_run(run.id)
    assert mark_if_dead.fn(run.id, 600) is False


def test_the_runs_of_a_worker_that_was_stopped_go_on(running: UUID) -> None:
    say(TAKEN, PROCESS, running)
    with get_client(sync_client=True) as client:
        assert taken_by(client, running) == "w1"
    let_go_on.fn([works.name])
    assert state(running).is_running(), "its worker has not been stopped"
    say(STOPPED, PROCESS)
    let_go_on.fn(["another flow"])
    assert state(running).is_running()
    let_go_on.fn([works.name])
    assert state(running).name == "AwaitingRetry"


def test_a_run_that_its_worker_had_taken_and_not_begun_goes_on_too(running: UUID) -> None:
    enter(running, Pending())
    say(TAKEN, PROCESS, running)
    say(STOPPED, PROCESS)
    let_go_on.fn([works.name])
    assert state(running).name == "AwaitingRetry"


def test_a_worker_that_was_stopped_and_came_back_before_it_took_a_run_has_not_left_it(running: UUID) -> None:
    """By the worker's own clock, which may differ from that of the server's states."""
    say(STOPPED, PROCESS)
    say(TAKEN, PROCESS, running)
    let_go_on.fn([works.name])
    assert state(running).is_running()


def test_a_run_that_has_begun_since_its_worker_was_stopped_is_left_alone(running: UUID) -> None:
    say(TAKEN, PROCESS, running)
    say(STOPPED, PROCESS)
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(running, Running(), force=True)
    let_go_on.fn([works.name])
    assert state(running).is_running()


def test_containers_outlive_the_worker_that_started_them(running: UUID) -> None:
    say(TAKEN, DOCKER, running)
    say(STOPPED, DOCKER)
    let_go_on.fn([works.name])
    assert state(running).is_running()


def test_a_run_of_which_nobody_knows_the_worker_is_left_alone(running: UUID) -> None:
    say(STOPPED, PROCESS)
    let_go_on.fn([works.name])
    assert state(running).is_running()
    with get_client(sync_client=True) as client:
        assert taken_by(client, running) is None


BY_SIGTERM = [
    "Process exited with status code: -15. Process exited due to a SIGTERM signal.",
    "Flow run infrastructure exited with non-zero status code 143. Process exited due to a SIGTERM signal.",
]
"""As Prefect's workers of processes and of containers say it."""


@pytest.mark.parametrize("message", BY_SIGTERM)
def test_only_what_was_told_to_end_while_it_waited_for_its_beginning_is_a_false_start(message: str) -> None:
    told: State[Any] = Crashed(message=message)
    cases: list[tuple[State[Any], bool]] = [
        (Pending(), True),
        (Scheduled(), True),
        (AwaitingRetry(), True),
        (Running(), False),
    ]
    for before, false in cases:
        assert vital_signs._is_false_start(before, told) is false
    others: list[State[Any]] = [
        Crashed(message="Process exited with status code: -9."),
        Crashed(message="status code 1430."),
        Crashed(),
    ]
    assert not any(vital_signs._is_false_start(Pending(), other) for other in others)
    assert not vital_signs._is_false_start(Pending(), Completed(message=message))


@pytest.fixture
def submitted(workspace: AzureMLWorkspace) -> UUID:
    """A run of a deployment, which the next states are of."""
    with get_client(sync_client=True) as client:
        of = client.create_deployment(client.create_flow(works), name="begins")
        return client.create_flow_run_from_deployment(of).id


def enter(run: UUID, *states: State) -> None:  # type: ignore[type-arg]
    with get_client(sync_client=True) as client:
        for each in states:
            client.set_flow_run_state(run, each, force=True)


@pytest.mark.parametrize("message", BY_SIGTERM)
def test_a_run_that_was_told_to_end_before_it_had_begun_goes_on(submitted: UUID, message: str) -> None:
    enter(submitted, Pending(), Running(), AwaitingRetry(), Pending(), Crashed(message=message))
    assert let_begin.fn(submitted) is True
    assert state(submitted).name == "AwaitingRetry"
    assert let_begin.fn(submitted) is False, "handed back twice"
    enter(submitted, Crashed(message=message))
    assert let_begin.fn(submitted) is True, "its end was reported once more"


def test_a_false_start_whose_event_was_lost_is_found_by_the_reaper_s_next_pass(submitted: UUID) -> None:
    enter(submitted, Pending(), Crashed(message=BY_SIGTERM[1]))
    let_go_on.fn(["another flow"])
    assert state(submitted).is_crashed()
    let_go_on.fn([works.name])
    assert state(submitted).name == "AwaitingRetry"


@pytest.mark.parametrize(("hours", "name"), [(2, "AwaitingRetry"), (4, "Crashed")])
def test_a_false_start_is_found_for_more_than_one_of_the_reaper_s_hours_and_not_for_ever(
    submitted: UUID, monkeypatch: pytest.MonkeyPatch, hours: int, name: str
) -> None:
    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + timedelta(hours=hours)

    enter(submitted, Pending(), Crashed(message=BY_SIGTERM[0]))
    monkeypatch.setattr(vital_signs, "datetime", Later)
    let_go_on.fn([works.name])
    assert state(submitted).name == name


@pytest.mark.parametrize(
    "states",
    [
        [Pending(), Running(), Crashed(message=BY_SIGTERM[0])],
        [Pending(), Crashed(message="Process exited with status code: -9. It was killed.")],
        [Pending(), Crashed(message="Flow run infrastructure exited with non-zero status code 1430.")],
        [Pending(), Crashed(message=BY_SIGTERM[0]), Pending(), Running(), Crashed(message="No heartbeat")],
        [Pending(), Crashed(message=BY_SIGTERM[0]), AwaitingRetry(), Pending(), Running()],
        [Pending(), Completed(message=BY_SIGTERM[0])],
    ],
    ids=["at work", "killed", "another status", "once before", "at work since", "completed"],
)
def test_other_ends_stay(submitted: UUID, states: list[State]) -> None:  # type: ignore[type-arg]
    enter(submitted, *states)
    assert let_begin.fn(submitted) is False
    assert state(submitted).name == states[-1].name


def test_what_never_gets_to_its_beginning_crashes_in_the_end(submitted: UUID) -> None:
    for _ in range(20):
        enter(submitted, Pending(), Crashed(message=BY_SIGTERM[0]))
        assert let_begin.fn(submitted) is True
    enter(submitted, Pending(), Crashed(message=BY_SIGTERM[0]))
    assert let_begin.fn(submitted) is False
