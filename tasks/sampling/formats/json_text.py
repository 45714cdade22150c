"""Rows of JSON: one a line, or one array of them; plain or compressed, read as strictly as the JSON standard allows."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.sampling.conversations import SHAREGPT_COLUMNS, BadRow, RawRow
from tasks.sampling.errors import CARD, NOT_UTF8, Finding, UnreadableFile, excerpt, too_long
from tasks.sampling.formats.bounds import row_bytes
from tasks.sampling.formats.compressed import CHUNK_BYTES, Stream, decompressed, require_kind
from tasks.sampling.formats.kind import BYTE_ORDER_MARK
from tasks.sampling.tree import DataFile

SPACE = b" \t\r\n"
OTHER_ARRAYS = frozenset(
    {"messages", "tools", "functions", "system", "history", "contents", "chosen", "rejected", *SHAREGPT_COLUMNS}
)
"""Arrays of objects that a single row may have."""
_IN_TEXT = re.compile(rb'["\\]')
_OUTSIDE = re.compile(rb'["{}\[\],]')

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Text:
    """A row's JSON; None where it is longer than a row may be."""

    number: int
    size: int
    text: bytes | None
    ended: bool = True
    """Whether what ends a row follows: only of the last line of a file it may not."""


class JsonReader:
    """One file of rows in JSON."""

    def __init__(
        self, file: DataFile, max_characters: int, encoding: str | None = None, on_error: str = "strict"
    ) -> None:
        """Counts the file's rows.

        Args:
            encoding: of the text, and what is done (`codecs`' word) with bytes that are not of it; None: UTF-8, row by row.

        Raises:
            UnreadableFile: it is damaged, or something else.
        """
        self._file = file
        self._encoding, self._on_error = encoding, on_error
        self._max_characters = max_characters
        self._most_bytes = row_bytes(max_characters)
        self.rows = 0
        self.columns: list[str] = []
        self.below: str | None = None
        """Where the file is one object: the key below which it has an array of objects."""
        require_kind(file)
        self._begins = False
        """Whether the first row is an object."""
        last: _Text | None = None
        for last in self._texts():
            self.rows += 1
            if not self.columns and last.text is not None:
                self.columns, self.below = _keys(last.text)
                self._begins = self.rows == 1 and bool(self.columns)
        self._require_json(last)

    def read(self, indices: np.ndarray) -> Iterator[RawRow]:
        """The rows at `indices`, which rise."""
        wanted = iter(indices.tolist())
        sought = next(wanted, None)
        for index, text in enumerate(self._texts()):
            if sought is None:
                break
            if index == sought:
                sought = next(wanted, None)
                yield self._parsed(index, text)

    def _parsed(self, index: int, text: _Text) -> RawRow:
        try:
            if text.text is None:
                raise BadRow(too_long(self._max_characters), f"{text.size} bytes")
            return RawRow(index, text.number, text.size, row=_row(text.text))
        except BadRow as bad:
            finding = Finding(self._file.name, text.number, bad.rule, excerpt(bad.value))
            return RawRow(index, text.number, text.size, finding=finding)

    @contextmanager
    def _text(self) -> Iterator[Stream]:
        """The file's bytes, decompressed and in UTF-8."""
        with decompressed(self._file) as stream:
            if self._encoding is None:
                yield stream
                return
            try:
                yield _AsUtf8(stream, self._encoding, self._on_error)
            except (LookupError, UnicodeError) as error:
                raise UnreadableFile(
                    f"{self._file.name} cannot be read with encoding {self._encoding!r}, as the dataset card says. Mend its "
                    "`configs`."
                ) from error

    def _texts(self) -> Iterator[_Text]:
        """The rows' texts. Blank lines are none."""
        with self._text() as stream:
            head = stream.read(CHUNK_BYTES).removeprefix(BYTE_ORDER_MARK)
            if head.lstrip(SPACE).startswith(b"["):
                yield from _elements(self._file.name, head.lstrip(SPACE), stream, self._most_bytes)
            else:
                yield from _lines(head, stream, self._most_bytes)

    def _require_json(self, last: _Text | None) -> None:
        """Refuses a file that is no JSON as a whole: of which no row is, or which breaks off."""
        name = self._file.name
        if self.rows > 1 and not self._begins and self._is_one_object():
            raise UnreadableFile(
                f"{name} is one JSON object over several lines. Write each row on a line of its own, or all of them as one "
                f"array; where they are an array below a key, say so (field: KEY) in the {CARD}."
            )
        if self.rows and not self.columns:
            first = self._parsed(0, next(self._texts()))
            fault = f"{first.finding.rule}: {first.finding.excerpt}" if first.finding else "has no key"
            raise UnreadableFile(
                f"{name} is not JSON, nor JSON Lines: none of its {self.rows} rows is an object, the first {fault}. Copy it again "
                "from its origin, or write each row on a line of its own."
            )
        if last is not None and last.text is not None and not last.ended and not _is_json(last.text):
            end = last.text[-60:].rstrip(bytes(1)) or last.text[-20:]
            raise UnreadableFile(
                f"{name} breaks off in row {last.number}: {excerpt(end)}. Copy it again from its origin."
            )

    def _is_one_object(self) -> bool:
        with self._text() as stream:
            head = stream.read(CHUNK_BYTES).removeprefix(BYTE_ORDER_MARK).lstrip(SPACE)
        try:
            found, end = json.JSONDecoder().raw_decode(head.decode(errors="replace"))
        except (ValueError, RecursionError):
            return False
        return isinstance(found, dict) and end > head.find(b"\n") > 0


