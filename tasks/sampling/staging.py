"""Conversations put aside on the disk until it is known which of them are wanted."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl
import pyarrow as pa

from tasks.sampling.errors import Finding
from tasks.sampling.reading import Batch

FILE = "staging.arrow"


class Staging:
    """A file of batches, in the order they were written."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._writer: Any = None
        self._forget()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.clear()

    def __len__(self) -> int:
        return sum(map(len, self._indices)) + len(self._unreadable)

    def write(
        self, batch: Batch, fingerprints: np.ndarray, wanted: np.ndarray, unreadable: list[tuple[int, Finding, int]]
    ) -> None:
        """Puts aside the rows of `batch` that are `wanted`, and what is wrong with those that could not be read."""
        for index, finding, fingerprint in unreadable:
            self._unreadable[index] = finding
            self._stand_ins[index] = fingerprint
        if not wanted.any():
            return
        frame = batch.frame.with_columns(number=pl.Series(batch.numbers), fingerprint=pl.Series(fingerprints)).filter(
            pl.Series(wanted)
        )
        table = frame.rechunk().to_arrow(compat_level=pl.CompatLevel.newest())
        if self._writer is None:
            self._writer = pa.ipc.new_stream(str(self._path), table.schema)
        [record] = table.to_batches()
        self._writer.write_batch(record)
        self._indices.append(batch.indices[wanted])
        self._files.append((batch.file, batch.with_prompt))
        self._fingerprints.append(fingerprints[wanted])

    def fingerprints(self, indices: np.ndarray) -> np.ndarray:
        """Of the rows at `indices`, which were all put aside."""
        known = np.concatenate([*self._indices, np.fromiter(self._stand_ins, dtype=np.int64)])
        values = np.concatenate([*self._fingerprints, np.fromiter(self._stand_ins.values(), dtype=np.uint64)])
        order = np.argsort(known)
        return np.asarray(values[order][np.searchsorted(known[order], indices)])

    def read(self, indices: np.ndarray) -> Iterator[Batch]:
        """The rows at `indices`, which rise and were all put aside."""
        bad = sorted(set(self._unreadable) & set(indices.tolist()))
        if self._writer is not None:
            self._writer.close()
            with pa.OSFile(str(self._path)) as file, pa.ipc.open_stream(file) as stream:
                for record, its, (place, with_prompt) in zip(stream, self._indices, self._files, strict=True):
                    chosen = np.isin(its, indices, assume_unique=True)
                    frame = pl.DataFrame(pl.from_arrow(record)).filter(pl.Series(chosen))
                    last = int(its[-1])
                    here = [index for index in bad if index < last]
                    bad = bad[len(here) :]
                    yield Batch(
                        place,
                        frame["number"].to_numpy(),
                        its[chosen],
                        frame.drop("number", "fingerprint"),
                        [(index, self._unreadable[index]) for index in here],
                        with_prompt,
                        frame["fingerprint"].to_numpy(),
                    )
        if bad:
            yield Batch.of_unreadable([(index, self._unreadable[index]) for index in bad])

    def clear(self) -> None:
        """Removes the file."""
        if self._writer is not None:
            self._writer.close()
        self._path.unlink(missing_ok=True)
        self._forget()

    def _forget(self) -> None:
        self._writer = None
        self._indices: list[np.ndarray] = []
        self._files: list[tuple[int, bool]] = []
        self._fingerprints: list[np.ndarray] = []
        self._unreadable: dict[int, Finding] = {}
        self._stand_ins: dict[int, int] = {}
