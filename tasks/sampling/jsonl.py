"""Rows of a JSON Lines file, plain or compressed, read as strictly as the JSON standard allows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from tasks.sampling.errors import Finding, UnreadableFile, excerpt
from tasks.sampling.reading import BATCH_BYTES, BATCH_ROWS, Batch
from tasks.sampling.schema import MESSAGE, PROMPT, REQUIRED, columns, require_columns
from tasks.sampling.sources import DataFile

CHUNK_BYTES = 4 << 20
"""Read at once. A remote file is fetched in such pieces."""
MAX_LINE_BYTES = 64 << 20
"""No conversation is this long: such a line means that the file is something else."""

COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}


@dataclass(frozen=True, slots=True)
class _Line:
    """A line's row, or what is wrong with it."""

    index: int
    number: int
    row: dict[str, Any] | None = None
    finding: Finding | None = None


class JsonLinesReader:
    """One JSON Lines file of conversations."""

    def __init__(self, file: DataFile, may_have_more: bool) -> None:
        self._file = file
        self._may_have_more = may_have_more
        self.rows = 0
        first: dict[str, Any] | None = None
        for _, line in self._lines():
            self.rows += 1
            if first is None:
                first = _first_object(line)
        self.has_prompt = first is None or PROMPT in first
        if first is not None:
            require_columns(file.name, set(first), may_have_more=may_have_more)

    def ids(self, rows: int) -> Iterator[pl.Series]:
        """The `prompt_id` of the first `rows` rows; null where the row cannot be read."""
        for lines in self._parsed(np.arange(rows)):
            yield pl.Series("prompt_id", [line.row and line.row["prompt_id"] for line in lines], pl.String)

    def read(self, indices: np.ndarray) -> Iterator[Batch]:
        """The rows at `indices`, which rise."""
        types = {PROMPT: pl.String(), **REQUIRED}
        schema = {name: types[name] for name in columns(self.has_prompt)}
        for lines in self._parsed(indices):
            good = [line for line in lines if line.row is not None]
            yield Batch(
                self._file.name,
                np.array([line.number for line in good], dtype=np.int64),
                np.array([line.index for line in good], dtype=np.int64),
                pl.DataFrame([line.row for line in good], schema),
                [line.finding for line in lines if line.finding is not None],
            )

    def close(self) -> None:
        """Every pass over the file opens and closes it."""

    def _parsed(self, indices: np.ndarray) -> Iterator[list[_Line]]:
        """The lines at `indices`, in batches."""
        batch: list[_Line] = []
        size = 0
        wanted = iter(indices.tolist())
        sought = next(wanted, None)
        for index, (number, text) in enumerate(self._lines()):
            if sought is None:
                break
            if index < sought:
                continue
            sought = next(wanted, None)
            batch.append(self._parse(index, number, text))
            size += len(text)
            if len(batch) == BATCH_ROWS or size >= BATCH_BYTES:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch

    def _parse(self, index: int, number: int, text: bytes) -> _Line:
        try:
            return _Line(index, number, row=_row(text, self.has_prompt, self._may_have_more))
        except _BadRow as bad:
            return _Line(index, number, finding=Finding(self._file.name, number, bad.rule, excerpt(bad.value)))

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        """Lines that are not blank, with their numbers. Only a line feed ends a line: U+2028 is text."""
        suffix = "." + self._file.name.rsplit(".", 1)[-1]
        try:
            stream = pa.PythonFile(BufferedReader(self._file.open(), CHUNK_BYTES), mode="r")
            if suffix in COMPRESSIONS:
                stream = pa.CompressedInputStream(stream, COMPRESSIONS[suffix])
            with stream:
                yield from self._split(stream)
        except (pa.ArrowException, OSError) as error:
            raise UnreadableFile(f"{self._file.name} is damaged: {error}. Copy it again from its origin.") from error

    def _split(self, stream: pa.NativeFile) -> Iterator[tuple[int, bytes]]:
        number, pieces = 1, [b""]
        while chunk := stream.read(CHUNK_BYTES):
            piece, *lines = chunk.split(b"\n")
            pieces.append(piece)
            for following in lines:
                if (line := b"".join(pieces)).strip():
                    yield number, line
                number, pieces = number + 1, [following]
            if sum(map(len, pieces)) > MAX_LINE_BYTES:
                raise UnreadableFile(
                    f"{self._file.name}, line {number} is longer than {MAX_LINE_BYTES >> 20} MiB. "
                    "Write one conversation a line."
                )
        if (line := b"".join(pieces)).strip():
            yield number, line


class _BadRow(Exception):
    def __init__(self, rule: str, value: object) -> None:
        self.rule, self.value = rule, value


def _first_object(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line.removeprefix(b"\xef\xbb\xbf"))
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def _row(line: bytes, has_prompt: bool, may_have_more: bool) -> dict[str, Any]:
    """The line's conversation, with the known columns only. Missing values are null, for the checks to find."""
    try:
        text = line.removeprefix(b"\xef\xbb\xbf").decode()
    except UnicodeDecodeError as error:
        raise _BadRow("is not UTF-8", line[max(0, error.start - 20) : error.end + 20]) from error
    try:
        row = json.loads(text, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise _BadRow("is not JSON", text) from error
    if not isinstance(row, dict):
        raise _BadRow("is no JSON object", text)
    known = {name: row.pop(name, None) for name in columns(has_prompt)}
    if row and not may_have_more:
        raise _BadRow("has unknown keys", ", ".join(row))
    for name in known.keys() - {"messages"}:
        _require_text(name, known[name])
    if known["messages"] is not None:
        known["messages"] = _messages(known["messages"], may_have_more)
    return known


def _messages(messages: object, may_have_more: bool) -> list[dict[str, Any] | None]:
    if not isinstance(messages, list):
        raise _BadRow("messages is no list", messages)
    return [None if message is None else _message(message, may_have_more) for message in messages]


def _message(message: object, may_have_more: bool) -> dict[str, Any]:
    if not isinstance(message, dict):
        raise _BadRow("a message is no object", message)
    known = {field.name: message.get(field.name) for field in MESSAGE.fields}
    if message.keys() - known.keys() and not may_have_more:
        raise _BadRow("a message has unknown keys", ", ".join(message.keys() - known.keys()))
    for name, value in known.items():
        _require_text(name, value)
    return known


def _require_text(name: str, value: object) -> None:
    if value is None:
        return
    if not isinstance(value, str):
        raise _BadRow(f"{name} is no text", value)
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise _BadRow(
            f"{name} has half a surrogate pair, which is no character", value[max(0, error.start - 20) :]
        ) from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise _BadRow("has a key twice", ", ".join(key for key, _ in pairs))
    return made
