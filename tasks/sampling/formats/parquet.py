"""Rows of a Parquet file: only the row groups, and of them only the columns, that are asked for, in memory that is bounded.

What a page would take, and how much text a dictionary could make of itself, is looked up before anything is decoded. A text that
stands in a file once and in a thousand rows is kept once: such columns are read as dictionaries, rows are measured, and only as
many as fit a batch are made into texts.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from math import ceil

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks.sampling.errors import UnreadableFile
from tasks.sampling.formats.bounds import (
    BATCH_BYTES,
    BATCH_ROWS,
    DICTIONARY_BYTES,
    PAGE_BYTES,
    REPEATED_BYTES,
    TEXT_BYTES,
    row_bytes,
)
from tasks.sampling.formats.parquet_pages import Pages, PageTooLarge, dictionary_bytes, pages_of
from tasks.sampling.tree import DataFile

READ_BYTES = 1 << 20
REMOTE_READ_BYTES = 8 << 20
"""Fetched at once of a remote row group that is too large to be fetched whole."""
MOST_GROUP_BYTES = 64 << 20
"""A smaller row group of a remote file is fetched in one piece."""
MOST_UNSEEN_BYTES = 128 << 20
"""Text of a remote column chunk whose pages are not looked at before they are read."""
MOST_MESSAGES = 100_000
"""Of a conversation, and on average of the rows of a group a hundredth: more is no conversation."""

DAMAGE = (pa.ArrowException, pl.exceptions.PolarsError, ValueError, LookupError, ArithmeticError, MemoryError, OSError)
"""What a damaged file makes pyarrow and polars raise. What the place of a remote file raises (Azure's errors, ours of the hub) is
none of it: it passes, to be tried again or told as it is."""


@dataclass
class RawBatch:
    """Some rows of the file, and what of those asked for is not among them."""

    indices: np.ndarray
    record: pa.RecordBatch
    frame: pl.DataFrame
    """The same."""
    too_long: list[tuple[int, int]] = field(default_factory=list)
    """Rows that were not decoded since their text is longer than a row may be: index, bytes."""


class ParquetReader:
    """One Parquet file, read by row groups and columns."""

    def __init__(self, file: DataFile, max_characters: int) -> None:
        """Opens the file.

        Raises:
            UnreadableFile: it is damaged, no Parquet file, or of columns that cannot be read.
        """
        self._source = file
        self._most_bytes = row_bytes(max_characters)
        with ExitStack() as opened:
            self._stream = opened.enter_context(file.open())
            with self._damage_explained():
                self._meta = pq.read_metadata(self._stream)
                arrow = self._meta.schema.to_arrow_schema()
                if len(set(arrow.names)) < len(arrow.names):
                    raise UnreadableFile(
                        f"{file.name} has two columns of one name: {', '.join(arrow.names)}. Rename one."
                    )
                self._plain = {its.name: _plain(its.type) for its in arrow}
                self.schema = pl.DataFrame(pl.from_arrow(pa.schema(list(self._plain.items())).empty_table())).schema
            self._opened = opened.pop_all()
        sizes = [self._meta.row_group(group).num_rows for group in range(self._meta.num_row_groups)]
        if min(sizes, default=0) < 0 or sum(sizes) != self._meta.num_rows:
            self.close()
            raise UnreadableFile(
                f"{file.name} is damaged: its row groups do not have the rows that it says. Copy it again."
            )
        self.rows: int = self._meta.num_rows
        self._starts = np.cumsum([0, *sizes])

    def read(self, indices: np.ndarray, columns: Sequence[str]) -> Iterator[RawBatch]:
        """The rows at `indices`, which rise.

        Raises:
            UnreadableFile: a row group is damaged, or too large to be read.
        """
        groups = np.unique(np.searchsorted(self._starts, indices, side="right") - 1)
        for group in groups.tolist():
            start = int(self._starts[group])
            for batch in self._record_batches(group, list(columns)):
                first, end = np.searchsorted(indices, [start, start + len(batch)])
                if first < end:
                    yield from self._decoded(batch, start, indices[first:end])
                start += len(batch)

    def close(self) -> None:
        """Lets go of the file."""
        self._opened.close()

    def _record_batches(self, group: int, columns: list[str]) -> Iterator[pa.RecordBatch]:
        """The group's rows; texts that repeat as dictionaries."""
        with self._damage_explained():
            chunks = self._chunks(group, columns)
            repeating, parts = self._parts(group, chunks)
            whole = self._source.remote and sum(its.total_compressed_size for its in chunks) <= MOST_GROUP_BYTES
            file = pq.ParquetFile(
                self._stream,
                metadata=self._meta,
                read_dictionary=repeating,
                pre_buffer=whole,
                buffer_size=0 if whole else REMOTE_READ_BYTES if self._source.remote else READ_BYTES,
            )
            rows = min(BATCH_ROWS, ceil(self._meta.row_group(group).num_rows / parts)) or 1
            yield from file.iter_batches(rows, row_groups=[group], columns=columns, use_threads=False)

    def _chunks(self, group: int, columns: list[str]) -> list[pq.ColumnChunkMetaData]:
        its = self._meta.row_group(group)
        chunks = (its.column(place) for place in range(its.num_columns))
        return [chunk for chunk in chunks if chunk.path_in_schema.split(".")[0] in columns]

    def _parts(self, group: int, chunks: list[pq.ColumnChunkMetaData]) -> tuple[list[str], int]:
        """How the group is read in memory that is bounded: the paths of the columns that are kept as dictionaries, and in how many
        batches.

        Raises:
            UnreadableFile: a part of the group cannot be held in memory.
        """
        rows = self._meta.row_group(group).num_rows
        where = f"{self._source.name}, rows {int(self._starts[group]) + 1} to {int(self._starts[group + 1])}"
        repeating, dictionaries, parts = [], 0, 1
        for chunk in chunks:
            path = chunk.path_in_schema
            if chunk.num_values > max(MOST_MESSAGES, MOST_MESSAGES // 100 * rows):
                raise UnreadableFile(
                    f"{where}, hold {chunk.num_values:,} values in {path}, which are no conversations. Leave such rows out of the "
                    "file."
                )
            try:
                pages = self._pages(chunk)
            except PageTooLarge as error:
                raise UnreadableFile(
                    f"{where}, lie in a page of {error.size >> 20:,} MiB of {path}; at most {PAGE_BYTES >> 20} MiB are read at "
                    "once. Leave rows that long out of the file, or write it with fewer rows a page (pyarrow: "
                    "write_batch_size=16) or a row group (row_group_size)."
                ) from None
            except DAMAGE as error:
                raise UnreadableFile(
                    f"{where}, are damaged: {_first_line(error)} in {path}. Copy the file again from its origin."
                ) from error
            if chunk.physical_type != "BYTE_ARRAY":
                continue
            if pages.longest > TEXT_BYTES:
                raise UnreadableFile(
                    f"{where}, have a text of {pages.longest >> 20:,} MiB in {path}; at most {TEXT_BYTES >> 20} MiB are read. "
                    "Leave rows that long out of the file."
                )
            if pages.by_dictionary <= REPEATED_BYTES:
                continue
            if pages.dictionary <= DICTIONARY_BYTES:
                repeating.append(path)
                dictionaries += pages.dictionary
            else:
                parts = max(parts, ceil(pages.by_dictionary / REPEATED_BYTES))
        # Each batch brings its dictionaries anew, so the rest of it may be as much.
        text = sum(chunk.total_uncompressed_size for chunk in chunks) - dictionaries
        return repeating, max(parts, ceil(text / max(BATCH_BYTES, dictionaries)))

    def _pages(self, chunk: pq.ColumnChunkMetaData) -> Pages:
        """Of a remote file not every page's header is read, each of which would be a request, where little can be wrong."""
        size = chunk.total_uncompressed_size
        if self._source.remote and size <= MOST_UNSEEN_BYTES:
            large = size > DICTIONARY_BYTES and chunk.has_dictionary_page
            if not large or dictionary_bytes(self._stream, chunk, self._source.size) <= DICTIONARY_BYTES:
                # No text is longer than all that the chunk holds.
                return Pages(0, 0, chunk.num_values * size if chunk.has_dictionary_page else 0)
        return pages_of(self._stream, chunk, self._source.size)

    def _decoded(self, batch: pa.RecordBatch, start: int, wanted: np.ndarray) -> Iterator[RawBatch]:
        """The wanted rows of a batch, as many at a time as fit."""
        with self._damage_explained():
            if len(wanted) < len(batch):
                batch = batch.take(pa.array(wanted - start))
            sizes = np.array(sum(_bytes(column) for column in batch.columns), dtype=np.int64)
        plain = pa.schema([(name, self._plain[name]) for name in batch.schema.names])
        too_long = sizes > self._most_bytes
        reported = [(int(wanted[place]), int(sizes[place])) for place in np.flatnonzero(too_long)]
        if too_long.all():
            none = pa.RecordBatch.from_pylist([], plain)
            yield RawBatch(wanted[:0], none, pl.DataFrame(pl.from_arrow(none)), reported)
            return
        kept, sizes = wanted[~too_long], sizes[~too_long]
        with self._damage_explained():
            batch = batch.filter(pa.array(~too_long)) if too_long.any() else batch
        # Each piece but for its last row is within the bound.
        place = np.concatenate([[0], np.cumsum(sizes)[:-1]]) // BATCH_BYTES
        cuts = [0, *(np.flatnonzero(np.diff(place)) + 1).tolist(), len(kept)]
        for first, end in pairwise(cuts):
            with self._damage_explained():
                # Not a slice: below one lie the values of all rows, and a cast makes texts of them all.
                piece = batch if end - first == len(batch) else batch.take(pa.array(range(first, end)))
                record = piece.cast(plain)
                # Parquet promises UTF-8 and Arrow believes it.
                record.validate(full=True)
                frame = pl.DataFrame(pl.from_arrow(record))
            yield RawBatch(kept[first:end], record, frame, reported)
            reported = []

    @contextmanager
    def _damage_explained(self) -> Iterator[None]:
        try:
            yield
        except DAMAGE as error:
            detail = _first_line(error)
            if "magic bytes" in detail:
                detail = "it does not end with Parquet's magic bytes"
            raise UnreadableFile(
                f"{self._source.name} is damaged or no Parquet file: {detail}. Copy it again from its origin."
            ) from error


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200].rstrip(".")


def _plain(kind: pa.DataType) -> pa.DataType:
    """The type of the same values without dictionaries, views or fixed sizes."""
    if pa.types.is_dictionary(kind):
        return _plain(kind.value_type)
    if pa.types.is_fixed_size_list(kind) or pa.types.is_large_list(kind) or pa.types.is_list(kind):
        return pa.list_(pa.field(kind.value_field.name, _plain(kind.value_type)))
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(its.name, _plain(its.type)) for its in kind])
    # Of a field that is null everywhere a cast forgets the length.
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind) or pa.types.is_null(kind):
        return pa.string()
    return kind


