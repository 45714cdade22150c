"""Blobs: files of a container with the properties that Azure Storage keeps beside them.

A file that a job's process wrote has no record; its properties are then those of the file alone.
"""

from __future__ import annotations

import hashlib
import mimetypes
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from emulator import errors
from emulator.blob.containers import Containers
from emulator.blob.uploads import Upload
from emulator.store import Store

TYPE = "blob"
CHUNK = 256 * 1024  # bytes read at once


@dataclass(frozen=True)
class Blob:
    """A blob's properties. Times are nanoseconds since the epoch; `size` is bytes; `md5` is base64, "" when unknown."""

    name: str
    path: Path
    size: int
    modified: int
    created: int
    content_type: str
    md5: str
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def etag(self) -> str:
        """Changes with every write, as the file's time of modification does."""
        return f'"0x{self.modified:X}{self.size:X}"'


class Blobs:
    """Reads and writes blobs; the files are the truth, the store holds what a file cannot."""

    def __init__(self, containers: Containers, store: Store) -> None:
        self.containers = containers
        self._store = store

    def find(self, container: str, name: str) -> Blob | None:
        """The blob, or None; a folder is none.

        Raises:
            AzureError: the name is no blob's (see `Containers.locate`).
        """
        path = self.containers.locate(container, name)
        return None if name.endswith("/") else self._read(container, name, path)

    def get(self, container: str, name: str) -> Blob:
        """The blob.

        Raises:
            AzureError: 404 BlobNotFound, and what `find` raises.
        """
        blob = self.find(container, name)
        if blob is None:
            raise errors.blob_not_found()
        return blob

    def commit(
        self,
        container: str,
        name: str,
        upload: Upload,
        *,
        content_type: str,
        metadata: Mapping[str, str],
        overwrite: bool,
    ) -> Blob:
        """Moves what was uploaded into its place, in one step.

        Raises:
            AzureError: 409, the blob exists and `overwrite` is False, or its place is a folder; 400, see `Containers.locate`.
        """
        path = self.containers.locate(container, name)
        if name.endswith("/"):
            raise errors.invalid_uri("A blob's name cannot end with a slash here.")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if overwrite:
                upload.path.replace(path)
            else:
                os.link(upload.path, path)  # fails when it exists; a rename would not
                upload.path.unlink()
        except FileExistsError:
            if path.is_file():
                raise errors.blob_exists() from None
            raise errors.blob_path_is_folder() from None
        except (IsADirectoryError, NotADirectoryError):
            raise errors.blob_path_is_folder() from None
        self._record(
            container, name, path, {"contentType": content_type, "md5": upload.md5, "metadata": dict(metadata)}
        )
        return self.get(container, name)

    def set_metadata(self, container: str, name: str, metadata: Mapping[str, str]) -> Blob:
        """Replaces the blob's metadata; it counts as a modification."""
        blob = self.get(container, name)
        os.utime(blob.path)
        kept = {"contentType": blob.content_type, "md5": blob.md5, "created": blob.created}
        self._record(container, name, blob.path, {**kept, "metadata": dict(metadata)})
        return self.get(container, name)

    def delete(self, container: str, name: str) -> None:
        """Removes the blob, and the folders that it leaves empty: Azure has no empty folders.

        Raises:
            AzureError: 404 BlobNotFound.
        """
        blob = self.get(container, name)
        blob.path.unlink()
        self._store.delete(TYPE, _key(container, name))
        root = self.containers.folder(container)
        for folder in blob.path.parents:
            if folder == root or any(folder.iterdir()):
                return
            folder.rmdir()

    def _read(self, container: str, name: str, path: Path) -> Blob | None:
        try:
            stat = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        if not path.is_file():
            return None
        record = self._store.get(TYPE, _key(container, name)) or {}
        if record.get("modified") != stat.st_mtime_ns:
            record = {}  # a process has written the file since
        return Blob(
            name=name,
            path=path,
            size=stat.st_size,
            modified=stat.st_mtime_ns,
            created=record.get("created", stat.st_mtime_ns),
            content_type=record.get("contentType") or mimetypes.guess_type(name)[0] or "application/octet-stream",
            md5=record.get("md5", ""),
            metadata=record.get("metadata", {}),
        )

    def _record(self, container: str, name: str, path: Path, properties: dict[str, object]) -> None:
        body = {"created": time.time_ns(), **properties, "modified": path.stat().st_mtime_ns}
        self._store.put(TYPE, _key(container, name), body)


def read(blob: Blob, first: int, length: int) -> Iterator[bytes]:
    """The bytes of a blob from `first` on, `length` of them, in pieces."""
    with blob.path.open("rb") as file:
        file.seek(first)
        while length > 0 and (piece := file.read(min(CHUNK, length))):
            length -= len(piece)
            yield piece


def _key(container: str, name: str) -> str:
    # The store folds case and a blob's name must not be.
    return hashlib.sha256(f"{container}/{name}".encode("utf-8", "surrogateescape")).hexdigest()
