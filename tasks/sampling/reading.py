"""Rows of a split, across its files, in their order and in batches that fit memory."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Protocol, Self

import numpy as np
import polars as pl

from tasks.sampling.errors import Finding, UnreadableFile
from tasks.sampling.sources import DataFile

BATCH_BYTES = 16 << 20
"""Text in memory at once, for files whose conversations are long."""

BATCH_ROWS = 500
"""Conversations in memory at once. Twice as many take a quarter more memory, half as many a tenth more time."""


@dataclass
class Batch:
    """Some rows of one file."""

    file: str
    numbers: np.ndarray
    """Each row's number in its file, from 1, as a finding names it."""
    indices: np.ndarray
    """Each row's place in the file, from 0, as a selection names it."""
    frame: pl.DataFrame
    unreadable: list[Finding] = field(default_factory=list)
    """Rows among those asked for that are not in the frame."""


class Reader(Protocol):
    """One open file."""

    rows: int
    has_prompt: bool

    def ids(self, rows: int) -> Iterator[pl.Series]:
        """The `prompt_id` of the first `rows` rows; null where it is missing or the row cannot be read."""

    def read(self, indices: np.ndarray) -> Iterator[Batch]:
        """The rows at `indices`, which rise."""

    def close(self) -> None:
        """Lets go of the file."""


class SplitReader:
    """The files of a split, read as one."""

    def __init__(self, split: str, files: list[DataFile], *, may_have_more: bool) -> None:
        """Opens the files.

        Raises:
            UnreadableFile: a file is damaged, or its columns are not a chat dataset's.
        """
        self.split = split
        self._readers: list[Reader] = []
        with ExitStack() as opened:
            for file in files:
                self._readers.append(_open(file, may_have_more))
                opened.callback(self._readers[-1].close)
            if len({reader.has_prompt for reader in self._readers if reader.rows}) > 1:
                raise UnreadableFile(
                    f"Some files of split {split} have a column prompt and some do not. Make them alike."
                )
            self._opened = opened.pop_all()
        self.has_prompt = any(reader.has_prompt for reader in self._readers)
        self._starts = np.cumsum([0, *(reader.rows for reader in self._readers)])
        self.rows = int(self._starts[-1])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._opened.close()

    def ids(self, rows: int) -> Iterator[pl.Series]:
        """The `prompt_id` of the first `rows` rows."""
        for reader, start in zip(self._readers, self._starts, strict=False):
            if rows > start:
                yield from reader.ids(min(reader.rows, rows - int(start)))

    def read(self, indices: np.ndarray) -> Iterator[Batch]:
        """The rows at `indices`, which rise; the batches' indices count over the whole split."""
        for reader, start in zip(self._readers, self._starts, strict=False):
            first, end = np.searchsorted(indices, [start, start + reader.rows])
            if first < end:
                for batch in reader.read(indices[first:end] - start):
                    batch.indices = batch.indices + start
                    yield batch


def _open(file: DataFile, may_have_more: bool) -> Reader:
    if file.name.endswith(".parquet"):
        from tasks.sampling.parquet import ParquetReader

        return ParquetReader(file, may_have_more)
    from tasks.sampling.jsonl import JsonLinesReader

    return JsonLinesReader(file, may_have_more)
