"""A run's progress in a terminal: a bar each for its stages, the rows of its sample and the steps of its remote job.

They move with the progress artifacts of Prefect's UI, by the same calls.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, TextIO, cast

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.theme import Theme

from tasks.progress import watched_by

LONGEST_TEXT = 60
_NOTHING = re.compile(r"(\x1b\[[\d;]*m|\n)+|\.+")


class OnlyWords:
    """`stream` without what no setting of azure-ai-ml turns off: a dot a poll, and coloured lines that are empty."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._within_a_line = False

    def write(self, text: str) -> int:
        # `print` writes its words, its blanks and its end one by one.
        if text != "." if self._within_a_line else not _NOTHING.fullmatch(text):
            self._stream.write(text)
            self._within_a_line = bool(text) and not text.endswith("\n")
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def only_words() -> Iterator[None]:
    """Has what this process prints meanwhile pass through `OnlyWords`. The log has its own way to the terminal."""
    out, err = (cast(TextIO, OnlyWords(stream)) for stream in (sys.stdout, sys.stderr))
    with redirect_stdout(out), redirect_stderr(err):
        yield


@contextmanager
def progress_bars() -> Iterator[None]:
    """Draws the bars below the log of what is run inside. Where there is no terminal, the log is all there is."""
    console = _console_of_the_log()
    if not console.is_terminal:
        with only_words():
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

        with watched_by(move), only_words():
            yield


def _console_of_the_log() -> Console:
    """The one that log lines are written to: only it can write them above the bars."""
    from prefect.logging.handlers import PrefectConsoleHandler

    for handler in (*logging.getLogger("prefect").handlers, *logging.getLogger().handlers):
        if isinstance(handler, PrefectConsoleHandler):
            return handler.console
    return Console(stderr=True)
