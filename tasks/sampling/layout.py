"""Which file belongs to which split: what `datasets` says, and nothing that is guessed here.

`datasets` looks at names and at the dataset card, never at rows. So it is shown an outline of the source, a folder of empty
files under the same names with the card's own text, and one way serves the hub, Azure's storage and this machine.
"""

import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Any

from tasks.sampling.errors import SourceUnavailable, listed
from tasks.sampling.names import format_of
from tasks.sampling.tree import DataFile, Tree

CARDS = ("README.md", ".huggingface.yaml", "dataset_infos.json")
"""What `datasets` reads of a repository beside its data."""
MOST_CARD_BYTES = 8 << 20


@dataclass(frozen=True)
class Layout:
    """Splits of one configuration."""

    subset: str
    described: bool
    """Whether a person said which files are which split, in a card or by naming them."""
    options: dict[str, Any]
    """The reader's settings that the card gives."""
    splits: dict[str, list[str]]
    """Names of the files, in the order `datasets` reads them."""


def layout_of(tree: Tree, subset: str | None, *, split: str | None = None) -> Layout:
    """What `datasets` finds in `tree`.

    Args:
        subset: the configuration; may be None where there is one only, or where the card names a default. Where no card
            describes configurations, a folder.
        split: where the files were chosen by name, the split that all of them are.

    Raises:
        SourceUnavailable: there is no data, no such subset, or no telling which file is meant.
    """
    if saved := _saved_to_disk(tree, subset):
        return saved
    if tree.chosen and split is not None:
        if subset is not None:
            raise SourceUnavailable(
                f"{tree.id} has no subset {subset}: it is files chosen by name. Leave subset empty."
            )
        names = [file.name for file in tree.files]
        return Layout("default", True, {}, {split: names})
    with tempfile.TemporaryDirectory(prefix="outline-") as folder:
        outline = Path(folder, "dataset")
        described = _draw(tree, outline)
        return _found(tree, outline, subset, described)


def _draw(tree: Tree, outline: Path) -> bool:
    """Writes the outline; says whether a card in it names files."""
    cards: dict[str, bytes] = {}
    outline.mkdir()
    for file in tree.files:
        path = outline / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        if file.name in CARDS:
            cards[file.name] = _text(file)
            path.write_bytes(cards[file.name])
        else:
            path.touch()
    return _card_names_files(tree.id, outline)


def _text(file: DataFile) -> bytes:
    if file.size > MOST_CARD_BYTES:
        raise SourceUnavailable(
            f"{file.name} is no dataset card: it has {file.size:,} bytes. Remove it from the dataset."
        )
    with file.open() as stream:
        return stream.readall()


def _card_names_files(source: str, outline: Path) -> bool:
    """Whether the card names files; those that lie elsewhere are not the dataset's."""
    from huggingface_hub import DatasetCard

    card = outline / "README.md"
    if not card.is_file():
        return (outline / ".huggingface.yaml").is_file()
    try:
        configs = DatasetCard.load(card, ignore_metadata_errors=False).data.to_dict().get("configs") or []
    except Exception as error:  # YAML's errors, and ValueError for what it holds
        raise SourceUnavailable(
            f"The dataset card of {source}, README.md, cannot be read: {_first_line(error)}. Mend the YAML between its "
            "two lines of three dashes."
        ) from error
    for named in _strings(configs):
        if "://" in named or named.startswith(("/", "~")) or ".." in PurePosixPath(named).parts:
            raise SourceUnavailable(
                f"The dataset card of {source} names {named}, which is not a file of the dataset. Copy it there, or "
                "take it out of the card's `configs`."
            )
    return bool(configs)


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)


def _found(tree: Tree, outline: Path, subset: str | None, described: bool) -> Layout:
    with _quiet_datasets() as datasets:
        try:
            folder = _subset_folder(outline, subset) if not described else None
            name = None if folder else _subset(tree.id, str(outline), subset, datasets)
            builder = datasets.load_dataset_builder(
                str(outline), name=name, data_dir=folder, cache_dir=str(outline.parent / "cache")
            )
        except SourceUnavailable:
            raise
        except Exception as error:  # `datasets` raises whatever its parts raise
            raise SourceUnavailable(_explained(tree, described, error)) from error
    splits: dict[str, list[str]] = {}
    for split, paths in (builder.config.data_files or {}).items():
        # A name may fit two patterns of a split; its rows are wanted once.
        splits[str(split)] = list(dict.fromkeys(Path(path).relative_to(outline).as_posix() for path in paths))
    if not splits:
        raise SourceUnavailable(_no_data(tree))
    if not described:
        splits = _with_those_passed_over(outline, folder, splits)
    options = {
        field.name: getattr(builder.config, field.name)
        for field in fields(builder.config)
        if field.name not in ("name", "version", "data_dir", "data_files", "description", "features")
    }
    return Layout(folder or builder.config.name, described, options, splits)


def _subset_folder(outline: Path, subset: str | None) -> str | None:
    """`subset` where it is a folder of a source whose card names none."""
    if subset is None or subset in (".", "..") or not (outline / subset).is_dir():
        return None
    return subset


