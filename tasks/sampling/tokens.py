"""Counts tokens with the model's own tokenizer."""

from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

import polars as pl

from tasks.sampling.errors import DatasetError
from tasks.sampling.formats.kind import HEAD_BYTES, kind_of_bytes


def tokenizer_file(tokenizer: str) -> Path:
    """The file that `tokenizer` names, itself or by its folder.

    Raises:
        DatasetError: there is none.
    """
    path = Path(tokenizer).expanduser()
    path = path / "tokenizer.json" if path.is_dir() else path
    if not path.is_file():
        raise DatasetError(f"There is no tokenizer at {path}. Name the model's tokenizer.json, or its folder.")
    return path


def token_counter(tokenizer: str) -> Callable[[pl.DataFrame], pl.Series]:
    """Counts the tokens of each row's messages, without those that a chat template adds.

    Raises:
        DatasetError: as `text_counter`.
    """
    lengths = text_counter(tokenizer)

    def count(frame: pl.DataFrame) -> pl.Series:
        rows = [
            [(message or {}).get("content") or "" for message in messages or []]
            for messages in frame["messages"].to_list()
        ]
        return pl.Series([sum(row) for row in lengths(rows)], dtype=pl.Int64)

    return count


def text_counter(tokenizer: str) -> Callable[[Sequence[Sequence[str]]], list[list[int]]]:
    """Counts the tokens of each text of each row, as it is.

    Raises:
        DatasetError: `tokenizer` is no tokenizer.json and holds none, or the package `tokenizers` is not installed.
    """
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise DatasetError(
            "Tokens are counted by the package tokenizers. Install it, or bound characters instead."
        ) from error
    path = tokenizer_file(tokenizer)
    with path.open("rb") as stream:
        if what := kind_of_bytes(stream.read(HEAD_BYTES), path.name):
            raise DatasetError(f"{path} is {what}")
    try:
        model = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises Exception itself
        raise DatasetError(f"{path} is no tokenizer. Name the model's tokenizer.json.") from error

    # A tokenizer.json remembers how it was last used: cut to a length, or padded to the longest of a batch.
    model.no_truncation()
    model.no_padding()

    def count(rows: Sequence[Sequence[str]]) -> list[list[int]]:
        try:
            encoded = model.encode_batch_fast([text for row in rows for text in row], add_special_tokens=False)
        except Exception as error:  # as above
            raise DatasetError(
                f"{path} cannot encode the rows: {error}. Name the model's own tokenizer.json."
            ) from error
        lengths = iter([len(encoding) for encoding in encoded])
        return [list(islice(lengths, len(row))) for row in rows]

    return count
