"""Prefect's command line for the server, as SQLite needs it: `python -m deployments.stack.server server start`.

"database is locked" fails many of Prefect's transactions on SQLite. Two things are done about it, and one about what is left:

* A transaction that has read may not write while another one does, and SQLite refuses it without waiting. Hence each that
  evaluates an event takes its turn when it begins: `take_turns`. Not every one: of some calls of the API, such as the pausing of a
  work queue, one transaction waits for another.
* SQLAlchemy 2.0's adapter for aiosqlite leaves the cursor of a failed statement open. The cursor is closed when the error is
  forgotten, in the event loop's thread, and closing it waits for whatever its connection is doing. By then the pool may have lent
  the connection to a writer who waits for another transaction, which waits for the event loop: the server answers nobody until
  SQLite gives up, after a minute, and then loses events. Hence no connection is lent again once a statement has failed on it:
  `retire`.
* An event whose evaluation fails all the same is evaluated again until it does not, and acts once: `deployments.stack.messaging`.
"""

from __future__ import annotations

import os
import runpy
from typing import TYPE_CHECKING, Any

from sqlalchemy import event
from sqlalchemy.engine import Engine

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, ExceptionContext

BROKER = "PREFECT_SERVER_EVENTS_MESSAGING_BROKER"
"""Prefect's setting for the module that carries its events and actions."""


def take_turns(connection: Connection, cursor: Any, statement: str, parameters: Any, *_: Any) -> tuple[str, Any]:
    """Lets a transaction that evaluates an event wait for SQLite's lock when it begins, where it may wait."""
    if connection.dialect.name == "sqlite" and statement == "BEGIN DEFERRED":
        from deployments.stack.messaging import at_work  # Prefect's settings must be there first

        statement = "BEGIN IMMEDIATE" if at_work.get() else statement
    return statement, parameters


def retire(context: ExceptionContext) -> None:
    """Lets the pool replace the connection that a statement has failed on, when it is given back."""
    failed = context.connection
    if context.dialect.name == "sqlite" and failed is not None and not (failed.closed or failed.invalidated):
        failed.connection.invalidate(context.original_exception, soft=True)


if __name__ == "__main__":
    event.listen(Engine, "before_cursor_execute", take_turns, retval=True)
    event.listen(Engine, "handle_error", retire)
    os.environ[BROKER] = "deployments.stack.messaging"
    runpy.run_module("prefect", run_name="__main__", alter_sys=True)
