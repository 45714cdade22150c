"""Conversations of a split, across its files, in their order and in batches that fit memory."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import numpy as np
import polars as pl

from tasks.sampling.conversations import (
    MESSAGE,
    SCHEMA,
    BadRow,
    Columns,
    RawRow,
    columns_of,
    conversation,
    without_nulls,
)
from tasks.sampling.errors import CARD, Finding, UnreadableFile, excerpt, too_long
from tasks.sampling.formats.bounds import BATCH_BYTES, BATCH_ROWS
from tasks.sampling.names import COMPRESSIONS
from tasks.sampling.parameters import DatasetParameters
from tasks.sampling.sameness import fingerprints
from tasks.sampling.source import Source
from tasks.sampling.tree import DataFile


@dataclass
class Batch:
    """Some rows of one file."""

    file: int
    """Place of the file in its split."""
    numbers: np.ndarray
    """Each row's number in its file, from 1, as a finding names it."""
    indices: np.ndarray
    """Each row's place in the split, from 0, as a selection names it."""
    frame: pl.DataFrame
    """By `conversations.SCHEMA`."""
    unreadable: list[tuple[int, Finding]] = field(default_factory=list)
    """Rows among those asked for that are not in the frame, each with its index."""
    with_prompt: bool = True
    """Whether the rows are written with a prompt. Where they have an id and no prompt, as they always could, they stay so."""
    known: np.ndarray | None = None
    """The fingerprints of the rows in the frame, where they are known already."""

    @property
    def fingerprints(self) -> np.ndarray:
        """Of the rows in the frame."""
        if self.known is None:
            self.known = fingerprints(self.frame["messages"].to_arrow(compat_level=pl.CompatLevel.oldest()))
        return self.known

    @classmethod
    def of_unreadable(cls, unreadable: list[tuple[int, Finding]]) -> Self:
        """A batch without any good row."""
        none = np.array([], dtype=np.int64)
        return cls(0, none, none, pl.DataFrame(schema=SCHEMA), unreadable, known=none.astype(np.uint64))


class Reader(Protocol):
    """One open file of conversations."""

    rows: int

    def read(self, indices: np.ndarray) -> Iterator[Batch]:
        """The rows at `indices`, which rise."""

    def close(self) -> None:
        """Lets go of the file."""


class SplitReader:
    """The files of a split, read as one."""

    def __init__(self, split: str, source: Source, params: DatasetParameters) -> None:
        """Opens the files.

        Raises:
            UnreadableFile: a file is damaged, or its columns are not those of conversations.
        """
        self.split = split
        self.files = source.splits[split]
        self._readers: list[Reader] = []
        with ExitStack() as opened:
            for file in self.files:
                self._readers.append(_open(file, source.readers[split], source, params))
                opened.callback(self._readers[-1].close)
            self._opened = opened.pop_all()
        self._starts = np.cumsum([0, *(reader.rows for reader in self._readers)])
        self.rows = int(self._starts[-1])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._opened.close()

    def read(self, indices: np.ndarray) -> Iterator[Batch]:
        """The rows at `indices`, which rise and count over the whole split."""
        for place, (reader, start) in enumerate(zip(self._readers, self._starts, strict=False)):
            first, end = np.searchsorted(indices, [start, start + reader.rows])
            if first < end:
                for batch in reader.read(indices[first:end] - start):
                    batch.file = place
                    batch.indices = batch.indices + start
                    batch.unreadable = [(index + int(start), finding) for index, finding in batch.unreadable]
                    yield batch


def _open(file: DataFile, reader: str, source: Source, params: DatasetParameters) -> Reader:
    if reader == "parquet":
        return _ParquetConversations(file, params)
    if reader == "json" and not source.reader_options.get("field"):
        return _JsonConversations(file, params, source.reader_options)
    return _StreamedConversations(file, reader, source.reader_options, params)


def _batches(file: DataFile, columns: Columns, rows: Iterable[RawRow]) -> Iterator[Batch]:
    """Conversations made of rows one by one."""
    batch: list[RawRow] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += row.size
        if len(batch) == BATCH_ROWS or size >= BATCH_BYTES:
            yield _batch(file, columns, batch)
            batch, size = [], 0
    if batch:
        yield _batch(file, columns, batch)


def _batch(file: DataFile, columns: Columns, rows: list[RawRow]) -> Batch:
    made: list[dict[str, Any]] = []
    good: list[RawRow] = []
    unreadable: list[tuple[int, Finding]] = []
    for row in rows:
        if row.row is None:
            assert row.finding is not None
            unreadable.append((row.index, row.finding))
            continue
        try:
            its = conversation(row.row, columns)
        except BadRow as bad:
            unreadable.append((row.index, Finding(file.name, row.number, bad.rule, excerpt(bad.value))))
            continue
        made.append(its.as_row())
        good.append(row)
    return Batch(
        0,
        np.array([row.number for row in good], dtype=np.int64),
        np.array([row.index for row in good], dtype=np.int64),
        pl.DataFrame(made, SCHEMA),
        unreadable,
        with_prompt=_with_prompt(columns) or any(row["prompt"] is not None for row in made),
    )


def _with_prompt(columns: Columns) -> bool:
    return "prompt" in columns.found or "prompt_id" not in columns.found


