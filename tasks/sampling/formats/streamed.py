"""Rows of every other format, as `datasets` streams them: CSV, Arrow, and JSON below a field."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tasks.sampling.errors import DatasetError, UnreadableFile
from tasks.sampling.formats.bounds import BATCH_BYTES, BATCH_ROWS
from tasks.sampling.formats.compressed import chunks, require_kind
from tasks.sampling.formats.csv_text import require_even_rows
from tasks.sampling.quiet import quiet_datasets
from tasks.sampling.tree import DataFile

PYTHON_ROWS = 64
"""Rows that are made into Python objects at once."""

Row = dict[str, Any]


class StreamedReader:
    """One file, read from its beginning on each pass, of a copy that is there for as long as it is open."""

    def __init__(self, file: DataFile, reader: str, options: dict[str, Any]) -> None:
        """Counts the file's rows.

        Args:
            reader: `datasets`' word for the format.
            options: the reader's settings.

        Raises:
            UnreadableFile: it is damaged, or something else.
        """
        self._file = file
        require_kind(file)
        self._reader = reader
        self._options = {name: value for name, value in options.items() if value is not None}
        if reader == "csv" and ".tsv" in file.name:
            self._options.setdefault("sep", "\t")
        with ExitStack() as opened:
            self._path = self._local_copy(opened)
            if reader == "csv" and self._options.keys() <= {"sep", "encoding", "chunksize"}:
                require_even_rows(self._path, file.name, self._options)
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
        """The file under a name without patterns, which `datasets` would follow; decompressed and on this machine."""
        path = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="streamed-")), "rows")
        lines = size = 0
        with path.open("wb") as copy:
            for chunk in chunks(self._file):
                lines, size = lines + chunk.count(b"\n"), size + len(chunk)
                if self._reader == "csv" and b"\0" in chunk:
                    raise UnreadableFile(
                        f"{self._file.name} has zero bytes in its text, behind which a cell is lost. Write it again without."
                    )
                copy.write(chunk)
        if self._reader == "csv":
            # Rows that are parsed at once; `datasets` takes ten thousand, however long they are.
            self._options["chunksize"] = max(1, min(BATCH_ROWS, BATCH_BYTES * lines // max(1, size)))
        return path

    def _header(self) -> list[str]:
        found = self._dataset(self._options)
        try:
            columns = found.column_names or list(next(iter(found), {}))
        except Exception as error:  # `datasets` raises whatever its parts raise
            raise self._unreadable(error) from error
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
            with quiet_datasets():
                yield from found.with_format("arrow").iter(PYTHON_ROWS)
        except DatasetError:
            raise
        except Exception as error:  # `datasets` raises whatever its parts raise
            raise self._unreadable(error) from error

    def _dataset(self, options: dict[str, Any]) -> Any:
        try:
            with quiet_datasets() as datasets:
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
