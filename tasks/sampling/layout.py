"""Which file belongs to which split: what `datasets` says, and nothing that is guessed here.

`datasets` looks at names and at the dataset card, never at rows. So it is shown an outline of the source, a folder of empty
files under the same names with the card's own text, and one way serves the hub, Azure's storage and this machine.
"""

import json
import re
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Any

from tasks.sampling.errors import SourceUnavailable, listed
from tasks.sampling.names import by_the_source, format_of
from tasks.sampling.quiet import quiet_datasets
from tasks.sampling.tree import DataFile, Tree

CONFIGS_PAGE = "https://huggingface.co/docs/hub/datasets-manual-configuration"
CARDS = ("README.md", ".huggingface.yaml", "dataset_infos.json")
"""What `datasets` reads of a repository beside its data."""
MOST_CARD_BYTES = 8 << 20
MOST_CARD_VALUES = 100_000


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
    folder: str = ""
    """What their names begin with, where the subset is a folder."""


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
    with tempfile.TemporaryDirectory(prefix="outline-") as folder, quiet_datasets() as datasets:
        # By a name that no file has: `datasets` takes a script of that name for the dataset's own.
        outline = Path(folder, Path(folder).name)
        described = _draw(tree, outline)
        return _found(tree, outline, subset, described, datasets)


def _draw(tree: Tree, outline: Path) -> bool:
    """Writes the outline; says whether a card in it names files."""
    script = f"{tree.folder or PurePosixPath(tree.id.rstrip('/')).name}.py"
    if any(file.name == script for file in tree.files):
        raise SourceUnavailable(
            f"{tree.id} is read by a script of its own, {script}, which `datasets` does not run any more. Export its rows to "
            "Parquet or JSON Lines, and give those as the source."
        )
    outline.mkdir()
    for file in tree.files:
        path = PurePosixPath(file.name)
        # Storage and the hub may have names that a folder cannot have; none may lead out of the outline.
        if str(path) != file.name or path.is_absolute() or ".." in path.parts or "\0" in file.name:
            raise _unfit(tree.id, file.name)
        try:
            (outline / path).parent.mkdir(parents=True, exist_ok=True)
            (outline / path).write_bytes(_text(file) if file.name in CARDS else b"")
        except OSError as error:
            raise _unfit(tree.id, file.name) from error
    return _card_names_files(tree.id, outline)


def _unfit(source: str, name: str) -> SourceUnavailable:
    return SourceUnavailable(
        f"{source} has a file whose name no folder of this machine can have beside the others: {listed([name])}. Rename it."
    )


def _text(file: DataFile) -> bytes:
    if file.size > MOST_CARD_BYTES:
        raise SourceUnavailable(
            f"{file.name} is no dataset card: it has {file.size:,} bytes. Remove it from the dataset."
        )
    with file.open() as stream:
        return stream.readall()


def _card_names_files(source: str, outline: Path) -> bool:
    """Whether the card names files; those that lie elsewhere are not the dataset's."""
    configs = _configs(source, outline)
    for named in _paths(source, configs):
        if "://" in named or named.startswith(("/", "~")) or ".." in PurePosixPath(named).parts:
            raise SourceUnavailable(
                f"The dataset card of {source} names {named}, which is not a file of the dataset. Copy it there, or "
                "take it out of the card's `configs`."
            )
    return bool(configs)


def _configs(source: str, outline: Path) -> object:
    """What the card and the file that may stand beside it say of configurations; of both, the latter counts."""
    import yaml
    from huggingface_hub import DatasetCard

    found: object = None
    try:
        if (outline / "README.md").is_file():
            found = DatasetCard.load(outline / "README.md").data.to_dict().get("configs")
        if (outline / ".huggingface.yaml").is_file():
            beside = yaml.safe_load((outline / ".huggingface.yaml").read_bytes())
            found = beside["configs"] if isinstance(beside, dict) and "configs" in beside else found
    except UnicodeDecodeError as error:
        raise SourceUnavailable(
            f"The dataset card of {source} cannot be read: README.md is not UTF-8. Write it as UTF-8."
        ) from error
    except Exception as error:  # YAML's errors, and ValueError for what it holds
        mark = getattr(error, "problem_mark", None)
        fault = f"line {mark.line + 2} is not YAML" if mark else _first_line(error)
        raise SourceUnavailable(
            f"The dataset card of {source} cannot be read: {fault}. Mend it, in README.md between two lines of three dashes."
        ) from error
    return found


