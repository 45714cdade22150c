"""The messages of many conversations one below the other: so they are counted and compared at the speed of columns."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import polars as pl


@dataclass(frozen=True)
class Messages:
    """Those of some rows. A row without any counts as one message of nulls."""

    frame: pl.DataFrame
    """By `conversations.MESSAGE`."""
    cuts: np.ndarray
    """The place of each row's first message, and behind them the number of all."""

    @classmethod
    def of(cls, rows: pl.Series) -> Self:
        """Of lists of `conversations.MESSAGE`."""
        counts = rows.list.len().fill_null(0).to_numpy().clip(min=1)
        said = rows.explode(empty_as_null=True, keep_nulls=True).struct.unnest()
        return cls(said, np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]))
