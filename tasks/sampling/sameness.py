"""When two conversations are the same: their roles and texts in order are, whatever their ids."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

ROLES = ("system", "user", "assistant", "tool")

RECENT_ROWS = 1 << 14
NAMES = {"train": "training", "validation": "validation", "test": "test", "score": "scoring"}


def fingerprints(rows: pa.Array) -> np.ndarray:
    """64 bits that stand for each conversation, the same on every machine and version.

    XXH3 (https://xxhash.com) of the UTF-8 bytes of a conversation's texts one after the other. Its seed is a sum over the messages,
    SplitMix64 of 8 times the length of the text in bytes plus the place of the role in `ROLES`, xor SplitMix64 of the message's
    place. Of two million different conversations two agree by chance once in ten million samples.

    Args:
        rows: lists of structs of `role` and `content`. What is null counts as empty.
    """
    said = pc.list_flatten(rows)
    role, content = (pc.struct_field(said, name).fill_null("") for name in ("role", "content"))
    counts = pc.list_value_length(rows).fill_null(0).to_numpy(zero_copy_only=False)
    cuts = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
    _, offsets, text = content.buffers()
    width = np.int64 if pa.types.is_large_string(content.type) else np.int32
    ends = np.frombuffer(offsets or bytes(8), dtype=width)[content.offset : content.offset + len(content) + 1].astype(
        np.int64
    )
    roles = pc.index_in(role, pa.array(ROLES, role.type)).fill_null(len(ROLES)).to_numpy()
    places = np.arange(len(content)) - np.repeat(cuts[:-1], counts)
    forms = _mixed((8 * np.diff(ends) + roles).astype(np.uint64) ^ _mixed(places.astype(np.uint64)))
    sums = np.concatenate([[np.uint64(0)], np.cumsum(forms, dtype=np.uint64)])[cuts]
    all_text, digest = memoryview(text or b""), xxhash.xxh3_64_intdigest
    with np.errstate(over="ignore"):
        seeds = (sums[1:] - sums[:-1]).tolist()
    digests = (
        digest(all_text[begin:end], seed)
        for (begin, end), seed in zip(pairwise(ends[cuts].tolist()), seeds, strict=True)
    )
    return np.fromiter(digests, dtype=np.uint64, count=len(rows))


def fingerprint_of(text: str) -> int:
    """What stands for a row that holds no conversation: where it lies."""
    return xxhash.xxh3_64_intdigest(text.encode())


def ranks(fingerprints: np.ndarray, seed: int, purpose: int) -> np.ndarray:
    """An order by chance that nothing but content, seed and purpose decides: SplitMix64 (Steele et al., 2014) of them."""
    with np.errstate(over="ignore"):
        salt = _mixed(np.array(seed, dtype=np.uint64) ^ _mixed(np.array(purpose, dtype=np.uint64)))
        return _mixed(fingerprints ^ salt)


def _mixed(value: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
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
