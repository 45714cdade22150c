"""Bytes on their way into a blob: whole ones, and blocks that wait for their list."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import shutil
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from emulator import errors

BLOCK_ID_LIMIT = 64  # bytes before the encoding, as on Azure
BLOCK_SECONDS = 7 * 24 * 3600  # a block that no list has named by then is forgotten, as on Azure
COPY_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Upload:
    """A finished file outside the containers, ready to be moved into one; `md5` is base64, "" when it was not computed."""

    path: Path
    md5: str


class Uploads:
    """A folder beside the containers, on the same file system, so that moving a file in is one step."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._discard_leftovers()

    async def receive(self, stream: AsyncIterator[bytes], *, limit: int, md5: str | None = None) -> Upload:
        """Writes a request's body to disk as it comes.

        Args:
            limit: bytes that are too many.
            md5: what the client says the base64 MD5 is.

        Raises:
            AzureError: 413, it is longer than `limit`; 400, its MD5 is another.
        """
        path = self._folder / uuid.uuid4().hex
        digest, size = hashlib.md5(usedforsecurity=False), 0
        try:
            with path.open("xb") as file:
                async for piece in stream:
                    size += len(piece)
                    if size > limit:
                        raise errors.blob_body_too_large(limit)
                    digest.update(piece)
                    file.write(piece)
            computed = base64.b64encode(digest.digest()).decode()
            if md5 is not None and not hmac.compare_digest(computed.encode(), md5.encode()):
                raise errors.md5_mismatch()
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return Upload(path, computed)

    def stage(self, container: str, name: str, block: str, upload: Upload) -> None:
        """Keeps an upload as the block `block` (base64) of a blob; it replaces an earlier one of that id."""
        folder = self._blocks(container, name)
        folder.mkdir(exist_ok=True)
        upload.path.replace(folder / _block_file(block))

    def assemble(self, container: str, name: str, blocks: Sequence[str]) -> Upload:
        """Joins staged blocks in the given order. Works on disk only; call it off the event loop.

        Raises:
            AzureError: 400 InvalidBlockList, one of them was never staged.
        """
        folder, path = self._blocks(container, name), self._folder / uuid.uuid4().hex
        sources = [folder / _block_file(block) for block in blocks]
        if not all(source.is_file() for source in sources):
            raise errors.invalid_block_list()
        try:
            with path.open("xb") as whole:
                for source in sources:
                    with source.open("rb") as part:
                        shutil.copyfileobj(part, whole, COPY_BYTES)
        except OSError:
            path.unlink(missing_ok=True)
            raise
        return Upload(path, "")

    def staged(self, container: str, name: str) -> int:
        """How many blocks wait for the blob's list."""
        folder = self._blocks(container, name)
        return sum(1 for _ in folder.iterdir()) if folder.is_dir() else 0

    def forget(self, container: str, name: str) -> None:
        """Removes the staged blocks of a blob: its content is now another."""
        shutil.rmtree(self._blocks(container, name), ignore_errors=True)

    def discard(self, upload: Upload) -> None:
        """Removes an upload that did not get into its place."""
        upload.path.unlink(missing_ok=True)

    def _discard_leftovers(self) -> None:
        """Removes what a killed emulator was receiving, and blocks that have waited too long for their list."""
        for path in self._folder.iterdir():
            if path.is_file():
                path.unlink()
            elif time.time() - path.stat().st_mtime > BLOCK_SECONDS:
                shutil.rmtree(path, ignore_errors=True)

    def _blocks(self, container: str, name: str) -> Path:
        return self._folder / ("blocks-" + hashlib.sha256(f"{container}/{name}".encode("utf-8", "replace")).hexdigest())


def check_block_id(block: str) -> None:
    """Raises:
    AzureError: 400, `block` is no block id: base64 of 1 to 64 bytes.
    """
    try:
        raw = base64.b64decode(block, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if not 0 < len(raw) <= BLOCK_ID_LIMIT:
        raise errors.invalid_query("blockid", "must be base64 of at most 64 bytes.")


def _block_file(block: str) -> str:
    return hashlib.sha256(block.encode("utf-8", "replace")).hexdigest()
