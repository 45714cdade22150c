"""One bad end, one alert, one run of the reaper: on the stack's server over SQLite, while its database is locked now and then."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from prefect.server.utilities.messaging import Message, StopConsumer
from prefect.server.utilities.messaging.memory import Topic
from sqlalchemy.exc import OperationalError

from deployments.stack import messaging
from deployments.stack.bringing_up import start_server
from deployments.stack.layout import Stack
from deployments.stack.messaging import ACTIONS, Consumer, Publisher, what_for
from deployments.stack.processes import Processes
from tests.deployments.operated import Operator, until
from tests.deployments.webhook import SAVE_BLOCK, inbox
from tests.emulated import free_port

ONCE, TWICE = 40, 5
"""So many runs end badly once, and so many go on and end badly again: fifty bad ends."""
LOCKED_SECONDS, FREE_SECONDS = 0.2, 0.4


@pytest.fixture
def operator(tmp_path: Path) -> Iterator[Operator]:
    """Of a server alone, with a database of its own: no emulator, no worker."""
    stack = Stack(tmp_path, free_port(), emulator_state=tmp_path / "no-azure", emulator_port=0)
    processes = Processes(tmp_path)
    try:
        start_server(stack, processes)
        yield Operator(stack)
    finally:
        processes.stop("server")


@contextlib.contextmanager
def locked_now_and_then(database: Path) -> Iterator[None]:
    """Meanwhile somebody else keeps taking the database for himself."""
    over = threading.Event()

    def lock() -> None:
        with contextlib.closing(sqlite3.connect(database, timeout=60, isolation_level=None)) as connection:
            while not over.wait(FREE_SECONDS):
                connection.execute("BEGIN EXCLUSIVE")
                over.wait(LOCKED_SECONDS)
                connection.execute("COMMIT")

    locker = threading.Thread(target=lock)
    locker.start()
    try:
        yield
    finally:
        over.set()
        locker.join()


def begin(operator: Operator, flow: str, count: int) -> list[str]:
    """Makes runs that have begun and sent a heartbeat, as `crash-zombies` looks after them: it reads before it writes."""
    runs = [operator.ask("/flow_runs/", {"flow_id": flow, "state": {"type": "RUNNING"}})["id"] for _ in range(count)]
    of_finetune = {
        "prefect.resource.id": f"prefect.flow.{flow}",
        "prefect.resource.role": "flow",
        "prefect.resource.name": "finetune",
    }
    heartbeats = [
        {
            "id": str(uuid4()),
            "occurred": datetime.now(UTC).isoformat(),
            "event": "prefect.flow-run.heartbeat",
            "resource": {"prefect.resource.id": f"prefect.flow-run.{run}"},
            "related": [of_finetune],
        }
        for run in runs
    ]
    operator.ask("/events", heartbeats)  # type: ignore[arg-type]
    with contextlib.closing(sqlite3.connect(operator.stack.prefect_home / "prefect.db", timeout=60)) as connection:
        looked_after = "SELECT count(*) FROM automation_bucket"
        until(lambda: connection.execute(looked_after).fetchone()[0] >= count)
    return runs


def test_one_bad_end_is_told_once_and_reaped_once(operator: Operator) -> None:
    def end(run: str, *states: str) -> None:
        for state in states:
            operator.ask(f"/flow_runs/{run}/set_state", {"state": {"type": state}, "force": True})

    def reaped() -> Counter[str]:
        found = operator.ask("/flow_runs/filter", {"deployments": {"id": {"any_": [reaper]}}, "limit": 200})
        return Counter(run["parameters"]["resource"].removeprefix("prefect.flow-run.") for run in found)

    def alerted() -> Counter[str]:
        return Counter({run: bodies for run in [*runs, last] if (bodies := len(told.about(f"/flow-run/{run}")))})

    with inbox() as told:
        subprocess.run([sys.executable, "-c", SAVE_BLOCK, told.url], env=operator.stack.environment(), check=True)
        flow, reap = (operator.ask("/flows/", {"name": name})["id"] for name in ("finetune", "reap"))
        reaper = operator.ask("/deployments/", {"name": "reaper", "flow_id": reap})["id"]
        saved = operator.run("deployments.automate")
        assert "automation alert-crashed\n" in saved.stdout, saved.stdout + saved.stderr
        *runs, last = begin(operator, flow, ONCE + TWICE + 1)
        ends: dict[str, tuple[str, ...]] = {
            run: ("CRASHED",) if number % 2 else ("FAILED",) for number, run in enumerate(runs[:ONCE])
        }
        ends |= dict.fromkeys(runs[ONCE:], ("CRASHED", "RUNNING", "CRASHED"))
        once_each = Counter({run: len(states) - states.count("RUNNING") for run, states in ends.items()})
        with locked_now_and_then(operator.stack.prefect_home / "prefect.db"), ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda run: end(run, *ends[run]), runs))
            until(lambda: alerted() >= once_each, seconds=300)
            until(lambda: reaped() >= once_each, seconds=300)
        # What is told of a later end comes after all that there still was to tell of the others.
        end(last, "FAILED")
        until(lambda: bool(alerted()[last]), seconds=300)
        until(lambda: bool(reaped()[last]), seconds=300)
        assert alerted() == reaped() == once_each + Counter([last])
        assert once_each.total() == 50


def action(automation: str, event: str, run: str, **payload: Any) -> bytes:
    """What Prefect publishes for an automation's first action; as much of it as is looked at."""
    told = {"id": event, "resource": {"prefect.resource.id": run}, "payload": payload}
    published = {"automation": {"id": automation}, "action_index": 0, "firing": {"triggering_event": told}}
    return json.dumps({"id": str(uuid4()), **published}).encode()


