"""Makes small chat datasets for the tests."""

import json
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any

from tasks.sampling.parameters import DatasetParameters
from tasks.sampling.results import SampledDataset
from tasks.sampling.sample import sample

Row = dict[str, Any]


def conversation(number: int, turns: int = 2, text: str = "hello") -> Row:
    """A good row, unlike that of any other number."""
    messages = [
        {"content": f"{text} {number}.{turn}", "role": ("user", "assistant")[turn % 2]} for turn in range(turns)
    ]
    prompt = messages[0]["content"]
    return {"prompt": prompt, "messages": messages, "prompt_id": sha256(prompt.encode()).hexdigest()}


def conversations(count: int, first: int = 0, turns: int = 2) -> list[Row]:
    """`count` good rows."""
    return [conversation(number, turns) for number in range(first, first + count)]


def write_parquet(path: Path, rows: list[Row], group_rows: int = 10) -> Path:
    """A Parquet file of ultrachat's schema, in its order of columns."""
    import polars as pl

    message = pl.Struct({"content": pl.String, "role": pl.String})
    schema = {"prompt": pl.String(), "prompt_id": pl.String(), "messages": pl.List(message)}
    path.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(rows, schema).write_parquet(path, row_group_size=group_rows)
    return path


def write_jsonl(path: Path, rows: Iterable[Row]) -> Path:
    """A JSON Lines file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read_jsonl(path: Path) -> list[Row]:
    """The rows of a sample, read by nothing of ours."""
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line]


def only_train(source: Path | str, **parameters: Any) -> DatasetParameters:
    """All rows of a source that has just a training split, unless told otherwise."""
    defaults = {"percent": 100, "validation_percent": 0, "test_split": None, "score_split": None}
    return DatasetParameters(source=str(source), **(defaults | parameters))


def rows_of(source: Path, out: Path, **parameters: Any) -> list[Row]:
    """The training rows of the sample of `source`."""
    return read_jsonl(sample(only_train(source, **parameters), out).train.path)


def dataset(folder: Path, rows: int = 20) -> Path:
    """A folder laid out as ultrachat_200k's repository, with all four splits."""
    write_parquet(folder / "data/train_sft-00000-of-00002.parquet", conversations(rows))
    write_parquet(folder / "data/train_sft-00001-of-00002.parquet", conversations(rows, 1000))
    write_parquet(folder / "data/test_sft-00000-of-00001.parquet", conversations(rows, 2000))
    write_parquet(folder / "data/train_gen-00000-of-00001.parquet", conversations(rows, 3000, turns=3))
    write_parquet(folder / "data/test_gen-00000-of-00001.parquet", conversations(rows, 4000, turns=3))
    return folder


def sample_all(folder: Path, out: Path, **parameters: Any) -> SampledDataset:
    """A sample of a folder with all splits."""
    return sample(DatasetParameters(source=str(folder), **parameters), out)
