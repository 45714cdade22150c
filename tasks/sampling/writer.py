"""Writes a sample so that it is either whole and in its place, or not there."""

import json
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any, BinaryIO, Self, cast

import polars as pl

from tasks.disk import explained
from tasks.sampling.results import Bucket, SampledSplit

WRITTEN = ["prompt", "messages", "prompt_id"]
"""The columns of a sample, in the order they are written; `tools` follows where a row has any."""

ABANDONED_SECONDS = 24 * 60 * 60
"""A half-written sample this old belongs to a process that was killed."""


def file_sha256(path: Path) -> str:
    """Of the file's bytes, in hex."""
    with path.open("rb") as stream:
        return file_digest(stream, "sha256").hexdigest()


class SplitWriter:
    """One JSON Lines file, hashed and counted as it is written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("wb", buffering=0)
        self._digest = sha256()
        self._bytes = 0
        self._turns: Counter[int] = Counter()
        self._characters: Counter[int] = Counter()

    def write_rows(self, frame: pl.DataFrame) -> None:
        """Appends the rows, and counts their `turns` and `characters`."""
        plain = frame.select(name for name in WRITTEN if name in frame.columns)
        if frame["extras"].null_count() == len(frame):
            plain.write_ndjson(cast(BinaryIO, self))
        else:
            self.write(_with_extras(plain, frame["extras"]))
        self._turns.update(frame["turns"].to_list())
        self._characters.update(1 << (length - 1).bit_length() for length in frame["characters"].to_list())

    def write(self, data: bytes) -> int:
        """Appends bytes, for polars."""
        self._digest.update(data)
        self._bytes += len(data)
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]
        return len(data)

    def flush(self) -> None:
        """For polars, which would flush after each call."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        # A manifest must not outlive a power cut that its files did not.
        os.fsync(self._file.fileno())
        self._file.close()

    def result(self, split: str, source_rows: int, **more: Any) -> SampledSplit:
        """What was written. Its turns and characters are those of the rows."""
        return SampledSplit(
            split=split,
            path=self._path,
            rows=self._turns.total(),
            source_rows=source_rows,
            bytes=self._bytes,
            sha256=self._digest.hexdigest(),
            turns=_buckets(self._turns),
            characters=_buckets(self._characters),
            **more,
        )


def _with_extras(plain: pl.DataFrame, extras: pl.Series) -> bytes:
    """The rows' lines; where a row has extras, its messages and tools are taken from them."""
    lines = plain.write_ndjson().encode().split(b"\n")
    for place, its in enumerate(extras):
        if its is not None:
            row, more = json.loads(lines[place]), json.loads(its)
            row["messages"] = more["messages"]
            if more["tools"]:
                row["tools"] = more["tools"]
            lines[place] = json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode()
    return b"\n".join(lines)


@contextmanager
def unpublished(directory: Path) -> Iterator[Path]:
    """A new folder below `directory` to write into, which goes when the block ends unless it was published.

    Raises:
        DiskRefuses: it cannot be written to.
    """
    with explained(directory):
        directory.mkdir(parents=True, exist_ok=True)
        for abandoned in directory.glob(".*.partial"):
            with suppress(FileNotFoundError):  # another run has just published it
                if time.time() - abandoned.stat().st_mtime > ABANDONED_SECONDS:
                    shutil.rmtree(abandoned, ignore_errors=True)
        partial = Path(tempfile.mkdtemp(prefix=".sample-", suffix=".partial", dir=directory))
        try:
            yield partial
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def publish(partial: Path, folder: Path, is_whole: Callable[[Path], bool]) -> bool:
    """Makes `partial` into `folder`, at once and for good.

    Returns:
        Whether it did. A `folder` that is there already and whole stays: its content is the same.
    """
    partial.chmod(0o755)
    _flush_folder(partial)
    try:
        os.rename(partial, folder)
    except OSError:
        if not folder.is_dir():
            raise
        if is_whole(folder):
            return False
        shutil.rmtree(folder)
        os.rename(partial, folder)
    _flush_folder(folder.parent)
    return True


def _flush_folder(folder: Path) -> None:
    """Has the folder's entries on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _buckets(counts: Counter[int]) -> list[Bucket]:
    return [Bucket(upper=upper, rows=rows) for upper, rows in sorted(counts.items())]
