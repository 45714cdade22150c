"""Looking at processes that come and go meanwhile: one that ends while it is looked at is an ended one, not an error."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable

import psutil


def is_alive(pid: int) -> bool:
    """Whether the process runs; a zombie that nobody has collected yet does not."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def alive_where(
    wanted: Callable[[psutil.Process], bool], among: Iterable[psutil.Process] | None = None
) -> list[psutil.Process]:
    """The processes that run and are `wanted`, the eldest first: of `among`, or of all that may be looked at."""
    found = []
    for process in psutil.process_iter() if among is None else among:
        with contextlib.suppress(psutil.Error):  # gone, or another user's
            if process.status() != psutil.STATUS_ZOMBIE and wanted(process):
                found.append((process.create_time(), process))
    return [process for _, process in sorted(found, key=lambda each: each[0])]
