"""Chooses the rows of a split: exact in number, and the same on every machine and with every version."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from tasks.sampling.reading import Batch, SplitReader
from tasks.sampling.sameness import fingerprint_of, ranks
from tasks.sampling.staging import Staging

FOR_SAMPLE, FOR_VALIDATION = 1, 2


@dataclass(frozen=True)
class Selection:
    """The rows of one split that are sampled, in the split's order."""

    indices: np.ndarray
    batches: Iterator[Batch]
    held_out: np.ndarray | None = None
    """Whether each row is held out for validation; None where none is."""

    def mark(self, batch: Batch) -> None:
        """Adds to the batch's frame which rows are held out, if any are."""
        if self.held_out is not None:
            its = self.held_out[np.searchsorted(self.indices, batch.indices)]
            batch.frame = batch.frame.with_columns(held_out=pl.Series(its, dtype=pl.Boolean))


@contextmanager
def selected(
    reader: SplitReader,
    size: int,
    method: Literal["head", "random"],
    seed: int,
    held_out_percent: float,
    folder: Path,
) -> Iterator[Selection]:
    """Chooses `size` rows of `reader`, and of them those that are held out for validation.

    Where chance decides, the rows of the lowest ranks are taken: their content and the seed alone decide. Ranks are known only
    when all rows were read, so what may be taken is put aside in `folder` meanwhile: the source is read once.
    """
    by_chance = method == "random" and size < reader.rows
    # Where none were held out the trainer would cut off a share of its own, unseen.
    held_out_size = max(round(held_out_percent * size / 100.0), 1 if held_out_percent and size > 1 else 0)
    if not by_chance and not held_out_size:
        yield Selection(np.arange(size), reader.read(np.arange(size)))
        return
    with Staging(folder) as staging:
        if by_chance:
            indices = _by_chance(reader, size, seed, staging)
        else:
            indices = np.arange(size)
            _put_aside(reader, size, staging)
        held_out = np.zeros(size, dtype=bool)
        held_out[_lowest(ranks(staging.fingerprints(indices), seed, FOR_VALIDATION), held_out_size)] = True
        yield Selection(indices, staging.read(indices), held_out if held_out_size else None)


def _by_chance(reader: SplitReader, size: int, seed: int, staging: Staging) -> np.ndarray:
    """The indices of `size` rows of the lowest ranks, all of them put aside."""
    # Ranks of unlike rows are spread evenly, so that of N rows the lowest k lie below about k/N of all numbers; six deviations
    # more miss one once in a billion times. Of rows that are mostly alike more may be needed: then all are put aside.
    most = (size + 6 * sqrt(size) + 8) / reader.rows
    ranked = _put_aside(reader, reader.rows, staging, seed, most)
    if len(staging) < size:
        staging.clear()
        ranked = _put_aside(reader, reader.rows, staging, seed, 1.0)
    return np.sort(_lowest(ranked, size))


def _put_aside(
    reader: SplitReader, rows: int, staging: Staging, seed: int = 0, lowest_share: float = 1.0
) -> np.ndarray:
    """Puts the first `rows` rows aside, of them those whose rank is in the lowest share; returns the ranks of all."""
    found = np.zeros(rows, dtype=np.uint64)
    bound = np.uint64(min(2**64 - 1, int(lowest_share * 2**64)))
    for batch in reader.read(np.arange(rows)):
        content = batch.fingerprints
        found[batch.indices] = its = ranks(content, seed, FOR_SAMPLE)
        unreadable = []
        for index, finding in batch.unreadable:
            stand_in = np.array([fingerprint_of(f"{finding.file}:{finding.row}")], dtype=np.uint64)
            found[index] = ranks(stand_in, seed, FOR_SAMPLE)[0]
            if found[index] <= bound:
                unreadable.append((index, finding, int(stand_in[0])))
        staging.write(batch, content, its <= bound, unreadable)
    return found


def _lowest(ranks: np.ndarray, count: int) -> np.ndarray:
    """The places of the `count` lowest; the earlier of equals."""
    return np.argsort(ranks, kind="stable")[:count]