CRASHED = {"validated_state": {"type": "CRASHED"}}
RUN = "prefect.flow-run.1"


def test_only_what_a_runs_state_triggered_is_told_apart() -> None:
    assert what_for(action("a", "e", RUN, **CRASHED)) == ("a", "0", RUN, "e")
    assert what_for(action("a", "e", RUN)) is None
    assert what_for(action("a", "e", "prefect.task-run.1", **CRASHED)) is None
    assert what_for(json.dumps({"automation": {"id": "a"}, "action_index": 0, "firing": None}).encode()) is None


def test_an_action_is_published_once_for_a_state_and_as_often_as_it_likes_for_anything_else() -> None:
    automation, other, first, second = (str(uuid4()) for _ in range(4))
    sent = [
        action(automation, first, RUN, **CRASHED),
        action(automation, first, RUN, **CRASHED),
        action(automation, second, RUN, **CRASHED),
        action(other, first, RUN, **CRASHED),
        action(automation, first, "prefect.worker.process.1"),
        action(automation, first, "prefect.worker.process.1"),
    ]

    async def publish() -> list[Any]:
        topic = Topic.by_name(ACTIONS)
        subscription = topic.subscribe()
        async with Publisher(ACTIONS, cache=messaging.memory.Cache()) as publisher:
            for data in sent:
                await publisher.publish_data(data, {})
        topic.unsubscribe(subscription)
        return [(await subscription.get()).data for _ in range(subscription._queue.qsize())]

    assert asyncio.run(publish()) == [sent[0], *sent[2:]]


def test_a_message_stays_at_hand_while_the_database_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Oftener than the four times after which Prefect drops it."""
    monkeypatch.setattr(messaging, "PAUSE_SECONDS", 0)
    handled: list[str | bytes] = []

    async def handle(message: Message) -> None:
        handled.append(message.data)
        if len(handled) <= 10:
            raise OperationalError("BEGIN IMMEDIATE", None, sqlite3.OperationalError("database is locked"))
        raise StopConsumer(ack=True)

    async def consume() -> None:
        name = str(uuid4())
        consumer = Consumer(name)
        async with Publisher(name, cache=messaging.memory.Cache()) as publisher:
            await publisher.publish_data(b"a message", {})
        await consumer.run(handle)

    asyncio.run(consume())
    assert handled == [b"a message"] * 11
