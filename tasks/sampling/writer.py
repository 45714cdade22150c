"""Writes a sample so that it is either whole and in its place, or not there."""

import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, Self, cast

import polars as pl

from tasks.sampling.results import Bucket, SampledSplit

ABANDONED_SECONDS = 24 * 60 * 60
"""A half-written sample this old belongs to a process that was killed."""


class SplitWriter:
    """One JSON Lines file, hashed and counted as it is written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("wb", buffering=0)
        self._digest = sha256()
        self._bytes = 0
        self._turns: Counter[int] = Counter()
        self._characters: Counter[int] = Counter()

    def write_rows(self, frame: pl.DataFrame, columns: list[str]) -> None:
        """Appends the rows, and counts their `turns` and `characters`."""
        frame.select(columns).write_ndjson(cast(BinaryIO, self))
        self._turns.update(frame["turns"].to_list())
        self._characters.update(1 << (length - 1).bit_length() for length in frame["characters"].to_list())

    def write(self, data: bytes) -> int:
        """Appends bytes, for polars."""
        self._digest.update(data)
        self._bytes += len(data)
        return self._file.write(data)

    def flush(self) -> None:
        """For polars, which would flush after each call."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def result(self, split: str, source_rows: int, dropped: int) -> SampledSplit:
        """What was written."""
        return SampledSplit(
            split=split,
            path=self._path,
            rows=self._turns.total(),
            source_rows=source_rows,
            dropped=dropped,
            bytes=self._bytes,
            sha256=self._digest.hexdigest(),
            turns=_buckets(self._turns),
            characters=_buckets(self._characters),
        )


@contextmanager
def published(folder: Path) -> Iterator[Path]:
    """A new folder to write into, which becomes `folder` when the block ends well and goes when it does not.

    When another process has published `folder` meanwhile, that one stays: its content is the same.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    for abandoned in folder.parent.glob(".*.partial"):
        with suppress(FileNotFoundError):  # another run has just published it
            if time.time() - abandoned.stat().st_mtime > ABANDONED_SECONDS:
                shutil.rmtree(abandoned, ignore_errors=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", suffix=".partial", dir=folder.parent))
    try:
        yield partial
        partial.chmod(0o755)
        try:
            os.rename(partial, folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _buckets(counts: Counter[int]) -> list[Bucket]:
    return [Bucket(upper=upper, rows=rows) for upper, rows in sorted(counts.items())]
