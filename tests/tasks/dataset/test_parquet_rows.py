"""Parquet hides nulls at every level; each is found, and named by its file and row."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.sampling.errors import DatasetError, InvalidRows, UnreadableFile
from tasks.sampling.sample import sample
from tests.tasks.dataset.made import conversation, conversations, only_train, rows_of, write_parquet

USER = {"content": "hello 7.0", "role": "user"}

NULLS: dict[str, tuple[dict[str, Any], str]] = {
    "messages": ({"messages": None}, "messages are missing: null"),
    "message": ({"messages": [USER, None]}, "a message's role is none of system, user, assistant, tool: 'user, null'"),
    "first message": (
        {"messages": [None, USER]},
        "a message's role is none of system, user, assistant, tool: 'null, user'",
    ),
    "role": (
        {"messages": [USER, {"content": "x", "role": None}]},
        "a message's role is none of system, user, assistant, tool: 'user, null'",
    ),
    "content": ({"messages": [USER, {"content": None, "role": "assistant"}]}, "a message's content is blank: null"),
    "no message": ({"messages": []}, "messages are missing: []"),
}


@pytest.mark.parametrize("level", NULLS)
def test_a_null_is_caught_at_every_level(level: str, tmp_path: Path) -> None:
    change, refusal = NULLS[level]
    rows = [*conversations(7), conversation(7) | change, *conversations(7, 8)]
    source = write_parquet(tmp_path / "rows.parquet", rows, group_rows=4)
    with pytest.raises(InvalidRows) as refused:
        sample(only_train(source), tmp_path / "out")
    assert str(refused.value).splitlines()[1:] == [f"  rows.parquet, row 8: {refusal}"]


def test_ten_of_many_bad_rows_are_listed_and_all_are_counted(tmp_path: Path) -> None:
    rows = [row | {"prompt": "other"} for row in conversations(25)]
    source = write_parquet(tmp_path / "rows.parquet", rows)
    with pytest.raises(InvalidRows) as refused:
        sample(only_train(source), tmp_path / "out")
    lines = str(refused.value).splitlines()
    assert lines[0].startswith("25 rows break a rule.")
    assert [line.split(":")[0] for line in lines[1:11]] == [f"  rows.parquet, row {row}" for row in range(1, 11)]
    assert lines[11:] == ["  and 15 more"]


def test_more_bad_rows_than_may_be_dropped_are_refused(tmp_path: Path) -> None:
    rows = [row | {"prompt": "other"} for row in conversations(3)] + conversations(10, 3)
    source = write_parquet(tmp_path / "rows.parquet", rows)
    assert len(rows_of(source, tmp_path / "three", on_invalid="drop", max_dropped=3, max_dropped_percent=50)) == 10
    with pytest.raises(InvalidRows, match="At most 2 may be dropped"):
        sample(only_train(source, on_invalid="drop", max_dropped=2, max_dropped_percent=50), tmp_path / "two")


def test_a_sample_of_which_nothing_is_left_is_refused(tmp_path: Path) -> None:
    source = write_parquet(tmp_path / "rows.parquet", [row | {"prompt": "other"} for row in conversations(3)])
    with pytest.raises(DatasetError, match="No row of train_sft is left for train: all were dropped"):
        sample(only_train(source, on_invalid="drop", max_dropped_percent=100), tmp_path / "out")


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    latin = pa.array([b"caf\xe9"]).cast(pa.binary())
    content = pa.Array.from_buffers(pa.string(), 1, latin.buffers())
    message = pa.StructArray.from_arrays([content, pa.array(["user"])], ["content", "role"])
    messages = pa.ListArray.from_arrays(pa.array([0, 1], pa.int32()), message)
    table = pa.table({"prompt": content, "messages": messages, "prompt_id": ["x"]})
    pq.write_table(table, tmp_path / "latin.parquet")
    with pytest.raises(UnreadableFile, match=r"latin\.parquet is damaged or no Parquet file: .*UTF8"):
        sample(only_train(tmp_path / "latin.parquet"), tmp_path / "out")


def test_one_row_of_ten_megabytes_is_refused_by_its_length(tmp_path: Path) -> None:
    rows = [conversation(1), conversation(2, text="x" * 10_000_000)]
    source = write_parquet(tmp_path / "long.parquet", rows)
    with pytest.raises(
        InvalidRows, match=r"long\.parquet, row 2: more than 200000 characters \(max_characters\): 30,000,089 bytes"
    ):
        sample(only_train(source), tmp_path / "out")


@pytest.mark.parametrize(
    ("bounds", "refusal"),
    [
        ({"max_characters": 19}, "row 2: more than 19 characters (max_characters): 20"),
        ({"min_characters": 19}, "row 1: fewer than 19 characters (min_characters): 18"),
    ],
)
def test_characters_are_bounded(bounds: dict[str, int], refusal: str, tmp_path: Path) -> None:
    rows = [conversation(1, text="hé🙂lo"), conversation(10)]
    source = write_parquet(tmp_path / "rows.parquet", rows)
    with pytest.raises(InvalidRows, match=re.escape(refusal)):
        sample(only_train(source, **bounds), tmp_path / "out")


def test_bounds_of_characters_are_included(tmp_path: Path) -> None:
    rows = [conversation(1, text="hé🙂lo"), conversation(10)]
    source = write_parquet(tmp_path / "rows.parquet", rows)
    assert rows_of(source, tmp_path / "out", min_characters=18, max_characters=20) == rows


def _truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def _damaged_inside(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[200 : len(data) // 2] = bytes(len(data) // 2 - 200)
    path.write_bytes(bytes(data))


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _text(path: Path) -> None:
    path.write_text("prompt,messages\n" * 100)


@pytest.mark.parametrize(
    ("damage", "refusal"),
    [
        (_truncated, r"rows\.parquet is damaged or no Parquet file: .*Copy it again"),
        (
            _damaged_inside,
            r"rows\.parquet, rows 1 to 10, are damaged: a page's header is damaged in .*Copy the file again",
        ),
        (_empty, r"rows\.parquet is empty\. Copy it again"),
        (_text, r"rows\.parquet is damaged or no Parquet file: .*magic bytes"),
    ],
)
def test_a_damaged_file_is_named(damage: Callable[[Path], None], refusal: str, tmp_path: Path) -> None:
    source = write_parquet(tmp_path / "rows.parquet", conversations(100))
    damage(source)
    with pytest.raises(UnreadableFile, match=refusal):
        sample(only_train(source), tmp_path / "out")


@pytest.mark.parametrize(
    ("columns", "refusal"),
    [
        ({"text": ["a"]}, " has no conversations that are known: .* Its columns are text"),
        ({"messages": ["a"], "prompt_id": ["x"]}, ", row 1: messages is no list: 'a'"),
        ({"messages": [["a"]], "prompt_id": ["x"]}, ", row 1: a message is no object: 'a'"),
        (
            {"messages": [[{"text": "a", "role": "user"}]], "prompt_id": ["x"]},
            ", row 1: a message has no role or no content",
        ),
        ({"messages": [[{"content": 1, "role": "user"}]], "prompt_id": ["x"]}, ", row 1: content is no text: 1"),
        (
            {"messages": [[{"content": "a", "role": "user"}]], "prompt_id": ["x"], "source": ["y"], "score": [1]},
            " has columns that are not of a conversation: score, source. Set extra_columns to drop",
        ),
        (
            {"messages": [[{"content": "a", "role": "user", "name": "z"}]], "prompt_id": ["x"]},
            ", row 1: a message has unknown keys: 'name'",
        ),
    ],
)
def test_a_wrong_schema_is_refused(columns: dict[str, list[Any]], refusal: str, tmp_path: Path) -> None:
    import polars as pl

    pl.DataFrame(columns).write_parquet(tmp_path / "rows.parquet")
    with pytest.raises(DatasetError, match=f"rows.parquet{refusal}"):
        sample(only_train(tmp_path / "rows.parquet"), tmp_path / "out")


def test_extra_columns_and_another_order_of_fields_can_be_accepted(tmp_path: Path) -> None:
    import polars as pl

    rows = conversations(3)
    swapped = [
        {
            "prompt_id": row["prompt_id"],
            "messages": [{"role": m["role"], "name": "z", "content": m["content"]} for m in row["messages"]],
            "score": 1,
        }
        for row in rows
    ]
    pl.DataFrame(swapped).write_parquet(tmp_path / "rows.parquet")
    kept = rows_of(tmp_path / "rows.parquet", tmp_path / "out", extra_columns="drop")
    assert kept == [{name: row[name] for name in ("messages", "prompt_id")} for row in rows]