def _paths(source: str, configs: object) -> Iterator[str]:
    """The paths and patterns that configurations name."""
    rest: list[object] = [
        config.get(name) for config in (configs if isinstance(configs, list) else [configs]) if isinstance(config, dict)
        for name in ("data_files", "data_dir")
    ]  # fmt: skip
    looked = 0
    while rest:
        # A few lines of YAML can stand for billions of values.
        if (looked := looked + 1) > MOST_CARD_VALUES:
            raise SourceUnavailable(
                f"The dataset card of {source} names too many files. Use patterns in its `configs`."
            )
        value = rest.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            rest += [value.get("path")] if "split" in value else value.values()
        elif isinstance(value, list):
            rest += value


def _found(tree: Tree, outline: Path, subset: str | None, described: bool, datasets: Any) -> Layout:
    try:
        folder = _subset_folder(outline, subset) if not described else None
        # What `load_dataset_builder` begins with. The builder itself would be made to stream, for which it imports SciPy.
        found = datasets.load.dataset_module_factory(str(outline), data_dir=folder).builder_configs_parameters
        configs = {config.name: config for config in found.builder_configs}
        name = None if folder else _subset(tree, list(configs), found.default_config_name, subset)
        name = name or found.default_config_name or next(iter(configs))
        if name not in configs:
            raise ValueError(f"BuilderConfig '{name}' not found. Available: {list(configs)}")
        config = configs[name]
        files = config.data_files or {}
        if isinstance(files, datasets.data_files.DataFilesPatternsDict):
            files = files.resolve(str(outline / (config.data_dir or "")), datasets.DownloadConfig())
    except SourceUnavailable:
        raise
    except Exception as error:  # `datasets` raises whatever its parts raise
        raise SourceUnavailable(_explained(tree, described, error)) from error
    splits: dict[str, list[str]] = {}
    for split, paths in files.items():
        # A name may fit two patterns of a split; its rows are wanted once.
        splits[str(split)] = list(dict.fromkeys(Path(path).relative_to(outline).as_posix() for path in paths))
    if not splits:
        raise SourceUnavailable(_no_data(tree))
    if not described:
        splits = _with_those_passed_over(outline, folder, splits)
    options = {
        field.name: value
        for field in fields(config)
        if field.name not in ("name", "version", "data_dir", "data_files", "description", "features")
        and (value := getattr(config, field.name)) != getattr(type(config)(), field.name)
    }
    return Layout(folder or config.name, described, options, splits, f"{folder}/" if folder else "")


def _subset_folder(outline: Path, subset: str | None) -> str | None:
    """`subset` where it is a folder of a source whose card names none."""
    if subset is None or str(PurePosixPath(subset)) != subset or ".." in PurePosixPath(subset).parts:
        return None
    return subset if (outline / subset).is_dir() and subset != "." and not subset.startswith("/") else None