class _AsUtf8:
    """A stream of text in another encoding."""

    def __init__(self, stream: Stream, encoding: str, on_error: str) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder(encoding)(on_error)

    def read(self, size: int) -> bytes:
        """About `size` bytes; none at the end."""
        while True:
            data = self._stream.read(size)
            if (text := self._decoder.decode(data, final=not data)) or not data:
                return text.encode()


def _lines(head: bytes, stream: Stream, most_bytes: int) -> Iterator[_Text]:
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
        yield _Text(number, size, text if size <= most_bytes else None, ended=False)


def _elements(file: str, head: bytes, stream: Stream, most_bytes: int) -> Iterator[_Text]:
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


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text.decode())
    except (ValueError, RecursionError):
        return False
    return True


def _keys(text: bytes) -> tuple[list[str], str | None]:
    """Of a row that is an object, whatever else may be wrong with it; and of those the first that holds an array of objects."""
    try:
        row = json.loads(text.decode(errors="replace"))
    except (ValueError, RecursionError):
        return [], None
    if not isinstance(row, dict):
        return [], None
    arrays = [key for key, value in row.items() if isinstance(value, list) and value and isinstance(value[0], dict)]
    arrays = [key for key in arrays if key not in OTHER_ARRAYS]
    # Without any key it has the one that is missed.
    return list(row) or ["messages"], next(iter(arrays), None)


def _row(line: bytes) -> Row:
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise BadRow(NOT_UTF8, line[max(0, error.start - 20) : error.end + 20]) from error
    try:
        row = json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        at, fault = getattr(error, "pos", 0), getattr(error, "msg", "nested too deep").lower().removesuffix(" at")
        rule = f"is not JSON at character {at + 1} ({'a byte order mark' if 'bom' in fault else fault})"
        raise BadRow(rule, text[max(0, at - 30) : at + 50]) from error
    if not isinstance(row, dict):
        raise BadRow("is no JSON object", text)
    return row


def _no_constant(name: str) -> Any:
    raise BadRow(f"has {name}, which JSON has not", name)


def _object(pairs: list[tuple[str, Any]]) -> Row:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise BadRow("has a key twice", ", ".join(key for key, _ in pairs))
    return made
