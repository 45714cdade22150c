"""The columns of a chat dataset, as the trainer reads them."""

import polars as pl

from tasks.sampling.errors import UnreadableFile, listed

MESSAGE = pl.Struct({"content": pl.String, "role": pl.String})
PROMPT = "prompt"
REQUIRED = {"messages": pl.List(MESSAGE), "prompt_id": pl.String()}
"""`prompt` may be missing: it repeats the first message."""


def columns(has_prompt: bool) -> list[str]:
    """The columns of a sample, in the order they are written."""
    return [PROMPT, *REQUIRED] if has_prompt else list(REQUIRED)


def require_columns(file: str, found: set[str], *, may_have_more: bool) -> None:
    """Refuses a file that lacks a column or has one too many.

    Raises:
        UnreadableFile: with the columns' names.
    """
    if missing := REQUIRED.keys() - found:
        raise UnreadableFile(
            f"{file} has no column {' and '.join(sorted(missing))}. Its columns are {listed(sorted(found))}; "
            "a chat dataset has messages and prompt_id, and may have prompt."
        )
    extra = found - REQUIRED.keys() - {PROMPT}
    if extra and not may_have_more:
        raise UnreadableFile(
            f"{file} has columns that a chat dataset does not have: {listed(sorted(extra))}. "
            "Set extra_columns to drop to leave them out of the sample."
        )
