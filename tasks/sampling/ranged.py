"""A remote file of which only the bytes that are read are fetched."""

import io
import os
from collections.abc import Callable


class RangedFile(io.RawIOBase):
    """A seekable stream over something that answers for a range of bytes."""

    def __init__(self, size: int, fetch: Callable[[int, int], bytes]) -> None:
        """Args:
        size: of the whole file, in bytes.
        fetch: gives the bytes from an offset up to another, the latter excluded.
        """
        self._size = size
        self._fetch = fetch
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        end = min(self._size, self._position + len(buffer))
        if end <= self._position:
            return 0
        fetched = self._fetch(self._position, end)
        if len(fetched) != end - self._position:
            raise OSError(f"asked for {end - self._position} bytes at {self._position}, got {len(fetched)}")
        buffer[: len(fetched)] = fetched
        self._position = end
        return len(fetched)
