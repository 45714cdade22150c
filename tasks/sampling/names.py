"""What the names of a split's files say, and when they say too little to take the files."""

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import PurePosixPath

from tasks.sampling.errors import SourceUnavailable, listed

COMPRESSIONS = (".gz", ".bz2", ".xz", ".zst", ".lz4")

SHARD = re.compile(r"[-_.](?P<index>\d{5})-of-(?P<count>\d{5})([-_.][0-9a-f]{16})?\Z")
"""How `push_to_hub` and `to_parquet` number the files of a split; uploads of before 2023 have a hash behind."""


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
            "dataset, or name one file or a glob as the source."
        )
    kind = str(next(iter(formats)))
    return "csv" if kind == "tsv" else kind


def named_after(split: str, names: Iterable[str]) -> list[str]:
    """The files called exactly as the split, or those of a folder called so: what the notebook's download script writes."""
    own = [name for name in names if format_of(name) and _stem(name) == split and "/" not in name]
    return own or [name for name in names if format_of(name) and str(PurePosixPath(name).parent) == split]


def refuse_incomplete(source: str, split: str, names: Iterable[str]) -> None:
    """Refuses numbered files of which one is missing, or which are of two uploads."""
    shards: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for name in names:
        stem = str(PurePosixPath(name).with_name(_stem(name)))
        if match := SHARD.search(stem):
            shards[stem[: match.start()]].append((int(match["index"]), int(match["count"])))
    for stem, numbers in shards.items():
        counts = sorted({count for _, count in numbers})
        if len(counts) > 1 or len(set(numbers)) < len(numbers):
            raise SourceUnavailable(
                f"{source}: split {split} holds files of two uploads of {stem}: {len(numbers)} files, numbered "
                f"of {' and of '.join(map(str, counts))}. Remove those of the older upload."
            )
        if len(numbers) < counts[0]:
            have = {index for index, _ in numbers}
            first = 0 if 0 in have else 1
            missing = [f"{index:05}" for index in range(first, counts[0] + first) if index not in have]
            raise SourceUnavailable(
                f"{source}: split {split} is incomplete: of the {counts[0]} files of {stem}, number {listed(missing)} "
                "is missing. Copy the dataset again, or name the files that are meant by a glob as the source."
            )


def refuse_unlike(source: str, split: str, names: list[str]) -> None:
    """Refuses files that no one has said to be one split and whose names speak of several things.

    `datasets` takes by a keyword whatever carries it: `english/train.jsonl` with `german/train.jsonl`, `train.jsonl` with
    `train.rejected.jsonl`.
    """
    families: dict[str, list[str]] = defaultdict(list)
    for name in names:
        families[_family(name, split)].append(name)
    if len(families) == 1:
        return
    folders = {str(PurePosixPath(family).parent) for family in families}
    told = f"{source}: split {split} would be made of files that are not alike: {listed(names)}"
    if len(folders) == len(families) and "." not in folders:
        raise SourceUnavailable(
            f"{told}. Name the folder that is meant in subset, one of {listed(sorted(folders))}; or say in the "
            "`configs` of a README.md which files are the split."
        )
    raise SourceUnavailable(
        f"{told}. Move those that are not meant out of the dataset; or say in the `configs` of a README.md which files are the "
        "split, or name one file or a glob as the source."
    )


def _family(name: str, split: str) -> str:
    """What a file's path says beside a number: its folder, and its name where that is what makes it the split's."""
    from datasets.data_files import SPLIT_KEYWORDS

    words = {str(key): set(value) for key, value in SPLIT_KEYWORDS.items()}.get(split, {split})
    path = PurePosixPath(name)
    stem = _stem(name)
    for depth, part in enumerate(path.parts[:-1], start=1):
        if words & set(re.split(r"[-._ 0-9]+", part)):
            return _without_numbers("/".join((*path.parts[:depth], _dotted(stem))))
    own = stem if words & set(re.split(r"[-._ 0-9]+", stem)) else _dotted(stem)
    return _without_numbers("/".join((*path.parts[:-1], own)))


def _stem(name: str) -> str:
    """The file's name without the endings of its format and compression."""
    base = without_compression(PurePosixPath(name).name)
    return base.rpartition(".")[0] or base


def _dotted(stem: str) -> str:
    """What follows the first dot of a name: `rows.bak.jsonl` is another thing than `rows.jsonl`."""
    return "*" + "".join(f".{part}" for part in stem.split(".")[1:])


def _without_numbers(text: str) -> str:
    return re.sub(r"[-_. ]*\d+", "", SHARD.sub("", text))
