"""A disk that is full, read-only, or that this user may not write to: in words, and outlasted where it can be."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

log = logging.getLogger("emulator.disk")

T = TypeVar("T")

LOOK_SECONDS = 1.0  # between two tries of what waits for the disk
PROBE_BYTES = 1 << 20  # what a start needs at least
# Errors that end by themselves once somebody has seen to the disk, and what to do until then.
_PASSING = {
    errno.ENOSPC: ("no space is left on its disk", "Make room there"),
    errno.EDQUOT: ("this user's quota of its disk is used up", "Delete files of this user there, or ask for more"),
    errno.EFBIG: ("a file is as long as this process may write it", "Raise the limit (ulimit -f)"),
    errno.EROFS: ("its disk is read-only", "Mount it for writing"),
    errno.EIO: ("its disk fails", "Look at the disk, and whether there is room on it"),
}
_SQLITE = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_READONLY: errno.EROFS,
    sqlite3.SQLITE_IOERR: errno.EIO,
    sqlite3.SQLITE_CANTOPEN: errno.EIO,
}


@dataclass(frozen=True)
class Trouble:
    """What a disk refuses, in words that go on a sentence about a folder; `passes` says whether waiting helps."""

    what: str
    do: str
    passes: bool

    def sentence(self, folder: Path) -> str:
        """For whoever uses an emulator that runs over the state folder `folder`."""
        return f"The emulator cannot use its state folder {folder}: {self.what}. {self.do}, and it goes on."


def trouble(error: BaseException, folder: Path) -> Trouble | None:
    """What is the matter with the disk of `folder`, where that is what `error` or what it comes from is about; else None."""
    for number, path in _refusals(error):
        if number == errno.EROFS and not _is_read_only(folder):
            number = errno.EACCES  # all that SQLite says is that it may not write
        if number in _PASSING:
            return Trouble(*_PASSING[number], passes=True)
        if number in (errno.EACCES, errno.EPERM):
            return _no_right(path or folder)
    return None


def passes(error: BaseException) -> bool:
    """Whether `error` is the disk's, and over once somebody has seen to it."""
    return any(number in _PASSING for number, _ in _refusals(error))


async def outlasted(work: Callable[[], Awaitable[T]], what: str) -> T:
    """What `work` returns, which is done again and again while the disk does not let it; it must be such as can be done again."""
    told = False
    while True:
        try:
            return await work()
        except Exception as error:
            if not passes(error):
                raise
            if not told:
                log.warning("%s waits for the disk: %s", what, error)
            told = True
        await asyncio.sleep(LOOK_SECONDS)


def insist(work: Callable[[], T]) -> T:
    """As `outlasted`, for a process that has nothing else to do."""
    while True:
        try:
            return work()
        except OSError as error:
            if not passes(error):
                raise
        time.sleep(LOOK_SECONDS)


def is_full(folder: Path) -> bool:
    """Whether a write there would fail now."""
    try:
        probe(folder)
    except OSError as error:
        return passes(error)
    return False


def replace(path: Path, content: bytes) -> None:
    """Writes a file of this user's alone so that a reader sees all of it or what was there before.

    Raises:
        OSError: it could not be written; what was there is still there.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def probe(folder: Path) -> None:
    """Writes what a start needs, and removes it.

    Raises:
        OSError: there is no room for it, or no right.
    """
    path = folder / f".probe-{os.getpid()}"
    try:
        path.write_bytes(b"\0" * PROBE_BYTES)
    finally:
        path.unlink(missing_ok=True)


def _refusals(error: BaseException) -> Iterator[tuple[int, Path | None]]:
    """The error numbers of `error` and of what it was raised from, and what they are about; SQLite's own are translated."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        for each in (cause, getattr(cause, "orig", None)):  # SQLAlchemy keeps the driver's error so
            if isinstance(each, OSError) and each.errno is not None:
                yield each.errno, None if each.filename is None else Path(os.fsdecode(each.filename))
            code = getattr(each, "sqlite_errorcode", None)
            if code is not None and (code & 0xFF) in _SQLITE:
                yield _SQLITE[code & 0xFF], None
        cause = cause.__cause__ or cause.__context__


def _is_read_only(folder: Path) -> bool:
    try:
        return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
    except OSError:
        return True


def _no_right(path: Path) -> Trouble:
    """Whose it is: the path, or the nearest folder above it that this user may look at."""
    who = _name(os.geteuid())
    for each in (path, *path.parents):
        try:
            owner = _name(each.stat().st_uid)
        except OSError:
            continue
        if owner == who:
            return Trouble(f"{each} may not be written to", f"Give its owner, {who}, the right to (chmod u+rwX)", False)
        return Trouble(f"{each} belongs to {owner}, and this is {who}", f"Work as {owner}", False)
    return Trouble(f"{who} may not look at {path}", "Work as its owner", False)


def _name(user: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"user {user}"