def _subset(tree: Tree, names: list[str], default: str | None, subset: str | None) -> str | None:
    """The one of `names` that is meant; None where there is one only."""
    told = f"{tree.id} has {len(names)} subsets: {listed(names)}"
    if subset is not None and subset not in names:
        if names == ["default"]:
            data = [file.name for file in tree.files if format_of(file.name)]
            if called_so := [name for name in data if subset in re.split(r"[-_./ ]", name)]:
                raise SourceUnavailable(
                    f"{tree.id} has no subset {subset}, but files that are called so: {listed(called_so)}. Make them one in the "
                    f"`configs` of a README.md beside them ({CONFIGS_PAGE}), or {by_the_source(tree.id)}."
                )
            folders = {name.partition("/")[0] for name in data if "/" in name}
            if folders:
                raise SourceUnavailable(
                    f"{tree.id} has no subset {subset}, and no folder of that name. Name one of its folders, "
                    f"{listed(sorted(folders))}, or leave subset empty."
                )
            raise SourceUnavailable(f"{tree.id} has no subset {subset}: it has none. Leave subset empty.")
        raise SourceUnavailable(f"{told}; there is none called {subset}. Name one of them in subset.")
    if subset is None and len(names) > 1:
        if default is None:
            raise SourceUnavailable(f"{told}. Name the one that is meant in subset.")
        return default
    return subset


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
        # `datasets` takes pictures and sheets for data, too.
        kinds = Counter(format_of(file.name) or PurePosixPath(file.name).suffix.lstrip(".") for file in tree.files
                        if file.name not in CARDS and PurePosixPath(file.name).suffix)  # fmt: skip
        told = ", ".join(f"{count} of {suffix}" for suffix, count in sorted(kinds.items()))
        return (
            f"The splits of {tree.id} are in different formats: {told}. Write all of them in one, or "
            f"{by_the_source(tree.id)}."
        )
    if error.__class__.__name__ == "BadZipFile" or any(file.name.endswith(".zip") for file in tree.files):
        return f"{tree.id} keeps its rows in a zip archive. Unpack it, and give the folder as the source."
    return (
        f"`datasets` cannot tell which files of {tree.id} are which split: {said}. Describe them in the `configs` of its "
        f"README.md, or {by_the_source(tree.id)}."
    )


def _no_data(tree: Tree) -> str:
    if not tree.files:
        return f"{tree.id} holds no data: there is no file. Check the path."
    return (
        f"{tree.id} holds no data: none of its {len(tree.files)} files is Parquet, JSON Lines, JSON, CSV or Arrow. They are "
        f"{listed(file.name for file in tree.files)}. Check the path."
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
        named = _json(tree.id, files["dataset_dict.json"]).get("splits")
        if not isinstance(named, list):
            raise _incomplete(tree.id, "what dataset_dict.json should say of its splits")
        splits = {str(split): f"{split}/" for split in named}
    elif "state.json" in files and "dataset_info.json" in files:
        splits = {str(_json(tree.id, files["state.json"]).get("_split") or "train"): ""}
    elif any(name.endswith("/state.json") for name in files) and any(name.endswith(".arrow") for name in files):
        raise _incomplete(tree.id, "dataset_dict.json")
    else:
        return None
    if subset is not None:
        raise SourceUnavailable(
            f"{tree.id} has no subset {subset}: it was written by save_to_disk. Leave subset empty."
        )
    found: dict[str, list[str]] = {}
    for split, folder in splits.items():
        if (state := files.get(f"{folder}state.json")) is None:
            raise _incomplete(tree.id, f"{folder}state.json")
        if _json(tree.id, state).get("_indices_files"):
            raise SourceUnavailable(
                f"{tree.id}: split {split} was written by save_to_disk of an old `datasets` as a selection of rows, which is not "
                "followed here. Save it again with flatten_indices(), or with datasets 2 or newer."
            )
        try:
            found[split] = [folder + entry["filename"] for entry in _json(tree.id, state)["_data_files"]]
        except (KeyError, TypeError):
            raise _incomplete(tree.id, f"what {state.name} should say of its files") from None
        if missing := [name for name in found[split] if name not in files]:
            raise _incomplete(tree.id, listed(missing))
    return Layout("default", True, {}, found)


def _incomplete(source: str, missing: str) -> SourceUnavailable:
    return SourceUnavailable(
        f"{source} was written by save_to_disk and is incomplete: {missing} is missing. Copy it again."
    )


def _json(source: str, file: DataFile) -> dict[str, Any]:
    try:
        found = json.loads(_text(file))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise SourceUnavailable(
            f"{source} was written by save_to_disk, and its {file.name} is not JSON. Copy it again."
        )
    return found
