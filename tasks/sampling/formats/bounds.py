"""How much of a file is in memory at once, whatever its format."""

BATCH_BYTES = 3 << 20
"""Text of a batch. Twice as much takes a quarter more memory, half as much a tenth more time."""

BATCH_ROWS = 16384
"""Conversations of a batch, where they are short: each batch costs some milliseconds, however few rows it has."""


def row_bytes(max_characters: int) -> int:
    """A row of more bytes is not decoded: its conversation has more characters than may be.

    JSON writes a character in at most twelve bytes, as an escaped surrogate pair; the rest is for what else a row holds.
    """
    return 12 * max_characters + (64 << 10)
