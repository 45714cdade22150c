"""Rows of a Parquet file: only the row groups, and of them only the columns, that are asked for."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.sampling.errors import UnreadableFile
from tasks.sampling.reading import BATCH_BYTES, BATCH_ROWS, Batch
from tasks.sampling.schema import MESSAGE, PROMPT, REQUIRED, columns, require_columns
from tasks.sampling.sources import DataFile

READ_BYTES = 1 << 20


class ParquetReader:
    """One Parquet file of conversations."""

    def __init__(self, file: DataFile, may_have_more: bool) -> None:
        self._name = file.name
        if file.size == 0:
            raise UnreadableFile(f"{file.name} is empty. Copy it again.")
        with ExitStack() as opened:
            stream = opened.enter_context(file.open())
            with self._damage_explained():
                # A remote group is fetched in one piece, a local one column by column, however large the group is.
                self._file = pq.ParquetFile(
                    stream, pre_buffer=file.remote, buffer_size=0 if file.remote else READ_BYTES
                )
                schema = self._file.schema_arrow
            require_columns(file.name, set(schema.names), may_have_more=may_have_more)
            _require_types(file.name, schema, may_have_more)
            self._opened = opened.pop_all()
        self.has_prompt = PROMPT in schema.names
        self.rows: int = self._file.metadata.num_rows
        sizes = [self._file.metadata.row_group(group).num_rows for group in range(self._file.num_row_groups)]
        self._starts = np.cumsum([0, *sizes])

    def ids(self, rows: int) -> Iterator[pl.Series]:
        """The `prompt_id` of the first `rows` rows."""
        for _, batch in self._batches(np.arange(np.searchsorted(self._starts, rows)), ["prompt_id"]):
            taken = pl.DataFrame(pl.from_arrow(batch)).to_series()[:rows]
            rows -= len(taken)
            yield taken
            if rows == 0:
                return

    def read(self, indices: np.ndarray) -> Iterator[Batch]:
        """The rows at `indices`, which rise."""
        groups = np.unique(np.searchsorted(self._starts, indices, side="right") - 1)
        for start, batch in self._batches(groups, columns(self.has_prompt)):
            first, end = np.searchsorted(indices, [start, start + len(batch)])
            if first == end:
                continue
            taken = indices[first:end]
            frame = pl.DataFrame(pl.from_arrow(batch))
            if len(taken) < len(batch):
                frame = frame[taken - start]
            if frame.schema["messages"] != REQUIRED["messages"]:
                frame = frame.with_columns(_in_order(pl.col("messages")))
            yield Batch(self._name, taken + 1, taken, frame)

    def close(self) -> None:
        """Lets go of the file."""
        self._file.close()
        self._opened.close()

    def _batches(self, groups: np.ndarray, names: list[str]) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Batches of the row groups, each with the index of its first row."""
        for group in groups:
            start = int(self._starts[group])
            size = self._batch_rows(int(group), names)
            with self._damage_explained():
                for batch in self._file.iter_batches(size, row_groups=[int(group)], columns=names, use_threads=False):
                    # Parquet promises UTF-8 and Arrow believes it.
                    batch.validate(full=True)
                    yield start, batch
                    start += len(batch)

    def _batch_rows(self, group: int, names: list[str]) -> int:
        """How many of the group's rows are decoded at once."""
        its = self._file.metadata.row_group(group)
        chunks = (its.column(place) for place in range(its.num_columns))
        size = sum(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema.split(".")[0] in names)
        most = BATCH_ROWS if "messages" in names else its.num_rows
        return max(1, min(most, its.num_rows * BATCH_BYTES // max(1, size)))

    @contextmanager
    def _damage_explained(self) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowException, OSError) as error:
            detail = str(error).splitlines()[0][:200]
            raise UnreadableFile(
                f"{self._name} is damaged or no Parquet file: {detail}. Copy it again from its origin."
            ) from error


def _in_order(messages: pl.Expr) -> pl.Expr:
    """The messages with the known fields only, in the order they are written."""
    message = pl.struct(pl.element().struct.field(field.name) for field in MESSAGE.fields)
    return messages.list.eval(pl.when(pl.element().is_not_null()).then(message))


def _require_types(file: str, schema: pa.Schema, may_have_more: bool) -> None:
    """Refuses columns of another type than a chat dataset's. The order of a message's fields does not matter."""
    types = pl.Schema(pa.schema([schema.field(name) for name in (PROMPT, *REQUIRED) if name in schema.names]))
    for name, expected in {PROMPT: pl.String(), **REQUIRED}.items():
        if name in types and name != "messages" and types[name] != expected:
            raise UnreadableFile(f"{file} has a column {name} of type {types[name]}; it must be {expected}.")
    messages = types["messages"]
    fields = {field.name: field.dtype for field in getattr(getattr(messages, "inner", None), "fields", [])}
    known = {field.name: field.dtype for field in MESSAGE.fields}
    if any(fields.get(name) != dtype for name, dtype in known.items()) or (
        fields.keys() - known.keys() and not may_have_more
    ):
        raise UnreadableFile(
            f"{file} has a column messages of type {messages}; it must be {pl.List(MESSAGE)}. "
            "Set extra_columns to drop to leave out fields of a message that are not known."
        )
