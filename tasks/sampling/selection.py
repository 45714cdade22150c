"""Chooses the rows of a split: exact in number, and the same on every machine and with every version."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

import numpy as np

from tasks.sampling.reading import SplitReader


@dataclass(frozen=True)
class Selection:
    """The rows of one split that are sampled. All arrays are as long as the sample and in the split's order."""

    indices: np.ndarray
    ids: np.ndarray
    """64-bit hashes of the rows' `prompt_id`, to compare within this process."""
    held_out: np.ndarray
    """Whether the row is held out for validation."""

    def repeated(self) -> np.ndarray:
        """Whether an earlier row of the sample has the same `prompt_id`."""
        repeated = np.ones(len(self.ids), dtype=bool)
        repeated[np.unique(self.ids, return_index=True)[1]] = False
        return repeated


def select(
    reader: SplitReader, size: int, method: Literal["head", "random"], seed: int, held_out_percent: float
) -> Selection:
    """Chooses `size` rows of `reader` in the split's order, and of them those that are held out for validation."""
    if method == "head" or size == reader.rows:
        indices = np.arange(size)
    else:
        ranks = ((rank(f"{seed}:{prompt_id}"), index) for index, prompt_id in enumerate(_ids(reader, reader.rows)))
        indices = np.sort(np.fromiter((index for _, index in heapq.nsmallest(size, ranks)), dtype=np.int64, count=size))
    ids = np.zeros(size, dtype=np.uint64)
    held_out_size = round(held_out_percent * size / 100.0)
    held_out = np.zeros(size, dtype=bool)
    lowest: list[tuple[bytes, int]] = []
    start = 0
    for series in reader.ids(int(indices[-1]) + 1):
        first, end = np.searchsorted(indices, [start, start + len(series)])
        taken = series.gather(indices[first:end] - start)
        ids[first:end] = taken.hash().to_numpy()
        if held_out_size:
            ranked = (
                (rank(f"{seed}:validation:{prompt_id}"), place) for place, prompt_id in enumerate(taken, int(first))
            )
            lowest = heapq.nsmallest(held_out_size, [*lowest, *ranked])
        start += len(series)
    held_out[[place for _, place in lowest]] = True
    return Selection(indices, ids, held_out)


def rank(text: str) -> bytes:
    """Orders rows by nothing but `text`."""
    return sha256(text.encode()).digest()


def _ids(reader: SplitReader, rows: int) -> Iterator[str | None]:
    for series in reader.ids(rows):
        yield from series
