"""One call of a matrix's command: which cells it runs, what it tells of them, and how it ends."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Generic

from tests.resilience.digest import MODULES, digest
from tests.resilience.page import short
from tests.resilience.seen import Book, C, Outcome, Standing


def parser(prog: str, doc: str | None) -> argparse.ArgumentParser:
    """With the options that the commands of both matrices have."""
    found = argparse.ArgumentParser(prog=prog, description=doc)
    found.add_argument("--only", default="*", metavar="GLOB", help="only cells whose text matches, as in '*PUT*lost*'")
    found.add_argument("--resume", action="store_true", help="skip what was found green and is not void")
    return found


class Session(Generic[C]):
    """Keeps in `book` what it is told of, as seen under `settings`."""

    def __init__(self, book: Book[C], options: argparse.Namespace, settings: Mapping[str, Any]) -> None:
        # Told to end, it leaves in good order: what was started is stopped.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
        digest(tuple(MODULES), book.judges)  # of the source that is here before anything runs
        self._book, self._only, self._settings = book, options.only, settings
        self._planned: Sequence[C] = ()
        self._told, self._lock, self._began = 0, threading.Lock(), time.monotonic()
        if not options.resume:
            book.file.unlink(missing_ok=True)

    def wanted(self, planned: Sequence[C]) -> list[C]:
        """Which cells of the whole matrix are to be run now."""
        self._planned, green = planned, self._book.standing(planned).green
        found = [cell for cell in planned if fnmatchcase(str(cell), self._only) and cell not in green]
        print(f"{len(planned)} cells; {len(found)} to be seen.", flush=True)
        return found

    def tell(self, outcome: Outcome[C]) -> None:
        """Keeps it and prints it."""
        with self._lock:
            self._told += 1
            self._book.keep(outcome, self._settings)
            print(f"{self._told:5d} {_line(outcome)}", flush=True)

    def end(self, page: Callable[[Standing[C]], str], file: Path) -> int:
        """Writes the page; returns the exit status: 0 only if every cell is as it must be."""
        standing = self._book.standing(self._planned)
        file.write_text(page(standing), encoding="utf-8")
        print(*map(_line, standing.red), sep="\n")
        minutes, green = (time.monotonic() - self._began) / 60, len(standing.green)
        print(f"{green} of {len(self._planned)} cells are as they must be, {minutes:.0f} min; see {file}")
        return int(green < len(self._planned))


def _line(outcome: Outcome[C]) -> str:
    shown = f"{'RED  ' if outcome.wrong else 'green'} {outcome.seconds:6.1f} s  {outcome.cell}"
    return shown + (f": {outcome.wrong}; {short(outcome.message)}" if outcome.wrong else "")
