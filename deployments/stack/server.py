"""Prefect's command line for the server, which does not stand still on SQLite: `python -m deployments.stack.server server start`.

SQLAlchemy 2.0's adapter for aiosqlite leaves the cursor of a failed statement open, and "database is locked" fails many of
Prefect's. The cursor is closed when the error is forgotten, in the event loop's thread, and closing it waits for whatever its
connection is doing. By then the pool may have lent the connection to a writer who waits for another transaction, which waits for
the event loop: the server answers nobody until SQLite gives up, after a minute, and then loses events. Hence no connection is
lent again once a statement has failed on it.
"""

from __future__ import annotations

import runpy
from typing import TYPE_CHECKING

from sqlalchemy import event
from sqlalchemy.engine import Engine

if TYPE_CHECKING:
    from sqlalchemy.engine import ExceptionContext


def retire(context: ExceptionContext) -> None:
    """Lets the pool replace the connection that a statement has failed on, when it is given back."""
    failed = context.connection
    if context.dialect.name == "sqlite" and failed is not None and not (failed.closed or failed.invalidated):
        failed.connection.invalidate(context.original_exception, soft=True)


if __name__ == "__main__":
    event.listen(Engine, "handle_error", retire)
    runpy.run_module("prefect", run_name="__main__", alter_sys=True)
