"""A pipeline job's own log: what its steps go through, and their lines as they come."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from emulator import disk

log = logging.getLogger("emulator.engine")

CHUNK = 1 << 20  # bytes taken from a step's log at a time


class ExecutionLog:
    """A pipeline's log. `jobs.stream` prints nothing else of a pipeline, so that the steps' lines are repeated in it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def state(self, sentence: str) -> None:
        """Notes what happens, with the time."""
        stamp = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
        try:
            self.lines([f"[{stamp}] {sentence}"])
        except OSError as error:
            if not disk.passes(error):
                raise
            log.warning("not in %s, for the disk did not take it: %s", self._path.name, sentence)

    def lines(self, lines: list[str]) -> None:
        """Writes lines as they are.

        Raises:
            OSError: the disk does not take them; then none is there.
        """
        if not lines:
            return
        with open(self._path, "ab", buffering=0) as file:
            before = file.tell()
            text = memoryview("".join(f"{line}\n" for line in lines).encode("utf-8", "replace"))
            try:
                while text:
                    text = text[file.write(text) :]
            except OSError:
                file.truncate(before)
                raise


class Repeater:
    """Hands on the lines that are added to a step's log; of a half-written line nothing, until it is ended.

    What was handed on is kept beside the log, so that a restart repeats no line.
    """

    def __init__(self, log: Path, mark: Path, hand_on: Callable[[list[str]], None]) -> None:
        self._log = log
        self._mark = mark
        self._hand_on = hand_on
        self._position = int(mark.read_text() or 0) if mark.exists() else 0

    def look(self, *, to_the_end: bool = False) -> None:
        """Hands on what is new; `to_the_end` counts a last line without its end as a line. What the disk does not take now is new
        at the next look."""
        try:
            while text := self._read(to_the_end):
                self._hand_on(text.decode("utf-8", "replace").splitlines())
                self._position += len(text)
                disk.replace(self._mark, str(self._position).encode())
        except OSError as error:
            if not disk.passes(error):
                raise

    def _read(self, to_the_end: bool) -> bytes:
        try:
            with open(self._log, "rb") as file:
                file.seek(self._position)
                text = file.read(CHUNK)
        except FileNotFoundError:
            return b""
        end = text.rfind(b"\n") + 1
        return text if to_the_end or (end == 0 and len(text) == CHUNK) else text[:end]


def last_line(log: Path) -> str:
    """The last line with anything on it, at most 500 characters; "" for none."""
    try:
        with open(log, "rb") as file:
            file.seek(max(0, log.stat().st_size - 8192))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return ""
    return next((line.strip()[:500] for line in reversed(lines) if line.strip()), "")
