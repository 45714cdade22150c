"""A dataset at one state: which of its files belong to which split, wherever it lies. None of their rows is read here."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.sampling.errors import SourceUnavailable, listed
from tasks.sampling.formats.kind import kind_of
from tasks.sampling.layout import CONFIGS_PAGE, Layout, layout_of
from tasks.sampling.names import format_of, named_after, one_reader, refuse_gaps, refuse_incomplete, refuse_unlike
from tasks.sampling.tree import DataFile, Tree

if TYPE_CHECKING:
    from blocks.azure_ml_workspace import AzureMLWorkspace

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?\Z")
FILE_NAME = re.compile(r"\.(parquet|jsonl?|ndjson|csv|tsv|arrow)(\.(gz|bz2|xz|zst|lz4))?\Z")


@dataclass(frozen=True)
class Source:
    """A dataset's files, pinned to one state of them where the place that keeps them pins states."""

    id: str
    revision: str | None
    """Stands for the files' bytes: a commit, or a hash of ETags. None where nothing but the bytes themselves does."""
    subset: str
    """The configuration, as `datasets` names it."""
    readers: dict[str, str]
    """By split, `datasets`' word for the format: parquet, json, csv, arrow."""
    reader_options: dict[str, Any]
    """What the dataset card says of how the files are to be read: a separator, an encoding, a field."""
    splits: dict[str, list[DataFile]]


def resolve(
    source: str,
    splits: Iterable[str],
    *,
    subset: str | None = None,
    revision: str | None = None,
    hub_token: str | None = None,
    workspace: "AzureMLWorkspace | None" = None,
) -> Source:
    """The files of each of `splits`, as `datasets` tells them.

    Args:
        source: a hub id; a local folder, file or glob; `azureml:` or `azureml://`.
        splits: by `datasets`' names. Where the source has one split and one is asked for, its name does not matter.
        subset: a configuration of the dataset, or a folder of a source that describes none.
        revision: of a hub dataset.

    Raises:
        SourceUnavailable: the source, its subset or one of the splits is not there, cannot be reached or may not be read.
    """
    wanted = list(splits)
    tree = _tree(source, revision, hub_token, workspace)
    for file in tree.files if tree.chosen else ():
        if format_of(file.name) is None and (what := kind_of(file)):
            raise SourceUnavailable(f"{file.name} is {what}")
    layout = layout_of(tree, subset, split=wanted[0] if len(wanted) == 1 else None)
    names = {split: _names_of(tree, layout, split, alone=len(wanted) == 1) for split in wanted}
    readers = {split: one_reader(tree.id, split, its) for split, its in names.items()}
    files = {file.name: file for file in tree.files}
    found = {split: [files[name] for name in its] for split, its in names.items()}
    return Source(tree.id, tree.revision(found), layout.subset, readers, layout.options, found)


def _tree(source: str, revision: str | None, hub_token: str | None, workspace: "AzureMLWorkspace | None") -> Tree:
    if revision is not None and (source.startswith("azureml:") or _is_local(source)):
        raise SourceUnavailable(
            f"{source} has no revision {revision}: only datasets of the hub have. Leave revision empty."
        )
    if "://" in source and not source.startswith("azureml:"):
        raise SourceUnavailable(
            f"{source} is an address. Give a dataset of the hub by its id (OWNER/NAME), a data asset or datastore path of the "
            "workspace (azureml:NAME:VERSION, azureml://datastores/NAME/paths/PATH), or a path of this machine."
        )
    if source.startswith("azureml:"):
        from tasks.sampling.datastore import datastore_tree

        return datastore_tree(source, workspace)
    if _is_local(source):
        from tasks.sampling.local import local_tree

        return local_tree(source)
    from tasks.sampling.hub import hub_tree

    return hub_tree(source, revision=revision, token=hub_token)


def _names_of(tree: Tree, layout: Layout, split: str, *, alone: bool) -> list[str]:
    """The files of `split`; `alone` says that no other is asked for."""
    described = layout.described
    if split in layout.splits:
        names = layout.splits[split]
    elif not described and (called_so := named_after(split, [file.name for file in tree.files], layout.folder)):
        names, described = called_so, True
    elif alone and list(layout.splits) == ["train"]:
        # What `datasets` calls the one split of files that name none.
        split, names = "train", layout.splits["train"]
    else:
        told = "; ".join(f"{split} ({listed(files)})" for split, files in layout.splits.items())
        raise SourceUnavailable(
            f"{tree.id} has no split {split}. Its splits, as `datasets` finds them, are {told}. Name those that it "
            "has, and set the test or scoring split to null where it has none. Where a file belongs to another split than its "
            "name says, tell so in the `configs` of a README.md beside the files "
            f"({CONFIGS_PAGE})."
        )
    if not described:
        refuse_unlike(tree.id, split, names)
        refuse_gaps(tree.id, split, names)
    if not tree.chosen:
        refuse_incomplete(tree.id, split, names)
    return names


def _is_local(source: str) -> bool:
    try:
        if Path(source).expanduser().exists() or Path(source).is_symlink():
            return True
    except (OSError, ValueError, RuntimeError):  # too long for a path, or of a user who is not there
        return True
    return HUB_ID.match(source) is None or FILE_NAME.search(source) is not None
