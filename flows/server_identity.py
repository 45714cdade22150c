"""Which Prefect server this is: an id that is made at its first use and kept in it, so a new database is another server."""

from __future__ import annotations

import contextlib
from uuid import uuid4

from prefect.variables import Variable

VARIABLE = "finetune_server"


def server_id() -> str:
    """The id, a UUID."""
    known = Variable.get(VARIABLE)
    if known is None:
        with contextlib.suppress(Exception):  # another run was first
            Variable.set(VARIABLE, str(uuid4()))
        known = Variable.get(VARIABLE)
    assert known is not None, f"the server does not keep the variable {VARIABLE}"
    return str(known)
