"""What `status` tells of the nights: the last that ended well, the next, and that there will be none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import WorkQueue

from deployments.stack.nights import Outlook, _closed, _last_good_end
from tests.deployments.operated import Operator


def deployment(operator: Operator, name: str) -> dict[str, Any]:
    [found] = operator.ask("/deployments/filter", {"deployments": {"name": {"any_": [name]}}})
    return dict(found)


def told(operator: Operator, name: str) -> tuple[int, str]:
    """The exit status, and the line on a deployment."""
    done = operator.command("status")
    [line] = [line for line in done.stdout.splitlines() if f"/{name} " in line]
    return done.returncode, line.strip()


@contextmanager
def changed(operator: Operator, path: str, off: dict[str, Any], on: dict[str, Any]) -> Iterator[None]:
    """What a person does in the UI, and undoes."""
    operator.ask(path, off, "PATCH")
    try:
        yield
    finally:
        operator.ask(path, on, "PATCH")


def test_each_deployment_is_told_with_its_last_good_end_and_its_next_run(operator: Operator) -> None:
    status, nightly = told(operator, "nightly")
    assert status == 0
    assert nightly.startswith("finetune/nightly ") and " 02:00 UTC" in nightly
    assert told(operator, "reaper")[1].startswith("reap/reaper ")
    assert told(operator, "manual")[1].endswith("; runs when somebody starts it")
    done = operator.run("prefect", "deployment", "run", "reap/reaper", "--watch", "-p=dry_run=true")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "reap/reaper last ended well 20" in told(operator, "reaper")[1]


@pytest.mark.parametrize("what", ["schedule", "deployment", "pool", "limit", "queue"])
def test_a_night_that_will_never_run_is_told(operator: Operator, what: str) -> None:
    nightly = deployment(operator, "nightly")
    switched: dict[str, tuple[str, dict[str, Any], dict[str, Any], str]] = {
        "schedule": (
            f"/deployments/{nightly['id']}/schedules/{nightly['schedules'][0]['id']}",
            {"active": False},
            {"active": True},
            "its schedule is off",
        ),
        "deployment": (
            f"/deployments/{nightly['id']}",
            {"paused": True},
            {"paused": False},
            "the deployment is paused",
        ),
        "pool": ("/work_pools/local", {"is_paused": True}, {"is_paused": False}, "work pool local is paused"),
        "limit": (
            "/work_pools/local",
            {"concurrency_limit": 0},
            {"concurrency_limit": None},
            "work pool local has a concurrency limit of 0",
        ),
        "queue": (
            f"/work_queues/{nightly['work_queue_id']}",
            {"is_paused": True},
            {"is_paused": False},
            "work queue default of pool local is paused",
        ),
    }
    path, off, on, why = switched[what]
    with changed(operator, path, off, on):
        status, line = told(operator, "nightly")
        assert status == 3
        assert f"; NEVER RUNS: {why}. Switch it on" in line
    assert told(operator, "nightly")[0] == 0


def test_a_deployment_that_is_gone_is_told(operator: Operator) -> None:
    operator.ask(f"/deployments/{deployment(operator, 'nightly')['id']}", None, "DELETE")
    try:
        status, line = told(operator, "nightly")
        assert status == 3
        assert (
            line
            == "finetune/nightly has never ended well; NEVER RUNS: it is not on the server any more. `make up` deploys it again"
        )
    finally:
        assert operator.command("up").returncode == 0
    assert told(operator, "nightly")[0] == 0


LAST, NEXT = datetime(2026, 11, 27, 2, tzinfo=UTC), datetime(2100, 1, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("outlook", "said"),
    [
        (Outlook("f/n"), "has never ended well; runs when somebody starts it"),
        (Outlook("f/n", last=LAST, scheduled=True), "last ended well 2026-11-27 02:00 UTC; next is not planned yet"),
        (Outlook("f/n", next=NEXT, scheduled=True), "has never ended well; next 2100-01-01 02:00 UTC"),
        (
            Outlook("f/n", next=LAST.replace(year=2020), scheduled=True),
            "has never ended well; next 2020-11-27 02:00 UTC (late: no worker has taken it)",
        ),
        (
            Outlook("f/n", last=LAST, next=NEXT, scheduled=True, never="it is off"),
            "last ended well 2026-11-27 02:00 UTC; NEVER RUNS: it is off",
        ),
    ],
)
def test_an_outlook_is_one_sentence(outlook: Outlook, said: str) -> None:
    assert outlook.sentence() == f"f/n {said}"


@pytest.mark.parametrize(
    ("its", "closed"),
    [
        ({}, ""),
        ({"concurrency_limit": 1}, ""),
        ({"concurrency_limit": 0}, "has a concurrency limit of 0"),
        ({"is_paused": True}, "is paused"),
    ],
)
def test_a_queue_that_lets_no_run_through_is_closed(its: dict[str, Any], closed: str) -> None:
    assert _closed(WorkQueue(name="q", work_pool_id=uuid4(), **its)) == closed


def test_only_what_completed_has_ended_well() -> None:
    asked: list[Any] = []

    def none_found(flow_run_filter: Any, **_: Any) -> list[Any]:
        asked.append(flow_run_filter)
        return []

    client: Any = SimpleNamespace(read_flow_runs=none_found)
    deployment: Any = SimpleNamespace(id=uuid4())
    assert _last_good_end(client, deployment) is None
    assert [each.state.type.any_ for each in asked] == [["COMPLETED"]]
