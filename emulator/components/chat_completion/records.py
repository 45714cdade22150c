"""Rows of conversations, read from what the data inputs may hold: a file (jsonl, json, csv, tsv, parquet) or an MLTable."""

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from emulator.components.step import UserError

COLUMN = "messages"
TOOLS = "tools"
FORMATS = ("jsonl", "json", "csv", "tsv", "parquet")
MLTABLE_READERS = {"read_json_lines", "read_parquet", "read_delimited"}

Row = dict[str, Any]


def read_rows(source: Path) -> Iterator[tuple[str, Row]]:
    """Yields each row with where it stands ("train.jsonl, row 7"), counted from 1.

    Raises:
        UserError: the file is absent or empty, of no known format, or cannot be read as what its name says.
    """
    for file in files_of(source):
        number = 0
        for number, row in enumerate(_read_file(file), start=1):
            where = f"{file.name}, row {number}"
            if not isinstance(row, dict):
                raise UserError(f"{where}: expected an object with the column {COLUMN!r}, found {type(row).__name__}.")
            yield where, row
        if number == 0:
            raise UserError(f"{file.name} holds no rows. Give a file with at least one conversation.")


def files_of(source: Path) -> list[Path]:
    """The data files behind an input: the file itself, the only file of a folder, or what an MLTable lists."""
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise UserError(f"The data file {source.name} does not exist. Check the path of the data input.")
    if (source / "MLTable").is_file():
        return _files_of_mltable(source)
    inside = sorted(path for path in source.iterdir() if path.suffix.lstrip(".") in FORMATS)
    if len(inside) != 1:
        raise UserError(f"The folder {source.name} holds {len(inside)} data files; a file input needs exactly one.")
    return inside


def _files_of_mltable(folder: Path) -> list[Path]:
    try:
        table = yaml.safe_load((folder / "MLTable").read_text("utf-8"))
        steps = [step if isinstance(step, str) else next(iter(step)) for step in table.get("transformations", [])]
        patterns = [next(iter(entry.values())) for entry in table["paths"]]
    except (yaml.YAMLError, AttributeError, KeyError, TypeError, StopIteration) as error:
        raise UserError(f"The MLTable file of {folder.name} is not a valid one: it needs `paths` ({error}).") from error
    if unknown := [step for step in steps if step not in MLTABLE_READERS]:
        raise UserError(
            f"The MLTable {folder.name} uses {', '.join(unknown)}; known are {', '.join(sorted(MLTABLE_READERS))}."
        )
    files = [file for pattern in patterns for file in sorted(folder.glob(str(pattern).removeprefix("./")))]
    if not files:
        raise UserError(f"The MLTable {folder.name} lists no file that exists in its folder.")
    return files


def _read_file(file: Path) -> Iterator[Any]:
    kind = file.suffix.lstrip(".").lower()
    match kind:
        case "jsonl":
            yield from _read_json_lines(file)
        case "json":
            yield from _read_json(file)
        case "csv" | "tsv":
            yield from _read_delimited(file, "," if kind == "csv" else "\t")
        case "parquet":
            yield from _read_parquet(file)
        case _:
            raise UserError(f"{file.name} is of no supported format. Supported are {', '.join(FORMATS)}.")


def _read_json_lines(file: Path) -> Iterator[Any]:
    # Bytes, since a file that is not UTF-8 must be told of with its line.
    with file.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                where = f"{file.name}, line {number}"
                yield _parse(_decoded(line, where), where)


def _read_json(file: Path) -> Iterator[Any]:
    document = _parse(_decoded(file.read_bytes(), file.name), file.name)
    if not isinstance(document, list):
        raise UserError(f"{file.name} must hold a JSON list of rows. For one row a line, name it .jsonl.")
    yield from document


def _read_delimited(file: Path, delimiter: str) -> Iterator[Any]:
    csv.field_size_limit(sys.maxsize)
    number = 0
    try:
        with file.open(encoding="utf-8", newline="") as lines:
            for number, row in enumerate(csv.DictReader(lines, delimiter=delimiter), start=1):
                if COLUMN in row:
                    yield {**row, COLUMN: _parse(row[COLUMN] or "", f"{file.name}, row {number}, column {COLUMN}")}
                else:
                    yield row
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{file.name} cannot be read after row {number}: {error}. Write it anew, as UTF-8.") from error


def _read_parquet(file: Path) -> Iterator[Any]:
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(file) as table:
            names = table.schema_arrow.names
            columns = [name for name in (COLUMN, TOOLS) if name in names] if COLUMN in names else None
            for batch in table.iter_batches(batch_size=1000, columns=columns):
                yield from batch.to_pylist()
    except (ArrowException, OSError) as error:
        raise UserError(f"{file.name} cannot be read as parquet: {error}.") from error


def _decoded(content: bytes, where: str) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{where}: not UTF-8 ({error.reason} at byte {error.start + 1}). Write the file as UTF-8."
        ) from error


def _parse(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"{where}: not valid JSON ({error.msg} at column {error.colno}).") from error
