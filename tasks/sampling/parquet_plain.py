"""Rows of a Parquet file: only the row groups, and of them only the columns, that are asked for."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.sampling.errors import UnreadableFile
from tasks.sampling.tree import DataFile

BATCH_BYTES = 16 << 20
BATCH_ROWS = 500
READ_BYTES = 1 << 20


@dataclass
class RawBatch:
    indices: np.ndarray
    frame: pl.DataFrame
    too_long: list[tuple[int, int]] = field(default_factory=list)


class ParquetReader:
    """One Parquet file of conversations."""

    def __init__(self, file: DataFile, max_characters: int) -> None:
        self._name = file.name
        with ExitStack() as opened:
            stream = opened.enter_context(file.open())
            with self._damage_explained():
                self._file = pq.ParquetFile(
                    stream, pre_buffer=file.remote, buffer_size=0 if file.remote else READ_BYTES
                )
                schema = self._file.schema_arrow
                self.schema = pl.DataFrame(pl.from_arrow(_normal(schema).empty_table())).schema
                self._arrow = _normal(schema)
            self._opened = opened.pop_all()
        self.rows: int = self._file.metadata.num_rows
        sizes = [self._file.metadata.row_group(group).num_rows for group in range(self._file.num_row_groups)]
        self._starts = np.cumsum([0, *sizes])

    def read(self, indices: np.ndarray, columns: Sequence[str]) -> Iterator[RawBatch]:
        groups = np.unique(np.searchsorted(self._starts, indices, side="right") - 1)
        for start, batch in self._batches(groups, list(columns)):
            first, end = np.searchsorted(indices, [start, start + len(batch)])
            if first == end:
                continue
            taken = indices[first:end]
            frame = pl.DataFrame(pl.from_arrow(batch))
            if len(taken) < len(batch):
                frame = frame[taken - start]
            yield RawBatch(taken, frame)

    def close(self) -> None:
        self._file.close()
        self._opened.close()

    def _batches(self, groups, names):
        for group in groups:
            start = int(self._starts[group])
            size = self._batch_rows(int(group), names)
            with self._damage_explained():
                for batch in self._file.iter_batches(size, row_groups=[int(group)], columns=names, use_threads=False):
                    batch.validate(full=True)
                    wanted = pa.schema([self._arrow.field(n) for n in batch.schema.names])
                    if batch.schema.remove_metadata() != wanted.remove_metadata():
                        batch = pa.Table.from_batches([batch]).cast(wanted).combine_chunks().to_batches()[0]
                    yield start, batch
                    start += len(batch)

    def _batch_rows(self, group: int, names: list[str]) -> int:
        its = self._file.metadata.row_group(group)
        chunks = (its.column(place) for place in range(its.num_columns))
        size = sum(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema.split(".")[0] in names)
        return max(1, min(BATCH_ROWS, its.num_rows * BATCH_BYTES // max(1, size)))

    @contextmanager
    def _damage_explained(self) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowException, OSError) as error:
            detail = str(error).splitlines()[0][:200]
            raise UnreadableFile(
                f"{self._name} is damaged or no Parquet file: {detail}. Copy it again from its origin."
            ) from error


def _normal(schema):
    def one(t):
        if pa.types.is_fixed_size_list(t) or pa.types.is_large_list(t) or pa.types.is_list(t):
            return pa.list_(pa.field(t.value_field.name, one(t.value_type)))
        if pa.types.is_struct(t):
            return pa.struct([pa.field(f.name, one(f.type)) for f in t])
        if pa.types.is_dictionary(t):
            return one(t.value_type)
        if pa.types.is_large_string(t):
            return pa.string()
        return t

    return pa.schema([pa.field(f.name, one(f.type)) for f in schema])
