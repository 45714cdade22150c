"""The files of a dataset by name and size, wherever they lie, and a way to their bytes."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from io import RawIOBase


@dataclass(frozen=True)
class DataFile:
    """One file."""

    name: str
    """Relative to the source, with forward slashes."""
    size: int
    """In bytes."""
    open: Callable[[], RawIOBase]
    """A seekable stream. Reads of a remote file fetch the bytes that are asked for and no others."""
    remote: bool = False
    version: str | None = None
    """Stands for the file's bytes where what keeps it says so: a blob's ETag. A time of change does not."""


@dataclass(frozen=True)
class Tree:
    """All files of a source."""

    id: str
    files: list[DataFile]
    commit: str | None = None
    """Of the hub."""
    chosen: bool = False
    """Whether a person named each file (one file, or a glob), so that their names need not say to which split they belong."""

    folder: str = ""
    """What the folder is called that holds them, where the id does not say so."""

    def revision(self, splits: Mapping[str, Iterable[DataFile]]) -> str | None:
        """What stands for the bytes of these files; None where nothing does."""
        if self.commit is not None:
            return self.commit
        state = hashlib.sha256()
        for split, files in splits.items():
            for file in files:
                if file.version is None:
                    return None
                state.update(f"{split}\0{file.name}\0{file.size}\0{file.version}\n".encode(errors="surrogateescape"))
        return f"blobs-{state.hexdigest()}"
