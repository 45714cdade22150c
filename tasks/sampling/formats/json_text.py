"""Rows of JSON: one a line, or one array of them; plain or compressed, read as strictly as the JSON standard allows."""

from __future__ import annotations

import json
import lzma
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from typing import Any, Protocol, cast

import numpy as np
import pyarrow as pa

from tasks.sampling.conversations import BadRow
from tasks.sampling.errors import Finding, UnreadableFile, excerpt
from tasks.sampling.formats.kind import kind_of
from tasks.sampling.tree import DataFile

CHUNK_BYTES = 4 << 20
"""Read at once. A remote file is fetched in such pieces."""

BYTES_A_CHARACTER = 12
"""JSON writes a character in at most as many: a surrogate pair, escaped."""

COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".lz4": "lz4"}
SPACE = b" \t\r\n"
_IN_TEXT = re.compile(rb'["\\]')
_OUTSIDE = re.compile(rb'["{}\[\],]')
BYTE_ORDER_MARK = b"\xef\xbb\xbf"

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class JsonRow:
    """One row, or what is wrong with it."""

    index: int
    number: int
    """From 1: of its line, or in its array."""
    size: int
    """In bytes."""
    row: Row | None = None
    finding: Finding | None = None


@dataclass(frozen=True, slots=True)
class _Text:
    """A row's JSON; None where it is longer than a row may be."""

    number: int
    size: int
    text: bytes | None


class _Stream(Protocol):
    def read(self, size: int) -> bytes: ...


class JsonReader:
    """One file of rows in JSON."""

    def __init__(self, file: DataFile, max_characters: int) -> None:
        """Counts the file's rows.

        Raises:
            UnreadableFile: it is damaged, or something else.
        """
        self._file = file
        self._max_characters = max_characters
        self._most_bytes = BYTES_A_CHARACTER * max_characters + (64 << 10)
        self.rows = 0
        self.columns: list[str] = []
        for text in self._texts():
            self.rows += 1
            if not self.columns and text.text is not None:
                self.columns = _keys(text.text)
        if self.rows and not self.columns:
            self._refuse_other_kinds()

    def read(self, indices: np.ndarray) -> Iterator[JsonRow]:
        """The rows at `indices`, which rise."""
        wanted = iter(indices.tolist())
        sought = next(wanted, None)
        for index, text in enumerate(self._texts()):
            if sought is None:
                break
            if index == sought:
                sought = next(wanted, None)
                yield self._parsed(index, text)

    def close(self) -> None:
        """Every pass over the file opens and closes it."""

    def _parsed(self, index: int, text: _Text) -> JsonRow:
        try:
            if text.text is None:
                raise BadRow(f"more than {self._max_characters} characters", f"{text.size} bytes")
            return JsonRow(index, text.number, text.size, row=_row(text.text))
        except BadRow as bad:
            finding = Finding(self._file.name, text.number, bad.rule, excerpt(bad.value))
            return JsonRow(index, text.number, text.size, finding=finding)

    def _texts(self) -> Iterator[_Text]:
        """The rows' texts. Blank lines are none."""
        with self._opened() as stream:
            head = stream.read(CHUNK_BYTES).removeprefix(BYTE_ORDER_MARK)
            if head.lstrip(SPACE).startswith(b"["):
                yield from _elements(self._file.name, head.lstrip(SPACE), stream, self._most_bytes)
            else:
                yield from _lines(head, stream, self._most_bytes)

    @contextmanager
    def _opened(self) -> Iterator[_Stream]:
        suffix = "." + self._file.name.rsplit(".", 1)[-1]
        try:
            with self._file.open() as raw:
                buffered = BufferedReader(raw, CHUNK_BYTES)
                if suffix == ".xz":
                    with lzma.open(buffered) as stream:
                        yield cast(_Stream, stream)
                elif suffix in COMPRESSIONS:
                    with pa.CompressedInputStream(pa.PythonFile(buffered, mode="r"), COMPRESSIONS[suffix]) as stream:
                        yield stream
                else:
                    yield buffered
        except (pa.ArrowException, lzma.LZMAError, EOFError, OSError) as error:
            what = kind_of(self._file)
            raise UnreadableFile(
                f"{self._file.name} is {what}"
                if what
                else f"{self._file.name} is damaged: {error}. Copy it again from its origin."
            ) from error

    def _refuse_other_kinds(self) -> None:
        if what := kind_of(self._file):
            raise UnreadableFile(f"{self._file.name} is {what}")
        if self.rows > 1 and self._is_one_object():
            raise UnreadableFile(
                f"{self._file.name} is one JSON object over {self.rows} lines, not a row a line. Write each row on a line of "
                "its own, or all of them as one array."
            )

    def _is_one_object(self) -> bool:
        with self._opened() as stream:
            head = stream.read(CHUNK_BYTES).removeprefix(BYTE_ORDER_MARK).lstrip(SPACE)
        try:
            found, end = json.JSONDecoder().raw_decode(head.decode(errors="replace"))
        except (ValueError, RecursionError):
            return False
        return isinstance(found, dict) and end > head.find(b"\n")


