"""What the headers of a Parquet column's pages say of its size in memory.

No library of Python's gives them, and a reader decompresses a page whole, whatever it claims to be. A header is a Thrift struct in
the compact protocol; of its fields are read: 2 the size once decompressed, 3 the size in the file, and how many values are how
encoded in 5 a page of data, 7 a dictionary, 8 a page of data of the second version.
Sources: https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift,
https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from dataclasses import dataclass
from io import RawIOBase
from struct import Struct
from typing import Any

import pyarrow as pa

from tasks.sampling.formats.bounds import PAGE_BYTES

LENGTH = Struct("<I")
HEADER_BYTES = 1 << 16
"""Read at once; a header is some dozens of bytes, and with statistics of long texts a few thousand."""
STOP, TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(13)
MOST_DEPTH = 8
DATA, DICTIONARY, DATA_2 = 5, 7, 8
CODECS = ("snappy", "gzip", "zstd", "brotli")
"""Those that Parquet and Arrow mean the same by."""
BY_DICTIONARY = (2, 8)
"""The encodings whose values are places in the chunk's dictionary."""
DAMAGED = "a page's header is damaged"


class PageTooLarge(Exception):
    """A page is larger than may be."""

    def __init__(self, size: int) -> None:
        self.size = size


@dataclass(frozen=True)
class Pages:
    """A column chunk's."""

    dictionary: int
    """In bytes; 0 without one."""
    longest: int
    """Bytes that a text has at least: the dictionary's longest, or the most that those of a page have on average."""
    by_dictionary: int
    """At most how many bytes the texts have that are places in the dictionary, which holds each of them once."""


def pages_of(stream: RawIOBase, chunk: Any, file_size: int) -> Pages:
    """The sizes of the column chunk's pages.

    Args:
        chunk: pyarrow's `ColumnChunkMetaData`.

    Raises:
        PageTooLarge: a page is larger than may be.
        ValueError: a header or a dictionary is none.
    """
    at = _start(chunk)
    end = at + chunk.total_compressed_size
    if at < 0 or end > file_size:
        raise ValueError(DAMAGED)
    dictionary = coded = in_dictionary = longest = 0
    while at < end:
        header = _header(stream, at, end)
        if max(header.decompressed, header.compressed) > PAGE_BYTES:
            raise PageTooLarge(max(header.decompressed, header.compressed))
        if header.kind == DICTIONARY:
            dictionary = header.decompressed
            in_dictionary = _longest_text(stream, at + header.length, header, chunk.compression.lower())
        elif header.encoding in BY_DICTIONARY:
            coded += header.values
        else:
            longest = max(longest, header.decompressed // max(1, header.values))
        at += header.length + header.compressed
    return Pages(dictionary, max(longest, in_dictionary), coded * in_dictionary)


def dictionary_bytes(stream: RawIOBase, chunk: Any, file_size: int) -> int:
    """The size of the chunk's dictionary; 0 without one. Only its header is read.

    Raises:
        ValueError: the header is none.
    """
    header = _header(stream, _start(chunk), file_size)
    return header.decompressed if header.kind == DICTIONARY else 0


def _start(chunk: Any) -> int:
    dictionary = [chunk.dictionary_page_offset] if chunk.has_dictionary_page else []
    return int(min([chunk.data_page_offset, *dictionary]))


def _header(stream: RawIOBase, at: int, end: int) -> "_Header":
    if not 0 <= at < end:
        raise ValueError(DAMAGED)
    stream.seek(at)
    return _Header(stream.read(min(HEADER_BYTES, end - at)) or b"")


def _longest_text(stream: RawIOBase, at: int, header: "_Header", codec: str) -> int:
    """In bytes, of a dictionary's page: texts of which each stands behind its length. Where it cannot be told, the page's size."""
    stream.seek(at)
    page = stream.read(header.compressed) or b""
    if codec in CODECS:
        page = pa.decompress(page, header.decompressed, codec, asbytes=True)
    elif codec != "uncompressed":
        return header.decompressed
    at = longest = 0
    while at + 4 <= len(page):
        (length,) = LENGTH.unpack_from(page, at)
        at += 4 + length
        if length > longest:
            longest = length
    return longest


class _Header:
    """A page's header at the beginning of some bytes."""

    decompressed: int
    compressed: int

    def __init__(self, data: bytes) -> None:
        """Reads it.

        Raises:
            ValueError: it is none.
        """
        self._data = data
        self.length = 0
        fields = self._struct(0)
        try:
            self.decompressed, self.compressed = fields[2], fields[3]
            self.kind = next(kind for kind in (DATA, DICTIONARY, DATA_2) if kind in fields)
            self.values = fields[self.kind][1]
            self.encoding = fields[self.kind][4 if self.kind == DATA_2 else 2]
        except (KeyError, StopIteration):
            raise ValueError(DAMAGED) from None
        if self.decompressed < 0 or self.compressed < 0:
            raise ValueError(DAMAGED)

    def _struct(self, depth: int) -> dict[int, Any]:
        """Those of its fields that are whole numbers or structs, by number."""
        if depth > MOST_DEPTH:
            raise ValueError(DAMAGED)
        found: dict[int, Any] = {}
        number = 0
        while (byte := self._byte()) != STOP:
            step, kind = byte >> 4, byte & 15
            number = number + step if step else self._zigzag()
            value = self._value(kind, depth)
            if value is not None:
                found[number] = value
        return found

    def _value(self, kind: int, depth: int) -> Any:
        if kind in (TRUE, FALSE):
            return None
        if kind in (I16, I32, I64):
            return self._zigzag()
        if kind == STRUCT:
            return self._struct(depth + 1)
        if kind in (LIST, SET):
            size = self._byte()
            inner, count = size & 15, size >> 4 if size >> 4 < 15 else self._number()
            for _ in range(count):
                self._value(inner if inner > FALSE else BYTE, depth + 1)
        else:
            self._skip({BYTE: 1, DOUBLE: 8}.get(kind) or self._length(kind))
        return None

    def _length(self, kind: int) -> int:
        if kind != BINARY:
            raise ValueError(DAMAGED)
        return self._number()

    def _skip(self, count: int) -> None:
        self.length += count
        if self.length > len(self._data):
            raise ValueError(DAMAGED)

    def _byte(self) -> int:
        self._skip(1)
        return self._data[self.length - 1]

    def _number(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise ValueError(DAMAGED)

    def _zigzag(self) -> int:
        value = self._number()
        return value >> 1 ^ -(value & 1)
