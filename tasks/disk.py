"""A disk that is full, read-only, or that this user may not write to, in a sentence: which folder, and what to do."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.azure_ml.errors import says_all

_REFUSALS = {
    errno.ENOSPC: ("no space is left on its disk", "Make room there"),
    errno.EDQUOT: ("this user's quota of its disk is used up", "Delete files of this user there, or ask for more"),
    errno.EFBIG: ("a file is as long as this process may write it", "Raise the limit (ulimit -f)"),
    errno.EROFS: ("its disk is read-only", "Mount it for writing"),
    errno.EIO: ("its disk fails", "Look at the disk"),
}
_NO_RIGHT = (errno.EACCES, errno.EPERM)
_IN_WORDS = {os.strerror(number): number for number in _REFUSALS} | {"database or disk is full": errno.ENOSPC}
"""How libraries that raise errors of their own say it."""
_SOMEWHERE = "A folder, perhaps that for temporary files (TMPDIR),"


class DiskRefuses(Exception):
    """A folder cannot be written to. The message names it, and says what to do."""


def refusal(error: BaseException, folder: Path | None = None) -> str | None:
    """The sentence for an error of the disk, as far as what to do about it; None for any other.

    Args:
        folder: the one that was written to, where the error does not name a file.
    """
    cause: BaseException | None = error
    seen: set[int] = set()
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        if isinstance(cause, FileNotFoundError) and "No usable temporary directory" in str(cause):
            return "No folder for temporary files can be written to. Make room in one, or name another in TMPDIR"
        if isinstance(cause, OSError) and (cause.errno in _REFUSALS or cause.errno in _NO_RIGHT):
            place = Path(os.fsdecode(cause.filename)) if cause.filename is not None else folder
            what, do = _REFUSALS.get(cause.errno) or _no_right(place)
            return (
                f"{place or _SOMEWHERE} cannot be {'used' if cause.errno in _NO_RIGHT else 'written to'}: {what}. {do}"
            )
        for words, number in _IN_WORDS.items():
            if words in str(cause):
                return f"{folder or _SOMEWHERE} cannot be written to: {_REFUSALS[number][0]}. {_REFUSALS[number][1]}"
        cause = cause.__cause__ or cause.__context__
    return None


def probe(folder: Path, size: int) -> None:
    """Writes `size` bytes into the folder, which is made if need be, and removes them.

    Raises:
        OSError: it cannot be.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f".probe-{os.getpid()}"
    try:
        path.write_bytes(b"\0" * size)
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def explained(folder: Path, then: str = "run it again") -> Iterator[None]:
    """Has what the disk refuses while `folder` is written to raised as a sentence, which ends with what to do `then`.

    Raises:
        DiskRefuses: it did.
    """
    try:
        yield
    except Exception as error:
        if not says_all(error) and (sentence := refusal(error, folder)):
            raise DiskRefuses(f"{sentence}, and {then}.") from error
        raise


def _no_right(place: Path | None) -> tuple[str, str]:
    """Whose the place is, or the nearest folder above it that this user may look at."""
    who = _name(os.geteuid())
    for each in (place, *place.parents) if place else ():
        try:
            owner = _name(each.stat().st_uid)
        except OSError:
            continue
        if owner == who:
            return (
                f"the rights of {each} do not allow it",
                f"Give its owner, {who}, the right to write there (chmod u+rwX)",
            )
        return f"{each} belongs to {owner}, and this is {who}", f"Work as {owner}, or have {owner} give {who} the right"
    return f"{who} may not", "Give this user the right"


def _name(user: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"user {user}"