def _lines(head: bytes, stream: _Stream, most_bytes: int) -> Iterator[_Text]:
    """Lines that are not blank. Only a line feed ends a line: U+2028 is text."""
    number, size, pieces = 1, 0, list[bytes]()
    chunk = head
    while chunk:
        piece, *lines = chunk.split(b"\n")
        size += len(piece)
        if size <= most_bytes:
            pieces.append(piece)
        else:
            # Its end is looked for, its text is not kept.
            pieces.clear()
        for following in lines:
            text = b"".join(pieces)
            if size > most_bytes or text.strip():
                yield _Text(number, size, text if size <= most_bytes else None)
            number, size, pieces = number + 1, len(following), [following]
        chunk = stream.read(CHUNK_BYTES)
    text = b"".join(pieces)
    if size > most_bytes or text.strip():
        yield _Text(number, size, text if size <= most_bytes else None)


def _elements(file: str, head: bytes, stream: _Stream, most_bytes: int) -> Iterator[_Text]:
    """The elements of one array, each found by its brackets: what is in a text does not count.

    Raises:
        UnreadableFile: the array does not end, or something follows it.
    """
    scanner = _ArrayScanner(most_bytes)
    chunk = head[1:]
    while chunk:
        yield from scanner.feed(chunk)
        chunk = stream.read(CHUNK_BYTES)
    if not scanner.ended:
        raise UnreadableFile(
            f"{file} is a JSON array without an end: it breaks off in row {scanner.number}. Copy it again from its origin."
        )
    if scanner.followed:
        raise UnreadableFile(f"{file} goes on after the end of its JSON array. Write one array, or one row a line.")


class _ArrayScanner:
    """Cuts an array's text into its elements as it comes."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._pieces: list[bytes] = []
        self._size = 0
        self._depth = 0
        self._in_text = self._escaped = False
        self.number = 1
        self.ended = self.followed = False

    def feed(self, chunk: bytes) -> Iterator[_Text]:
        start = place = 0
        while place < len(chunk):
            if self.ended:
                self.followed |= bool(chunk[place:].strip(SPACE))
                return
            if self._escaped:
                self._escaped = False
                place += 1
                continue
            found = (_IN_TEXT if self._in_text else _OUTSIDE).search(chunk, place)
            if found is None:
                break
            place = found.end()
            match found[0]:
                case b'"':
                    self._in_text = not self._in_text
                case b"\\":
                    self._escaped = True
                case b"{" | b"[":
                    self._depth += 1
                case b"}" | b"]" if self._depth:
                    self._depth -= 1
                case b"," if self._depth == 0:
                    self._keep(chunk[start : place - 1])
                    yield self._cut()
                    start = place
                case b"]":
                    self._keep(chunk[start : place - 1])
                    self.ended = True
                    if self.number > 1 or b"".join(self._pieces).strip(SPACE):
                        yield self._cut()
        if not self.ended:
            self._keep(chunk[start:])

    def _keep(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size <= self._most_bytes:
            self._pieces.append(piece)
        else:
            self._pieces.clear()

    def _cut(self) -> _Text:
        text = _Text(self.number, self._size, b"".join(self._pieces) if self._size <= self._most_bytes else None)
        self._pieces, self._size = [], 0
        self.number += 1
        return text


def _keys(text: bytes) -> list[str]:
    try:
        row = json.loads(text)
    except (ValueError, RecursionError):
        return []
    return list(row) if isinstance(row, dict) else []


def _row(line: bytes) -> Row:
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise BadRow("is not UTF-8", line[max(0, error.start - 20) : error.end + 20]) from error
    try:
        row = json.loads(text, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise BadRow("is not JSON", text) from error
    if not isinstance(row, dict):
        raise BadRow("is no JSON object", text)
    return row


def _object(pairs: list[tuple[str, Any]]) -> Row:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise BadRow("has a key twice", ", ".join(key for key, _ in pairs))
    return made
