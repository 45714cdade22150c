"""The fault of SQLite's driver that the stack's server works around, and that it does."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, event
from sqlalchemy.engine import Engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import create_async_engine

from deployments.stack.messaging import at_work
from deployments.stack.server import retire, take_turns
from tests.deployments.operated import Operator

LOCKED_SECONDS = 3
"""For which SQLite waits before it says that the database is locked."""


@contextlib.contextmanager
def retiring() -> Iterator[None]:
    event.listen(Engine, "handle_error", retire)
    try:
        yield
    finally:
        event.remove(Engine, "handle_error", retire)


async def write_beside_a_forgotten_error(file: Path) -> None:
    """A connection on which a statement failed is lent to a writer, who waits for a transaction that is about to end; just then
    the error is forgotten."""
    engine = create_async_engine(f"sqlite+aiosqlite:///{file}", connect_args={"timeout": LOCKED_SECONDS})
    event.listen(engine.sync_engine, "connect", lambda connection, _: setattr(connection, "isolation_level", None))
    async with engine.connect() as late, engine.connect() as busy:
        await busy.exec_driver_sql("PRAGMA journal_mode = WAL")
        await busy.exec_driver_sql("CREATE TABLE row (number INTEGER)")
        await late.exec_driver_sql("BEGIN")
        await late.exec_driver_sql("SELECT * FROM row")
        await busy.exec_driver_sql("INSERT INTO row VALUES (1)")
        with pytest.raises(OperationalError, match="database is locked") as refused:
            await late.exec_driver_sql("INSERT INTO row VALUES (2)")
        await late.exec_driver_sql("ROLLBACK")
        await late.close()

        async def write() -> None:
            async with engine.connect() as lent:
                await lent.exec_driver_sql("INSERT INTO row VALUES (3)")

        await busy.exec_driver_sql("BEGIN IMMEDIATE")
        writer = asyncio.create_task(write())
        await asyncio.sleep(0.5)
        del refused
        gc.collect()
        await busy.exec_driver_sql("COMMIT")
        await writer
    await engine.dispose()


def test_a_writer_gets_its_turn_although_an_error_was_forgotten(tmp_path: Path) -> None:
    with retiring():
        asyncio.run(write_beside_a_forgotten_error(tmp_path / "rows.sqlite"))


def test_the_fault_is_still_there_so_that_it_has_to_be_worked_around(tmp_path: Path) -> None:
    with pytest.raises(OperationalError, match="database is locked"):
        asyncio.run(write_beside_a_forgotten_error(tmp_path / "rows.sqlite"))


def write_after_reading(file: Path, *, turns: bool) -> list[int]:
    """A transaction begins as Prefect's do, reads, and writes after another has tried to; returns the rows."""
    engine = create_engine(f"sqlite:///{file}", connect_args={"isolation_level": None})
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN DEFERRED"))
    event.listen(engine, "before_cursor_execute", take_turns, retval=True)
    handling = at_work.set(turns)
    with contextlib.closing(sqlite3.connect(file, timeout=0, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = WAL")
        other.execute("CREATE TABLE row (number INTEGER)")
        with engine.begin() as ours:
            ours.exec_driver_sql("SELECT * FROM row").all()
            with contextlib.suppress(sqlite3.OperationalError):
                other.execute("INSERT INTO row VALUES (1)")
            ours.exec_driver_sql("INSERT INTO row VALUES (2)")
        engine.dispose()
        at_work.reset(handling)
        return [number for (number,) in other.execute("SELECT number FROM row")]


def test_a_transaction_that_evaluates_an_event_may_write_since_it_took_its_turn(tmp_path: Path) -> None:
    assert write_after_reading(tmp_path / "rows.sqlite", turns=True) == [2]


def test_what_evaluates_no_event_takes_no_turn(tmp_path: Path) -> None:
    with pytest.raises(OperationalError, match="database is locked"):
        write_after_reading(tmp_path / "rows.sqlite", turns=False)


def test_the_stacks_server_is_the_one_that_works_around_it(operator: Operator) -> None:
    commands = [process.cmdline() for process in operator.processes()]
    servers = [command for command in commands if command[-6:-3] == ["server", "start", "--host"]]
    assert [command[1:3] for command in servers] == [["-m", "deployments.stack.server"]]