class _JsonConversations:
    """JSON Lines, or an array."""

    def __init__(self, file: DataFile, params: DatasetParameters, options: dict[str, Any]) -> None:
        from tasks.sampling.formats.json_text import JsonReader

        self._file = file
        encoding, on_error = options.get("encoding"), options.get("encoding_errors") or "strict"
        self._reader = JsonReader(file, params.max_characters, encoding, on_error)
        self.rows = self._reader.rows
        try:
            self._columns = columns_of(file.name, self._reader.columns or ["messages"], params)
        except UnreadableFile:
            if self.rows == 1 and (key := self._reader.below):
                raise UnreadableFile(
                    f"{file.name} is one JSON object whose key {key} holds rows. Write them as one array, or say so "
                    f"(field: {key}) in the {CARD}."
                ) from None
            raise

    def read(self, indices: np.ndarray) -> Iterator[Batch]:
        return _batches(self._file, self._columns, self._reader.read(indices))

    def close(self) -> None:
        """Every pass over the file opens and closes it."""


class _StreamedConversations:
    """Whatever `datasets` streams."""

    def __init__(self, file: DataFile, reader: str, options: dict[str, Any], params: DatasetParameters) -> None:
        from tasks.sampling.formats.streamed import StreamedReader

        self._file = file
        self._reader = StreamedReader(file, reader, options)
        self.rows = self._reader.rows
        self._columns = columns_of(file.name, self._reader.columns or ["messages"], params)

    def read(self, indices: np.ndarray) -> Iterator[Batch]:
        rows = (
            RawRow(index, index + 1, _text_bytes(row), without_nulls(row)) for index, row in self._reader.read(indices)
        )
        return _batches(self._file, self._columns, rows)

    def close(self) -> None:
        self._reader.close()


def _text_bytes(value: Any) -> int:
    """About how many bytes the texts within `value` take."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(map(_text_bytes, value.values()))
    return sum(map(_text_bytes, value)) if isinstance(value, list) else 0


class _ParquetConversations:
    """Parquet: in columns where its messages are just roles and texts, else row by row."""

    def __init__(self, file: DataFile, params: DatasetParameters) -> None:
        from tasks.sampling.formats.kind import kind_of
        from tasks.sampling.formats.parquet import ParquetReader

        self._file = file
        self._too_long = too_long(params.max_characters)
        try:
            self._reader = ParquetReader(file, params.max_characters)
        except UnreadableFile as error:
            if what := kind_of(file):
                raise UnreadableFile(f"{file.name} is {what}") from error
            if file.name.endswith(COMPRESSIONS):
                raise UnreadableFile(
                    f"{file.name} is compressed as a whole, which Parquet is within. Decompress it."
                ) from error
            raise
        self.rows = self._reader.rows
        schema = self._reader.schema
        self._columns = columns_of(file.name, list(schema), params)
        self._read = [name for name in schema if name in self._columns.known]
        self._extra = [name for name in schema if name not in self._columns.known]
        self._plain = self._columns.format == "messages" and _is_plain(schema, self._read)

    def read(self, indices: np.ndarray) -> Iterator[Batch]:
        for raw in self._reader.read(indices, self._read):
            unread = [
                (index, Finding(self._file.name, index + 1, self._too_long, f"{size:,} bytes"))
                for index, size in raw.too_long
            ]
            if self._plain:
                batch = Batch(
                    0,
                    raw.indices + 1,
                    raw.indices,
                    _as_conversations(raw.frame),
                    with_prompt=_with_prompt(self._columns),
                    known=fingerprints(raw.record["messages"]),
                )
            else:
                size = int(raw.frame.estimated_size()) // max(1, len(raw.frame))
                rows = [
                    RawRow(int(index), int(index) + 1, size, without_nulls(row))
                    for index, row in zip(raw.indices, raw.frame.iter_rows(named=True), strict=True)
                ]
                batch = _batch(self._file, self._columns, rows)
            batch.unreadable = sorted(batch.unreadable + unread, key=lambda its: its[0])
            if self._extra:
                every = pl.concat_list(pl.lit(self._extra), pl.col("left_out").fill_null([]))
                batch.frame = batch.frame.with_columns(left_out=every)
            yield batch

    def close(self) -> None:
        self._reader.close()


def _is_plain(schema: pl.Schema, read: list[str]) -> bool:
    """Whether nothing has to be made of the columns: messages of role and text, an id and a prompt of text."""
    return (
        {*read} <= {"messages", "prompt", "prompt_id"}
        and schema["messages"] in (pl.List(MESSAGE), pl.List(pl.Struct(MESSAGE.fields[::-1])))
        and all(schema[name] == pl.String for name in ("prompt", "prompt_id") if name in read)
    )


def _as_conversations(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame by `SCHEMA`."""
    made = {name: pl.col(name) if name in frame.columns else pl.lit(None, dtype) for name, dtype in SCHEMA.items()}
    if frame.schema["messages"] != SCHEMA["messages"]:
        message = pl.struct(pl.element().struct.field(its.name) for its in MESSAGE.fields)
        made["messages"] = pl.col("messages").list.eval(pl.when(pl.element().is_not_null()).then(message))
    return frame.select(**made)
