"""Encoded conversations on disk: the hand-over from preprocess to fine-tune."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class EncodedSplit:
    """Rows of tokens, end to end.

    Attributes:
        tokens: token ids of all rows.
        labelled: for each token, whether the model learns to say it.
        ends: where each row ends in `tokens`.
    """

    tokens: NDArray[np.int32]
    labelled: NDArray[np.bool_]
    ends: NDArray[np.int64]

    @classmethod
    def of(cls, rows: Iterable[tuple[ArrayLike, ArrayLike]]) -> "EncodedSplit":
        """Joins (token ids, labels) of rows."""
        tokens: list[NDArray[np.int32]] = [np.empty(0, np.int32)]
        labelled: list[NDArray[np.bool_]] = [np.empty(0, np.bool_)]
        for ids, labels in rows:
            tokens.append(np.asarray(ids, np.int32))
            labelled.append(np.asarray(labels, np.bool_))
        ends = np.cumsum([len(ids) for ids in tokens[1:]], dtype=np.int64)
        return cls(np.concatenate(tokens), np.concatenate(labelled), ends)

    @classmethod
    def load(cls, file: Path) -> "EncodedSplit":
        with np.load(file) as arrays:
            return cls(arrays["tokens"], arrays["labelled"], arrays["ends"])

    def save(self, file: Path) -> None:
        np.savez(file, tokens=self.tokens, labelled=self.labelled, ends=self.ends)

    def __len__(self) -> int:
        return len(self.ends)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each row."""
        return np.diff(self.ends, prepend=0)

    def row(self, index: int) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """Token ids and labels of one row."""
        start, end = (self.ends[index - 1] if index else 0), self.ends[index]
        return self.tokens[start:end], self.labelled[start:end]

    def part(self, start: int, stop: int) -> "EncodedSplit":
        """Rows `start` up to `stop`."""
        return EncodedSplit.of(self.row(index) for index in range(start, stop))