def _subset(source: str, outline: str, subset: str | None, datasets: Any) -> str | None:
    names = datasets.get_dataset_config_names(outline)
    told = f"{source} has {len(names)} subsets: {listed(names)}"
    if subset is not None and subset not in names:
        if names == ["default"]:
            raise SourceUnavailable(f"{source} has no subset {subset}: it has none. Leave subset empty.")
        raise SourceUnavailable(f"{told}; there is none called {subset}. Name one of them in subset.")
    if subset is None and len(names) > 1:
        default = datasets.get_dataset_default_config_name(outline)
        if default is None:
            raise SourceUnavailable(f"{told}. Name the one that is meant in subset.")
        return str(default)
    return subset


@contextmanager
def _quiet_datasets() -> Iterator[Any]:
    """`datasets`, which else tells of every card that is missing."""
    import datasets
    from huggingface_hub.utils import logging as hub_logging

    verbosity = datasets.logging.get_verbosity(), hub_logging.get_verbosity()
    datasets.logging.set_verbosity_error()
    hub_logging.set_verbosity_error()
    try:
        yield datasets
    finally:
        datasets.logging.set_verbosity(verbosity[0])
        hub_logging.set_verbosity(verbosity[1])


def _explained(tree: Tree, described: bool, error: Exception) -> str:
    from datasets.exceptions import DataFilesNotFoundError

    said = _first_line(error)
    if isinstance(error, FileNotFoundError | DataFilesNotFoundError):
        if not described:
            return _no_data(tree)
        return (
            f"The dataset card of {tree.id} names files that are not there. Mend its `configs`, or add the files. Its files are "
            f"{listed(file.name for file in tree.files)}."
        )
    if "same data file format" in said:
        kinds = Counter(suffix for file in tree.files if (suffix := format_of(file.name)))
        told = ", ".join(f"{count} of {suffix}" for suffix, count in kinds.most_common())
        return (
            f"The splits of {tree.id} are in different formats: {told}. Write all of them in one, or name one file or a glob "
            "as the source."
        )
    if "scripts" in said:
        return (
            f"{tree.id} is read by a script of its own, which is not run here. Export its rows to Parquet or JSON Lines, and "
            "give those as the source."
        )
    if error.__class__.__name__ == "BadZipFile" or any(file.name.endswith(".zip") for file in tree.files):
        return f"{tree.id} keeps its rows in a zip archive. Unpack it, and give the folder as the source."
    return (
        f"`datasets` cannot tell which files of {tree.id} are which split: {said}. Describe them in the `configs` of its "
        "README.md, or name one file or a glob as the source."
    )


def _no_data(tree: Tree) -> str:
    if not tree.files:
        return f"{tree.id} holds no data: there is no file. Check the path."
    return (
        f"{tree.id} holds no data: none of its {len(tree.files)} files is Parquet, JSON Lines, JSON, CSV or Arrow. They are "
        f"{listed(file.name for file in tree.files)}."
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


def _with_those_passed_over(outline: Path, folder: str | None, splits: dict[str, list[str]]) -> dict[str, list[str]]:
    """The splits, with the files of other formats of which `datasets` would take the commonest and pass over the rest."""
    from datasets.data_files import DataFilesDict, get_data_patterns

    base = (outline / (folder or "")).resolve()
    every = DataFilesDict.from_patterns(get_data_patterns(str(base)), base_path=str(base))
    found = dict(splits)
    for split, paths in every.items():
        names = [Path(path).relative_to(outline.resolve()).as_posix() for path in paths]
        passed_over = [name for name in names if format_of(name) and name not in splits.get(str(split), [])]
        if passed_over:
            found[str(split)] = [*found.get(str(split), []), *passed_over]
    return found


def _saved_to_disk(tree: Tree, subset: str | None) -> Layout | None:
    """The splits of a folder that `datasets`' `save_to_disk` wrote; None for any other."""
    files = {file.name: file for file in tree.files}
    if "dataset_dict.json" in files:
        splits = {split: f"{split}/" for split in _json(files["dataset_dict.json"]).get("splits", [])}
    elif "state.json" in files and "dataset_info.json" in files:
        splits = {str(_json(files["state.json"]).get("_split") or "train"): ""}
    else:
        return None
    if subset is not None:
        raise SourceUnavailable(
            f"{tree.id} has no subset {subset}: it was written by save_to_disk. Leave subset empty."
        )
    found: dict[str, list[str]] = {}
    for split, folder in splits.items():
        state = files.get(f"{folder}state.json")
        names = [folder + str(entry["filename"]) for entry in _json(state)["_data_files"]] if state else []
        if missing := [name for name in names or [f"{folder}state.json"] if name not in files]:
            raise SourceUnavailable(
                f"{tree.id} was written by save_to_disk and is incomplete: {listed(missing)} is missing. Copy it again."
            )
        found[split] = names
    return Layout("default", True, {}, found)


def _json(file: DataFile) -> dict[str, Any]:
    try:
        found = json.loads(_text(file))
    except ValueError as error:
        raise SourceUnavailable(f"{file.name} is no JSON: {_first_line(error)}. Copy the dataset again.") from error
    if not isinstance(found, dict):
        raise SourceUnavailable(f"{file.name} is no JSON object. Copy the dataset again.")
    return found
