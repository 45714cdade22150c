"""The stack's Prefect server, for tests whose flows run in their own process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from prefect.events.worker import EventsWorker
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments.stack.bringing_up import start_server
from deployments.stack.layout import Stack
from deployments.stack.processes import Processes
from tests.emulated import free_port


@contextlib.contextmanager
def prefect_server(folder: Path) -> Iterator[None]:
    """A server over an empty `folder`, for the flows that this process runs meanwhile.

    Not Prefect's own test harness: a server that it starts stands still at times, docs/decisions/sqlite-server.md.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stack = Stack(folder, free_port(), emulator_state=folder / "no-azure", emulator_port=0)
    processes = Processes(folder)
    try:
        start_server(stack, processes)
        with temporary_settings({PREFECT_API_URL: stack.api}):
            yield
            EventsWorker.drain_all()
    finally:
        processes.stop("server")
