"""What the validation step reads, and what it refuses."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from emulator.components.chat_completion.conversation import tools_of
from emulator.components.chat_completion.records import read_rows
from emulator.components.chat_completion.validate import validate
from emulator.components.step import UserError
from tests.emulator.components.steps import Row, arguments, chat, rows, write_jsonl

ROWS = rows(3)


def check(tmp_path: Path, **given: Any) -> dict[str, Any]:
    report = tmp_path / "report"
    report.mkdir(exist_ok=True)
    validate(arguments("ft_nlp_common_validation", validation_info=report, **given))
    return json.loads((report / "validation_info.json").read_text())


def as_jsonl(folder: Path) -> Path:
    return write_jsonl(folder / "rows.jsonl", ROWS)


def as_json(folder: Path) -> Path:
    (folder / "rows.json").write_text(json.dumps(ROWS))
    return folder / "rows.json"


def as_csv(folder: Path, suffix: str = "csv", delimiter: str = ",") -> Path:
    with (folder / f"rows.{suffix}").open("w", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(["prompt_id", "messages", "tools"])
        writer.writerows((n, json.dumps(row["messages"]), row.get("tools", "")) for n, row in enumerate(ROWS))
    return folder / f"rows.{suffix}"


def as_tsv(folder: Path) -> Path:
    return as_csv(folder, "tsv", "\t")


def as_parquet(folder: Path) -> Path:
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist(ROWS), folder / "rows.parquet")
    return folder / "rows.parquet"


def as_mltable(folder: Path) -> Path:
    write_jsonl(folder / "a.jsonl", ROWS[:1])
    write_jsonl(folder / "b.jsonl", ROWS[1:])
    (folder / "MLTable").write_text(
        "paths:\n  - pattern: ./*.jsonl\ntransformations:\n  - read_json_lines:\n      encoding: utf8\n"
    )
    return folder


@pytest.mark.parametrize("write", [as_jsonl, as_json, as_csv, as_tsv, as_parquet, as_mltable])
def test_every_format_gives_the_same_rows(write: Any, tmp_path: Path) -> None:
    assert [row["messages"] for _, row in read_rows(write(tmp_path))] == [row["messages"] for row in ROWS]


def test_rows_are_counted_by_split(tmp_path: Path) -> None:
    train = write_jsonl(tmp_path / "train.jsonl", rows(5))
    test = write_jsonl(tmp_path / "test.jsonl", rows(2))
    assert check(tmp_path, train_file_path=train, test_file_path=test)["rows"] == {"train": 5, "test": 2}


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ({"text": "hello"}, r"bad\.jsonl, row 2: there is no column 'messages' \(columns: text\)"),
        ({"messages": []}, "row 2: 'messages' must be a non-empty list"),
        ({"messages": "hello"}, "row 2: 'messages' must be a non-empty list"),
        ({"messages": ["hello"]}, "message 1 must be an object"),
        ({"messages": [{"role": "human", "content": "x"}]}, "message 1 has the role 'human'; known are assistant"),
        ({"messages": [{"role": "user", "content": None}]}, r"message 1 \(user\) must have a text"),
        ({"messages": [{"role": "assistant", "content": None}]}, r"message 1 \(assistant\) must have a text"),
        ({"messages": [{"role": "assistant", "content": "x", "thinking": 1}]}, "must have a text as `thinking`"),
        ({"messages": [{"role": "assistant", "content": "x", "weight": 0.5}]}, "has the weight 0.5; known are 0"),
        ({"messages": [{"role": "assistant", "content": "x", "weight": True}]}, "has the weight True; known are 0"),
        ({"messages": [{"role": "assistant", "content": "x", "reasoning": 1}]}, "must have a text as `reasoning`"),
        ({"messages": [{"role": "assistant", "content": None, "tool_calls": []}]}, r"\(assistant\) must have a text"),
        (
            {"messages": [{"role": "assistant", "content": None, "tool_calls": "f()"}]},
            "a list of objects as `tool_calls`",
        ),
        ({"messages": [{"role": "user", "content": "x", "tool_calls": [{}]}]}, "only the assistant calls tools"),
        (
            {"messages": [{"role": "user", "content": "\ud83d"}]},
            r"row 2: message 1 \(user\) holds half a character \(U\+D83D",
        ),
        ({**ROWS[0], "tools": [{"description": "\udc00"}]}, "row 2: the column 'tools' holds half a character"),
        ({**ROWS[0], "tools": "[nope"}, "the column 'tools' is not valid JSON"),
        ({**ROWS[0], "tools": {"name": "f"}}, "the column 'tools' must hold a list of objects"),
    ],
)
def test_a_bad_row_is_named_with_file_row_and_rule(row: Row, complaint: str, tmp_path: Path) -> None:
    bad = write_jsonl(tmp_path / "bad.jsonl", [ROWS[0], row])
    with pytest.raises(UserError, match=complaint):
        check(tmp_path, train_file_path=bad)


@pytest.mark.parametrize("write", [as_jsonl, as_csv, as_parquet])
def test_calls_of_tools_thoughts_and_weights_are_taken(
    write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = {"type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}
    messages = [
        {"role": "developer", "content": "Be kind"},
        {"role": "user", "content": "Oslo?"},
        {"role": "assistant", "content": None, "tool_calls": [call], "thinking": "Look"},
        {"role": "tool", "content": "sun", "tool_call_id": "1"},
        {"role": "assistant", "content": "Sunny", "reasoning_content": None, "weight": 1},
    ]
    tools = json.dumps([{"type": "function", "function": {"name": "weather"}}])
    monkeypatch.setitem(globals(), "ROWS", [{"messages": messages, "tools": tools}] * 2)
    assert check(tmp_path, train_file_path=write(tmp_path))["rows"] == {"train": 2}
    assert [tools_of(row) for _, row in read_rows(write(tmp_path))] == [json.loads(tools)] * 2


def test_a_weight_of_another_speaker_says_nothing(tmp_path: Path) -> None:
    row = {"messages": [{**ROWS[0]["messages"][0], "weight": 0.5}, *ROWS[0]["messages"][1:]]}
    assert check(tmp_path, train_file_path=write_jsonl(tmp_path / "t.jsonl", [row]))["rows"] == {"train": 1}


def test_a_long_conversation_fits_a_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "ROWS", [chat("word " * 50_000, "yes")])
    csv.field_size_limit(1 << 17)  # Python's own, which others may have raised
    assert check(tmp_path, train_file_path=as_csv(tmp_path))["rows"] == {"train": 1}


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("bad.jsonl", r"bad\.jsonl, line 2: not UTF-8"),
        ("bad.json", r"bad\.json: not UTF-8"),
        ("bad.csv", r"bad\.csv cannot be read after row 0: 'utf-8' codec"),
    ],
)
def test_a_file_that_is_not_utf_8_is_named(name: str, complaint: str, tmp_path: Path) -> None:
    line = json.dumps(ROWS[0]).encode()
    (tmp_path / name).write_bytes(line + b"\n" + line.replace(b"Who", b"Wh\xc3") + b"\n")
    with pytest.raises(UserError, match=complaint):
        check(tmp_path, train_file_path=tmp_path / name)


def test_many_bad_rows_are_counted_and_few_shown(tmp_path: Path) -> None:
    bad = write_jsonl(tmp_path / "bad.jsonl", [{"text": "x"}] * 20)
    with pytest.raises(UserError, match="20 bad rows of 20") as refusal:
        check(tmp_path, train_file_path=bad)
    assert "row 5:" in str(refusal.value) and "row 6:" not in str(refusal.value)
    assert "and 15 more" in str(refusal.value)


def test_a_broken_line_is_named_by_its_number(tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text(json.dumps(ROWS[0]) + "\n{nope\n")
    with pytest.raises(UserError, match=r"bad\.jsonl, line 2: not valid JSON"):
        check(tmp_path, train_file_path=tmp_path / "bad.jsonl")


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"max_seq_length": 0}, "max_seq_length is 0"),
        ({"max_steps": -5}, "max_steps is -5"),
        ({"learning_rate": 0}, "learning_rate is 0"),
        ({"adam_beta2": 1}, "adam_beta2 is 1"),
    ],
)
def test_an_argument_out_of_range_is_named(given: dict[str, Any], complaint: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=complaint):
        check(tmp_path, train_file_path=as_jsonl(tmp_path), **given)


def test_data_is_asked_for_when_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Give train_file_path or train_mltable_path"):
        check(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.jsonl does not exist"):
        check(tmp_path, train_file_path=tmp_path / "gone.jsonl")


def test_a_folder_of_two_files_is_no_file(tmp_path: Path) -> None:
    for name in "ab":
        write_jsonl(tmp_path / f"{name}.jsonl", ROWS)
    with pytest.raises(UserError, match="holds 2 data files; a file input needs exactly one"):
        list(read_rows(tmp_path))
    (tmp_path / "b.jsonl").rename(tmp_path / "b.txt")
    assert len(list(read_rows(tmp_path))) == len(ROWS)


def test_an_mltable_wins_over_a_file(tmp_path: Path) -> None:
    (tmp_path / "table").mkdir()
    given = {"train_mltable_path": as_mltable(tmp_path / "table"), "train_file_path": tmp_path / "gone.jsonl"}
    assert check(tmp_path, **given)["rows"] == {"train": len(ROWS)}


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no rows"):
        check(tmp_path, train_file_path=write_jsonl(tmp_path / "empty.jsonl", []))


def test_training_data_without_any_answer_is_refused(tmp_path: Path) -> None:
    unanswered = write_jsonl(tmp_path / "unanswered.jsonl", [chat("Hello?")])
    with pytest.raises(UserError, match=r"None of the 1 rows .* nothing to learn from"):
        check(tmp_path, train_file_path=unanswered)
    weightless = chat("Hello?", "Hi")
    weightless["messages"][1]["weight"] = 0
    with pytest.raises(UserError, match=r"None of the 2 rows .* of a weight other than 0"):
        check(tmp_path, train_file_path=write_jsonl(tmp_path / "weightless.jsonl", [weightless] * 2))


def test_test_data_without_any_answer_is_taken(tmp_path: Path) -> None:
    test = write_jsonl(tmp_path / "test.jsonl", [chat("Hello?")])
    rows = check(tmp_path, train_file_path=as_jsonl(tmp_path), test_file_path=test)["rows"]
    assert rows == {"train": len(ROWS), "test": 1}


def test_an_mltable_with_an_unknown_transformation_is_refused(tmp_path: Path) -> None:
    as_mltable(tmp_path)
    (tmp_path / "MLTable").write_text("paths:\n  - file: ./a.jsonl\ntransformations:\n  - read_delta_lake: {}\n")
    with pytest.raises(UserError, match="uses read_delta_lake"):
        check(tmp_path, train_mltable_path=tmp_path)
