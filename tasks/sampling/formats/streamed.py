"""Rows of every other format, as `datasets` streams them: CSV, Arrow, and JSON below a field."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tasks.sampling.errors import DatasetError, UnreadableFile
from tasks.sampling.formats.kind import kind_of
from tasks.sampling.tree import DataFile

COPY_BYTES = 4 << 20
BATCH_ROWS = 64
"""Rows that `datasets` makes into Python objects at once."""

Row = dict[str, Any]


class StreamedReader:
    """One file, read from its beginning on each pass. A remote one is copied to this machine for as long as it is open."""

    def __init__(self, file: DataFile, reader: str, options: dict[str, Any]) -> None:
        """Counts the file's rows.

        Args:
            reader: `datasets`' word for the format.
            options: the reader's settings.

        Raises:
            UnreadableFile: it is damaged, or something else.
        """
        self._file = file
        if what := kind_of(file):
            raise UnreadableFile(f"{file.name} is {what}")
        self._reader = reader
        self._options = {name: value for name, value in options.items() if value is not None}
        if reader == "csv" and ".tsv" in file.name:
            self._options.setdefault("sep", "\t")
        with ExitStack() as opened:
            self._path = self._local_copy(opened)
            self.columns = self._header()
            self.rows = sum(len(batch) for batch in self._batches(columns=self.columns[:1]))
            self._opened = opened.pop_all()

    def read(self, indices: np.ndarray) -> Iterator[tuple[int, Row]]:
        """The rows at `indices`, which rise."""
        start = 0
        for batch in self._batches():
            first, end = np.searchsorted(indices, [start, start + len(batch)])
            if first < end:
                taken = batch.take(pa.array(indices[first:end] - start))
                yield from zip(indices[first:end].tolist(), taken.to_pylist(), strict=True)
            start += len(batch)
            if end == len(indices):
                return

    def close(self) -> None:
        """Removes the copy of a remote file."""
        self._opened.close()

    def _local_copy(self, opened: ExitStack) -> Path:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="streamed-")))
        # `datasets` reads patterns in names: a link has none, and the ending by which it knows a compression.
        path = folder / ("rows" + "".join(Path(self._file.name).suffixes[-2:]))
        with self._file.open() as stream, path.open("wb") as copy:
            local = getattr(stream, "name", None)
            if not self._file.remote and isinstance(local, str | Path):
                path.unlink()
                path.symlink_to(Path(local).absolute())
            else:
                shutil.copyfileobj(stream, copy, COPY_BYTES)
        return path

    def _header(self) -> list[str]:
        found = self._dataset(self._options)
        columns = found.column_names
        if columns is None:
            columns = list(next(iter(found), {}))
        if self._reader == "csv" and columns:
            from datasets import Features, Value

            # Text is text: neither "1" a number, nor "NA" or "null" nothing.
            self._options["features"] = Features({name: Value("string") for name in columns})
            self._options["keep_default_na"] = False
        return [str(name) for name in columns]

    def _batches(self, columns: list[str] | None = None) -> Iterator[pa.Table]:
        found = self._dataset(self._options)
        if columns:
            found = found.select_columns(columns)
        try:
            yield from found.with_format("arrow").iter(BATCH_ROWS)
        except DatasetError:
            raise
        except Exception as error:  # `datasets` raises whatever its parts raise
            raise self._unreadable(error) from error

    def _dataset(self, options: dict[str, Any]) -> Any:
        import datasets

        try:
            return datasets.load_dataset(
                self._reader, data_files={"rows": str(self._path)}, split="rows", streaming=True, **options
            )
        except Exception as error:  # as above
            raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> UnreadableFile:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        said = (
            (str(cause).strip() or type(cause).__name__).splitlines()[0][:200].replace(str(self._path), self._file.name)
        )
        return UnreadableFile(
            f"{self._file.name} cannot be read as {self._reader}: {said}. Copy it again from its origin, or mend it."
        )
