"""A run's progress in a terminal: a bar each for its stages, the rows of its sample and the steps of its remote job.

They move with the progress artifacts of Prefect's UI, by the same calls.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.theme import Theme

from tasks.progress import watched_by

LONGEST_TEXT = 60


@contextmanager
def bars() -> Iterator[None]:
    """Draws the bars below the log of what is run inside. Where there is no terminal, the log is all there is."""
    console = _console_of_the_log()
    if not console.is_terminal:
        yield
        return
    columns = (
        TextColumn("{task.fields[key]:<16}"),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
    )
    # Prefect's console knows the styles of log lines alone.
    with console.use_theme(Theme()), Progress(*columns, console=console) as shown:
        known: dict[str, TaskID] = {}

        def move(key: str, percent: float, doing: str) -> None:
            if key not in known:
                known[key] = shown.add_task("", total=100.0, key=key)
            text = doing if len(doing) <= LONGEST_TEXT else f"{doing[:LONGEST_TEXT]} ..."
            shown.update(known[key], completed=percent, description=text)

        with watched_by(move):
            yield


def _console_of_the_log() -> Console:
    """The one that log lines are written to: only it can write them above the bars."""
    from prefect.logging.handlers import PrefectConsoleHandler

    for handler in (*logging.getLogger("prefect").handlers, *logging.getLogger().handlers):
        if isinstance(handler, PrefectConsoleHandler):
            return handler.console
    return Console(stderr=True)
