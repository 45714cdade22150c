"""Model servers whose emulator was killed: they run on, to be found again by its next start, or to be ended with its state."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

from emulator.scoring.fleet import TYPE
from emulator.scoring.process import ModelProcess, identity_of
from emulator.store import Store

DOCUMENTS = "documents.sqlite"  # as `assembly` names it


def end_leftovers(state: Path) -> int:
    """Ends the model servers that the state folder's last emulator left running; returns how many. It must not run itself."""
    documents = state / DOCUMENTS
    if not documents.exists():
        return 0
    store = Store(documents)
    try:
        records = [item for record in store.list(TYPE) for item in record["processes"]]
    finally:
        store.close()
    running = [process for record in records if (process := ModelProcess.adopt(identity_of(record)))]
    for process in running:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.identity.pid, signal.SIGKILL)
    return len(running)