def _bytes(array: pa.Array) -> np.ndarray:
    """About how many bytes each row's texts take once they are decoded."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        if len(array.dictionary) == 0:
            return np.zeros(len(array), dtype=np.int64)
        places = array.indices.fill_null(0) if array.indices.null_count else array.indices
        its: np.ndarray = _lengths(array.dictionary)[places.to_numpy()]
        return its
    if pa.types.is_struct(kind):
        fields = [_bytes(array.field(place)) for place in range(kind.num_fields)]
        return np.sum(fields, axis=0) if fields else np.zeros(len(array), dtype=np.int64)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        below = np.concatenate([[0], np.cumsum(_bytes(array.values))])
        return np.diff(below[array.offsets.to_numpy()])
    if pa.types.is_fixed_size_list(kind):
        inner = _bytes(array.values[array.offset * kind.list_size : (array.offset + len(array)) * kind.list_size])
        return inner.reshape(len(array), -1).sum(axis=1) if len(array) and kind.list_size else np.zeros(len(array))
    if pa.types.is_map(kind):
        below = np.concatenate([[0], np.cumsum(_bytes(array.keys) + _bytes(array.items))])
        return np.diff(below[array.offsets.to_numpy()])
    if (
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
    ):
        return _lengths(array)
    return np.full(len(array), 8, dtype=np.int64)


def _lengths(texts: pa.Array) -> np.ndarray:
    lengths = pc.binary_length(texts)
    return np.asarray((lengths.fill_null(0) if lengths.null_count else lengths).to_numpy(), dtype=np.int64)
