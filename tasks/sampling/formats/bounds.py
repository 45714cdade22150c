"""How much of a file is in memory at once, whatever its format."""

BATCH_BYTES = 4 << 20
"""Text of a batch. Twice as much takes a quarter more memory, half as much a tenth more time."""

BATCH_ROWS = 16384
"""Conversations of a batch, where they are short: each batch costs some milliseconds, however few rows it has."""

PAGE_BYTES = 64 << 20
"""A page of Parquet is decompressed whole. Writers end one at about a megabyte, but look only every thousand values or so."""

DICTIONARY_BYTES = 24 << 20
"""A dictionary of Parquet that is kept as one is held five times over while it is read."""

TEXT_BYTES = 16 << 20
"""A text as long as this is no part of a conversation, and is not decoded to find that out."""

REPEATED_BYTES = 32 << 20
"""What the places in a dictionary may stand for, and still be read as texts: a quarter faster than as a dictionary."""


def row_bytes(max_characters: int) -> int:
    """A row of more bytes is not decoded: its conversation has more characters than may be.

    JSON writes a character in at most twelve bytes, as an escaped surrogate pair; the rest is for what else a row holds.
    """
    return 12 * max_characters + (64 << 10)
