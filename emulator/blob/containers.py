"""Containers as folders, and blob names as paths that cannot leave them."""

from __future__ import annotations

import re
from pathlib import Path

from emulator import errors
from emulator.installation import Installation
from emulator.names import NAMES

NAME_LIMIT = 1024  # characters of a blob's name, as Azure has it
# A backslash is another's separator; control characters, lone surrogates and non-characters have no place in XML.
UNFIT = re.compile(r"[\\\x00-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
SEGMENT_LIMIT = 255  # bytes; what one file name may have on disk


class Containers:
    """The storage account's containers: `{installation.files}/{container}/{blob}` are plain files, shared with job processes."""

    def __init__(self, installation: Installation) -> None:
        self.root = installation.files
        self.default = installation.container
        guid = installation.workspace_guid
        self.file_share = f"azureml-filestore-{guid}"
        self.code_share = f"code-{guid}"
        for name in (self.default, "azureml", self.file_share, self.code_share):
            (self.root / name).mkdir(parents=True, exist_ok=True)

    def folder(self, container: str) -> Path:
        """The container's folder.

        Raises:
            AzureError: 400, no container can have this name; 404, there is none of it.
        """
        if not NAMES["containers"].takes(container):
            raise errors.invalid_uri(NAMES["containers"].refusal(container))
        folder = self.root / container
        if not folder.is_dir():
            raise errors.container_not_found()
        return folder

    def create(self, container: str) -> bool:
        """Makes a container; False when it exists."""
        if not NAMES["containers"].takes(container):
            raise errors.invalid_uri(NAMES["containers"].refusal(container))
        try:
            (self.root / container).mkdir()
        except FileExistsError:
            return False
        return True

    def names(self) -> list[str]:
        """The containers there are, in order."""
        return sorted(folder.name for folder in self.root.iterdir() if folder.is_dir())

    def locate(self, container: str, blob: str) -> Path:
        """The path of a blob, or of the folder that a blob prefix stands for ("" is the container); it need not exist.

        Raises:
            AzureError: 404, no such container; 400, a name whose path would leave it, be it by dots, by a backslash or by a
                link on disk, or that no file can have.
        """
        folder = self.folder(container)
        name = blob.removesuffix("/")
        if name and not is_blob_name(name):
            raise errors.invalid_uri(
                "The blob's name is empty, dotted or too long in a part, or has a character that none may have."
            )
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()):
            raise errors.invalid_uri("The blob's path leaves its container.")
        return path


def is_blob_name(name: str) -> bool:
    """Whether a blob can have this name: a path below its container that a file can have, and that XML can hold."""
    parts = name.split("/")
    return (
        len(name) <= NAME_LIMIT
        and not UNFIT.search(name)
        and all(part not in ("", ".", "..") and len(part.encode()) <= SEGMENT_LIMIT for part in parts)
    )
