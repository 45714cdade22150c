"""How much of a file is in memory at once, whatever its format."""

BATCH_BYTES = 16 << 20
"""Text of a batch, for files whose conversations are long."""

BATCH_ROWS = 500
"""Conversations of a batch. Twice as many take a quarter more memory, half as many a tenth more time."""


def row_bytes(max_characters: int) -> int:
    """A row of more bytes is not decoded: its conversation has more characters than may be.

    JSON writes a character in at most twelve bytes, as an escaped surrogate pair; the rest is for what else a row holds.
    """
    return 12 * max_characters + (64 << 10)
