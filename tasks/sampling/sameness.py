"""When two conversations are the same: their roles and texts in order are, whatever their ids."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl
import xxhash

from tasks.sampling.messages import Messages

RECENT_ROWS = 1 << 14
NAMES = {"train": "training", "validation": "validation", "test": "test", "score": "scoring"}


_ROLE, _CONTENT = pl.col("role").fill_null(""), pl.col("content").fill_null("")
_SAID = pl.concat_str(_ROLE, pl.lit(":"), _CONTENT.str.len_bytes().cast(pl.String), pl.lit(":"), _CONTENT).cast(
    pl.Binary
)


def fingerprints(messages: Messages) -> np.ndarray:
    """64 bits that stand for each conversation, the same on every machine and version.

    XXH3 (https://xxhash.com) of the UTF-8 bytes of `role:length:text` of its messages one after the other, `length` being the
    text's in bytes. Of two million different conversations two agree by chance once in ten million samples.
    """
    # One below the other they are one stretch of bytes, and a conversation is a part of it.
    laid = messages.frame.select(_SAID).to_series().to_arrow(compat_level=pl.CompatLevel.oldest())
    _, offsets, data = laid.buffers()
    cuts = np.frombuffer(offsets, dtype=np.int64, count=len(laid) + 1, offset=8 * laid.offset)
    text = memoryview(data or b"")
    digests = (xxhash.xxh3_64_intdigest(text[first:end]) for first, end in pairwise(cuts[messages.cuts].tolist()))
    return np.fromiter(digests, dtype=np.uint64, count=len(messages.cuts) - 1)


def fingerprint_of(text: str) -> int:
    """What stands for a row that holds no conversation: where it lies."""
    return xxhash.xxh3_64_intdigest(text.encode())


def ranks(fingerprints: np.ndarray, seed: int, purpose: int) -> np.ndarray:
    """An order by chance that nothing but content, seed and purpose decides: SplitMix64 (Steele et al., 2014) of them."""
    with np.errstate(over="ignore"):
        salt = _mixed(np.array(seed, dtype=np.uint64) ^ _mixed(np.array(purpose, dtype=np.uint64)))
        return _mixed(fingerprints ^ salt)


def _mixed(value: np.ndarray) -> np.ndarray:
    value = value + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@dataclass(frozen=True)
class Place:
    """Where a conversation was first met."""

    purpose: str
    file: str
    row: int

    def __str__(self) -> str:
        return f"the {NAMES[self.purpose]} sample ({self.file}, row {self.row})"


class Seen:
    """The conversations that were met so far and where, in 16 bytes each."""

    def __init__(self) -> None:
        self._files: list[tuple[str, str]] = []
        self._recent: dict[int, int] = {}
        # Sorted runs of fingerprints with their places, each at least twice as long as the next: few to look through.
        self._runs: list[tuple[np.ndarray, np.ndarray]] = []

    def meet(self, fingerprints: np.ndarray, purpose: str, file: str, rows: np.ndarray) -> list[Place | None]:
        """For each conversation where it was met before; those that were not are remembered."""
        if not self._files or self._files[-1] != (purpose, file):
            self._files.append((purpose, file))
        here = (len(self._files) - 1) << 40
        found = self._looked_up(fingerprints)
        places: list[Place | None] = []
        for fingerprint, row, before in zip(fingerprints.tolist(), rows.tolist(), found, strict=True):
            if before < 0:
                before = self._recent.setdefault(fingerprint, here | row)
                before = -1 if before == here | row else before
            places.append(None if before < 0 else self._place(before))
        if len(self._recent) >= RECENT_ROWS:
            self._settle()
        return places

    def _looked_up(self, fingerprints: np.ndarray) -> list[int]:
        found = np.full(len(fingerprints), -1, dtype=np.int64)
        for known, places in self._runs:
            at = np.minimum(np.searchsorted(known, fingerprints), len(known) - 1)
            found = np.where(known[at] == fingerprints, places[at], found)
        return list(found.tolist())

    def _settle(self) -> None:
        """Sorts what is recent, and joins runs of like length."""
        known = np.fromiter(self._recent.keys(), dtype=np.uint64, count=len(self._recent))
        places = np.fromiter(self._recent.values(), dtype=np.int64, count=len(self._recent))
        self._recent = {}
        while True:
            order = np.argsort(known, kind="stable")
            known, places = known[order], places[order]
            if not self._runs or len(self._runs[-1][0]) >= 2 * len(known):
                break
            above = self._runs.pop()
            known, places = np.concatenate([above[0], known]), np.concatenate([above[1], places])
        self._runs.append((known, places))

    def _place(self, code: int) -> Place:
        purpose, file = self._files[code >> 40]
        return Place(purpose, file, code & ((1 << 40) - 1))
