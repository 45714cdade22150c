"""A file's bytes, decompressed where its name says that they are compressed."""

import lzma
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from typing import Protocol, cast

import pyarrow as pa

from tasks.sampling.errors import UnreadableFile
from tasks.sampling.formats.kind import HEAD_BYTES, RENAME, kind_of, kind_of_bytes
from tasks.sampling.names import without_compression
from tasks.sampling.tree import DataFile

CHUNK_BYTES = 4 << 20
"""Read at once. A remote file is fetched in such pieces."""

CODECS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".lz4": "lz4"}
"""Arrow's; it has none for xz."""


class Stream(Protocol):
    """Something to read bytes from."""

    def read(self, size: int) -> bytes: ...


def require_kind(file: DataFile) -> None:
    """Refuses a file that is something else than its name says, outside or below its compression.

    Raises:
        UnreadableFile: with what it is.
    """
    if what := kind_of(file):
        raise UnreadableFile(f"{file.name} is {what}")
    inner = without_compression(file.name)
    if inner != file.name:
        with decompressed(file) as stream:
            head = stream.read(HEAD_BYTES)
        if what := kind_of_bytes(head, inner):
            what = what.replace(RENAME, "Decompress it once, or copy it again.")
            raise UnreadableFile(f"{file.name} is, once decompressed, {what}")


@contextmanager
def decompressed(file: DataFile) -> Iterator[Stream]:
    """The file's contents.

    Raises:
        UnreadableFile: it is damaged.
    """
    suffix = "." + file.name.lower().rsplit(".", 1)[-1]
    try:
        with file.open() as raw:
            buffered = BufferedReader(raw, CHUNK_BYTES)
            if suffix == ".xz":
                with lzma.open(buffered) as stream:
                    yield cast(Stream, stream)
            elif suffix in CODECS:
                with pa.CompressedInputStream(pa.PythonFile(buffered, mode="r"), CODECS[suffix]) as stream:
                    yield stream
            else:
                yield buffered
    except (pa.ArrowException, lzma.LZMAError, EOFError, OSError) as error:
        raise UnreadableFile(f"{file.name} is damaged: {error}. Copy it again from its origin.") from error


def chunks(file: DataFile) -> Iterator[bytes]:
    """The file's contents, a piece at a time. What goes wrong where they are put is not taken for damage of the file."""
    with decompressed(file) as stream:
        while chunk := stream.read(CHUNK_BYTES):
            yield chunk
