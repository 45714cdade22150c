"""What the names of a split's files say, and when they say too little to take the files."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import PurePosixPath

from tasks.sampling.errors import SourceUnavailable, listed

COMPRESSIONS = (".gz", ".bz2", ".xz", ".zst", ".lz4")

SHARD = re.compile(r"[-_. ](?P<index>\d+)[-_]of[-_](?P<count>\d+)([-_.][0-9a-f]{16})?\Z")
"""How `push_to_hub` and others number the files of a split; uploads of before 2023 have a hash behind."""
PART = re.compile(r"(?:(?:^|[-_. /])(?:part|shard|chunk)[-_. ]?|[-_. ](?=\d{5}\Z))(?P<number>\d+)\Z")
"""How those number them who do not say of how many."""

HELD_OUT = frozenset({"test", "tests", "val", "valid", "validation", "dev", "eval", "evaluation", "heldout", "holdout"})
"""Words of splits, which `datasets` knows in lower case and by themselves only."""

MOST_PARTS = 100_000
"""More files than that no folder may have."""

NOT_MEANT = frozenset({
    "old", "older", "backup", "backups", "bak", "copy", "rejected", "rejects", "discarded", "deleted", "removed", "withdrawn",
    "excluded", "invalid", "broken", "draft", "drafts", "tmp", "temp", "trash", "archive", "archived", "obsolete", "deprecated",
})  # fmt: skip
"""Words by which a file's name says that it is not the dataset's any more, or not yet."""


def without_compression(name: str) -> str:
    """The name without the endings of compressions."""
    for compression in COMPRESSIONS:
        name = name.removesuffix(compression)
    return name


def format_of(name: str) -> str | None:
    """`datasets`' reader for a file's ending, with CSV and TSV apart; None where there is none."""
    base = without_compression(name.lower())
    return {
        ".parquet": "parquet", ".geoparquet": "parquet", ".gpq": "parquet",
        ".jsonl": "json", ".ndjson": "json", ".json": "json",
        ".csv": "csv", ".tsv": "tsv", ".arrow": "arrow",
    }.get(PurePosixPath(base).suffix)  # fmt: skip


def by_the_source(source: str) -> str:
    """How to say by the source alone which files are meant: the end of a sentence."""
    if source.startswith("azureml:"):
        return "give the path of one file as the source"
    if source.startswith("/"):
        return "name one file or a glob as the source"
    return "download those that are meant and give their folder as the source"


def one_reader(source: str, split: str, names: list[str]) -> str:
    if not names:
        raise SourceUnavailable(f"{source}: split {split} has no file. Check how the dataset was written.")
    formats: dict[str | None, list[str]] = defaultdict(list)
    for name in names:
        formats[format_of(name)].append(name)
    if None in formats:
        raise SourceUnavailable(
            f"{source}: split {split} would take {listed(formats[None])}, which is not Parquet, JSON Lines, JSON, CSV or Arrow by "
            "its name. Move it out of the dataset; or, if it holds the rows, write them in one of these formats."
        )
    if len(formats) > 1:
        told = " and ".join(f"{kind} ({listed(its)})" for kind, its in formats.items())
        raise SourceUnavailable(
            f"{source}: split {split} is there in {len(formats)} formats: {told}. Move those that are not meant out of the "
            f"dataset, or {by_the_source(source)}."
        )
    kind = str(next(iter(formats)))
    return "csv" if kind == "tsv" else kind


def named_after(split: str, names: Iterable[str], folder: str = "") -> list[str]:
    """The files called exactly as the split, or those of a folder called so: what the notebook's download script writes.

    Args:
        folder: the one that is the subset, with a slash behind.
    """
    below = [name for name in names if format_of(name) and name.startswith(folder)]
    own = [name for name in below if name.removeprefix(folder).rpartition("/")[0] == "" and _stem(name) == split]
    return own or [name for name in below if str(PurePosixPath(name).parent) == f"{folder}{split}"]


def refuse_incomplete(source: str, split: str, names: Iterable[str]) -> None:
    """Refuses files numbered as so many of so many of which one is missing, or which are of two uploads."""
    shards: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for stem in map(_path, names):
        if match := SHARD.search(stem):
            shards[stem[: match.start()]].append((match["index"], match["count"]))
    for stem, told in shards.items():
        indices, counts = [index for index, _ in told], sorted({int(count) for _, count in told})
        if len(counts) > 1 or len(set(map(int, indices))) < len(indices):
            raise SourceUnavailable(
                f"{source}: split {split} holds files of two uploads of {stem}: {len(told)} files, numbered "
                f"of {' and of '.join(map(str, counts))}. Remove those of the older upload."
            )
        first = 0 if 0 in map(int, indices) else 1
        if missing := _missing(indices, first, counts[0] + first):
            raise SourceUnavailable(
                f"{source}: split {split} is incomplete: of the {counts[0]} files of {stem}, number {listed(missing)} "
                f"is missing. Copy the dataset again, or {by_the_source(source)}."
            )


def refuse_gaps(source: str, split: str, names: Iterable[str]) -> None:
    """Refuses files that are numbered without saying of how many, and of which one between is missing."""
    parts: dict[str, list[str]] = defaultdict(list)
    for stem in map(_path, names):
        if SHARD.search(stem) is None and (match := PART.search(stem)):
            parts[stem[: match.start("number")]].append(match["number"])
    for stem, indices in parts.items():
        if len(indices) > 1 and (missing := _missing(indices, 1, max(map(int, indices)))):
            raise SourceUnavailable(
                f"{source}: split {split} is incomplete: of the files {stem}..., number {listed(missing)} is missing. Copy the "
                f"dataset again, or say in the `configs` of a README.md which files are the split, or {by_the_source(source)}."
            )


def _missing(indices: list[str], first: int, end: int) -> list[str]:
    """Of the numbers from `first` up to `end`, those that `indices` has not, as wide as its own."""
    have = set(map(int, indices))
    return [
        f"{number:0{len(indices[0])}}" for number in range(first, min(end, first + MOST_PARTS)) if number not in have
    ]


def refuse_unlike(source: str, split: str, names: list[str]) -> None:
    """Refuses files that no one has said to be one split and whose names speak of several things.

    `datasets` takes by a keyword whatever carries it: `english/train.jsonl` with `german/train.jsonl`, `train.jsonl` with
    `train.rejected.jsonl`.
    """
    families: dict[str, list[str]] = defaultdict(list)
    twins = {twin for twin, count in Counter((_path(name), format_of(name)) for name in names).items() if count > 1}
    for name in names:
        ending = PurePosixPath(name).suffixes if (_path(name), format_of(name)) in twins else []
        families["".join([_family(name, split), *ending])].append(name)
    if len(families) == 1:
        return
    # As they are called: a family has no numbers.
    depths = {family: len(PurePosixPath(family).parts) - 1 for family in families}
    folders = {"/".join(PurePosixPath(its[0]).parts[: depths[family]]) or "." for family, its in families.items()}
    told = f"{source}: split {split} would be made of files that are not alike: {listed(names)}"
    if len(folders) == len(families) and "." not in folders:
        raise SourceUnavailable(
            f"{told}. Name the folder that is meant in subset, one of {listed(sorted(folders))}; or say in the "
            "`configs` of a README.md which files are the split."
        )
    raise SourceUnavailable(
        f"{told}. Move those that are not meant out of the dataset; or say in the `configs` of a README.md which files are the "
        f"split, or {by_the_source(source)}."
    )


def _family(name: str, split: str) -> str:
    """What a file's path says beside a number: its folder, its name where that is what makes it the split's, and whether it
    says that it is not meant."""
    path = without_compression(name)
    words = set(re.split(r"[^a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", path).lower()))
    other = re.sub(r"(set|data|split)\b", "", " ".join(sorted(words))).split()
    numbered = ["shards"] if SHARD.search(_path(name)) else []
    return " ".join([_place(name, split), *sorted(NOT_MEANT & words), *sorted(HELD_OUT.intersection(other)), *numbered])


def _place(name: str, split: str) -> str:
    from datasets.data_files import SPLIT_KEYWORDS

    words = {str(key): set(value) for key, value in SPLIT_KEYWORDS.items()}.get(split, {split})
    path = PurePosixPath(name)
    stem = _stem(name)
    for depth, part in enumerate(path.parts[:-1], start=1):
        if words & set(re.split(r"[-._ 0-9]+", part)):
            return _without_numbers("/".join((*path.parts[:depth], _dotted(stem))))
    own = stem if words & set(re.split(r"[-._ 0-9]+", stem)) else _dotted(stem)
    return _without_numbers("/".join((*path.parts[:-1], own)))


def _path(name: str) -> str:
    """The file's path without the endings of its format and compression."""
    return str(PurePosixPath(name).with_name(_stem(name)))


def _stem(name: str) -> str:
    """The file's name without the endings of its format and compression."""
    base = without_compression(PurePosixPath(name).name)
    return base.rpartition(".")[0] or base


def _dotted(stem: str) -> str:
    """What follows the first dot of a name: `rows.bak.jsonl` is another thing than `rows.jsonl`."""
    return "*" + "".join(f".{part}" for part in stem.split(".")[1:])


def _without_numbers(text: str) -> str:
    """Without what only counts or dates: a version (`v2`) and a size (`72b`, `10k`) say that it is another thing."""
    return re.sub(r"[-_. ]*(?<![vV\d])\d+([T_-]?\d+)*Z?(?![A-Za-z\d])", "", SHARD.sub("", text))
