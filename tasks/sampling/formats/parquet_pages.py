"""The sizes of a Parquet column's pages, read from their headers.

No library of Python's gives them, and a reader decompresses a page whole, whatever it claims to be. A header is a Thrift struct in
the compact protocol; of it the first fields are read: 1 the type, 2 the size once decompressed, 3 the size in the file.
Sources: https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift,
https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from io import RawIOBase
from typing import Any

HEADER_BYTES = 1 << 16
"""Read at once; a header is some dozens of bytes, and with statistics of long texts a few thousand."""
STOP, TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(13)
MOST_DEPTH = 8
DAMAGED = "a page's header is damaged"


class PageTooLarge(Exception):
    """A page is larger than may be."""

    def __init__(self, size: int) -> None:
        self.size = size


def largest_page(stream: RawIOBase, chunk: Any, file_size: int, most_bytes: int) -> int:
    """The size in bytes of the column chunk's largest page.

    Args:
        chunk: pyarrow's `ColumnChunkMetaData`.

    Raises:
        PageTooLarge: a page is larger than `most_bytes`.
        ValueError: a header is none.
    """
    starts = [chunk.data_page_offset, *([chunk.dictionary_page_offset] if chunk.has_dictionary_page else [])]
    at = min(starts)
    end = at + chunk.total_compressed_size
    if at < 0 or end > file_size:
        raise ValueError(DAMAGED)
    largest = 0
    while at < end:
        stream.seek(at)
        header = _Header(stream.read(min(HEADER_BYTES, end - at)) or b"")
        decompressed, compressed = header.sizes()
        largest = max(largest, decompressed, compressed)
        if largest > most_bytes:
            raise PageTooLarge(largest)
        at += header.length + compressed
    return largest


class _Header:
    """A page's header at the beginning of some bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.length = 0

    def sizes(self) -> tuple[int, int]:
        """Of the page decompressed, and as it lies in the file."""
        found = self._struct(0)
        try:
            decompressed, compressed = found[2], found[3]
        except KeyError:
            raise ValueError(DAMAGED) from None
        if decompressed < 0 or compressed < 0:
            raise ValueError(DAMAGED)
        return decompressed, compressed

    def _struct(self, depth: int) -> dict[int, int]:
        """The whole numbers among its fields, by number."""
        if depth > MOST_DEPTH:
            raise ValueError(DAMAGED)
        found: dict[int, int] = {}
        number = 0
        while (byte := self._byte()) != STOP:
            step, kind = byte >> 4, byte & 15
            number = number + step if step else self._zigzag()
            value = self._value(kind, depth)
            if value is not None:
                found[number] = value
        return found

    def _value(self, kind: int, depth: int) -> int | None:
        if kind in (TRUE, FALSE):
            return None
        if kind in (I16, I32, I64):
            return self._zigzag()
        if kind == STRUCT:
            self._struct(depth + 1)
        elif kind in (LIST, SET):
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
