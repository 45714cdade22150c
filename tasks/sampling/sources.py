"""Finds the files of each split, wherever the dataset lies. Reads none of their rows."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from io import RawIOBase
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from tasks.sampling.errors import SourceUnavailable, listed

if TYPE_CHECKING:
    from blocks.azure_ml_workspace import AzureMLWorkspace

JSON_LINES = (".jsonl", ".ndjson", ".json")
FORMATS = (".parquet", *(name + compression for name in JSON_LINES for compression in ("", ".gz", ".zst")))
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?\Z")


@dataclass(frozen=True)
class DataFile:
    """One file that holds rows."""

    name: str
    """Relative to the source, with forward slashes."""
    size: int
    open: Callable[[], RawIOBase]
    """A seekable stream. Reads of a remote file fetch the bytes that are asked for and no others."""
    remote: bool = False


@dataclass(frozen=True)
class Source:
    """A dataset's files, pinned to one state of them."""

    id: str
    revision: str
    splits: dict[str, list[DataFile]]


def resolve(
    source: str,
    splits: Iterable[str],
    *,
    revision: str | None = None,
    hub_token: str | None = None,
    workspace: "AzureMLWorkspace | None" = None,
) -> Source:
    """The files of each of `splits`.

    Raises:
        SourceUnavailable: the source or one of the splits is not there, cannot be reached or may not be read.
    """
    wanted = list(splits)
    if revision is not None and (source.startswith("azureml:") or _is_local(source)):
        raise SourceUnavailable(
            f"{source} has no revision {revision}: only datasets of the hub have. Leave revision empty."
        )
    if source.startswith("azureml:"):
        from tasks.sampling.datastore import resolve_datastore

        return resolve_datastore(source, wanted, workspace)
    if _is_local(source):
        from tasks.sampling.local import resolve_local

        return resolve_local(source, wanted)
    from tasks.sampling.hub import resolve_hub

    return resolve_hub(source, wanted, revision=revision, token=hub_token)


def by_split(
    source: str, files: list[DataFile], splits: list[str], *, chosen: bool = False
) -> dict[str, list[DataFile]]:
    """Sorts `files` into `splits` by their names.

    A file belongs to the split that its name or its folder's name gives, with or without a shard number:
    `data/train_sft-00000-of-00003.parquet`, `train_sft.jsonl.gz`, `train_sft/0000.parquet`. Where one split is asked for,
    the only file of a source belongs to it whatever its name, and so do files `chosen` one by one.

    Raises:
        SourceUnavailable: a split has no file.
    """
    readable = sorted((file for file in files if file.name.endswith(FORMATS)), key=lambda file: file.name)
    if not readable:
        raise SourceUnavailable(
            f"{source} holds no data: none of its {len(files)} files is Parquet or JSON Lines. "
            f"Give a source with files that end in {', '.join(FORMATS)}."
        )
    if len(splits) == 1 and (chosen or len(readable) == 1):
        return {splits[0]: readable}
    found = {split: [file for file in readable if _belongs(file.name, split)] for split in splits}
    if missing := [split for split, its_files in found.items() if not its_files]:
        raise SourceUnavailable(
            f"{source} has no file of the split {' or '.join(missing)}. Its files are {listed(file.name for file in readable)}. "
            "Name the splits that it has, and set the test or scoring split to none where it has none."
        )
    return found


def _belongs(name: str, split: str) -> bool:
    path = PurePosixPath(name)
    own = re.fullmatch(
        rf"{re.escape(split)}([-_.]?\d+)?(-of-\d+)?", path.name.split(".", 1)[0] if "." not in split else path.stem
    )
    return own is not None or split in path.parts[:-1]


def _is_local(source: str) -> bool:
    if Path(source).expanduser().exists() or Path(source).is_symlink():
        return True
    return HUB_ID.match(source) is None or source.endswith(FORMATS)
