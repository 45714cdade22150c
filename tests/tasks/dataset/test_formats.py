"""Chat data in every form that teams keep it in: the same rows from every kind of file, and what is written of each kind of row."""

import bz2
import csv
import gzip
import json
import lzma
import random
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.sampling.errors import DatasetError, InvalidRows, UnreadableFile
from tasks.sampling.results import SampledSplit
from tasks.sampling.sample import sample
from tests.tasks.dataset.made import Row, conversation, conversations, only_train, read_jsonl, write_jsonl

ROOT = Path(__file__).parents[3]
MIB = 1 << 20

MESSAGE = pa.struct([("content", pa.string()), ("role", pa.string())])
TYPES = {"prompt": pa.string(), "messages": pa.list_(MESSAGE), "prompt_id": pa.string()}


def _text(value: object) -> str:
    """A cell of a text file."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _json_lines(path: Path, rows: list[Row]) -> None:
    path.write_bytes(b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows))


def _json_lines_escaped(path: Path, rows: list[Row]) -> None:
    path.write_bytes(b"\r\n".join(json.dumps(row, ensure_ascii=True).encode() for row in rows))


def _json_array(path: Path, rows: list[Row]) -> None:
    path.write_bytes(json.dumps(rows, ensure_ascii=False, separators=(",", ":")).encode())


def _json_array_indented(path: Path, rows: list[Row]) -> None:
    path.write_bytes(json.dumps(rows, ensure_ascii=False, indent=4).encode())


def _separated(path: Path, rows: list[Row]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, "excel-tab" if path.suffix == ".tsv" else "excel")
        writer.writerow(list(rows[0]))
        writer.writerows([_text(value) for value in row.values()] for row in rows)


def _table(rows: list[Row]) -> pa.Table:
    return pa.Table.from_pylist(rows, pa.schema([(name, TYPES[name]) for name in rows[0]]))


def _parquet(path: Path, rows: list[Row]) -> None:
    pq.write_table(_table(rows), path, row_group_size=3)


def _arrow_stream(path: Path, rows: list[Row]) -> None:
    table = _table(rows)
    with pa.ipc.new_stream(str(path), table.schema) as stream:
        stream.write_table(table, max_chunksize=3)


def _arrow_file(path: Path, rows: list[Row]) -> None:
    table = _table(rows)
    with pa.ipc.new_file(str(path), table.schema) as stream:
        stream.write_table(table, max_chunksize=3)


def _saved_to_disk(path: Path, rows: list[Row]) -> None:
    import datasets

    datasets.Dataset(_table(rows)).save_to_disk(str(path), num_shards=min(2, len(rows)))


Write = Callable[[Path, list[Row]], None]

PLAIN: dict[str, Write] = {
    "rows.jsonl": _json_lines,
    "escaped.jsonl": _json_lines_escaped,
    "rows.ndjson": _json_lines,
    "rows.json": _json_array,
    "indented.json": _json_array_indented,
    "rows.csv": _separated,
    "rows.tsv": _separated,
    "rows.parquet": _parquet,
    "stream.arrow": _arrow_stream,
    "file.arrow": _arrow_file,
    "saved": _saved_to_disk,
}
TEXTS = ["rows.jsonl", "rows.json", "indented.json", "rows.csv", "rows.tsv"]


def _by_arrow(codec: str, data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, codec) as stream:
        stream.write(data)
    return bytes(sink.getvalue())


PACK: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": partial(_by_arrow, "zstd"),
    ".lz4": partial(_by_arrow, "lz4"),
}  # fmt: skip
FORMS = [*PLAIN, *(name + packed for name in TEXTS for packed in PACK)]


def write_form(folder: Path, form: str, rows: list[Row]) -> Path:
    """The rows as a file, or a folder, of that name."""
    folder.mkdir(parents=True, exist_ok=True)
    if form in PLAIN:
        PLAIN[form](folder / form, rows)
        return folder / form
    plain, _, packed = form.rpartition(".")
    PLAIN[plain](folder / plain, rows)
    data = (folder / plain).read_bytes()
    (folder / plain).unlink()
    (folder / form).write_bytes(PACK[f".{packed}"](data))
    return folder / form


def train_of(source: Path, out: Path, **parameters: Any) -> SampledSplit:
    """The training split of a sample of all rows."""
    return sample(only_train(source, **parameters), out).train


ODD = [
    "a\u2028b\u2029c", "a\r\nb", "a\rb", "a\nb", "\U0001f642 \U0001f468\u200d\U0001f469\u200d\U0001f467",
    'say "hi", ok; \\"', "'", '"', "  x  ", "NA", "null", "None", "nan", "1", "1.0", "007", "1e5", "True", "2024-01-01",
    "\u05e9\u05dc\u05d5\u05dd \u200fx", "a\tb", "a,b", "=1+1", "#c", "\ufeffx", "\x1ax", "\x85x", "a\fb\vc", "a\\nb\\",
    "[1]", "{}", "-", "\x7f\x01", "e\u0301", "x" * 20_000,
]  # fmt: skip
"""Texts that some reader or other of CSV, JSON or columns changes."""

IDS = ["1", "007", "1.0", "NA", "null", "1e5", "true", "x y", "\u00e9\U0001f642", "2024-01-01", "-0", '"', "a,b"]


def _odd_rows() -> list[Row]:
    return [
        {
            "prompt": text,
            "messages": [
                {"content": text, "role": "user"},
                {"content": f"{text}{text}", "role": "assistant"},
                {"content": f"{place} again", "role": "user"},
                {"content": text, "role": "assistant"},
            ],
            "prompt_id": IDS[place % len(IDS)],
        }
        for place, text in enumerate(ODD)
    ]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_rows_as_they_are(form: str, tmp_path: Path) -> None:
    rows = _odd_rows()
    train = train_of(write_form(tmp_path / "made", form, rows), tmp_path / "out")
    assert read_jsonl(train.path) == rows


texts = st.one_of(
    st.sampled_from(ODD),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20),
    st.lists(st.sampled_from(ODD[:-1]), min_size=2, max_size=3).map("".join),
).map(lambda text: text if text.strip() else f"{text}.")


@st.composite
def tables(draw: st.DrawFn) -> list[Row]:
    """Rows of conversations that are all unlike, with the columns that people keep."""
    columns = draw(st.sampled_from([["messages"], ["messages", "prompt_id"], ["prompt", "messages", "prompt_id"]]))
    rows: list[Row] = []
    for number in range(draw(st.integers(1, 6))):
        said = [draw(texts) for _ in range(2 * draw(st.integers(1, 2)))]
        said[-1] += f" {number}"
        messages = [{"content": text, "role": ("user", "assistant")[turn % 2]} for turn, text in enumerate(said)]
        if draw(st.booleans()):
            messages.insert(0, {"content": draw(texts), "role": "system"})
        its = {"prompt": said[0], "messages": messages, "prompt_id": draw(st.one_of(st.sampled_from(IDS), texts))}
        rows.append({name: its[name] for name in columns})
    return rows


@pytest.mark.parametrize(
    ("forms", "examples"),
    [
        (["rows.jsonl", "escaped.jsonl", "rows.json", "indented.json", "rows.json.gz", "rows.jsonl.xz"], 40),
        (["rows.parquet", "stream.arrow", "file.arrow"], 40),
        (["rows.csv", "rows.tsv", "rows.csv.zst"], 30),
        (["saved"], 10),
    ],
    ids=["JSON", "columns", "separated", "saved to disk"],
)
def test_the_same_rows_give_the_same_sample_by_every_way(forms: list[str], examples: int, tmp_path: Path) -> None:
    runs = iter(range(10_000))

    @settings(max_examples=examples, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(tables(), st.sampled_from(forms))
    def holds(rows: list[Row], form: str) -> None:
        if forms[0] == "rows.csv":
            # Of NUL in CSV there is a test of its own.
            rows = json.loads(json.dumps(rows).replace("\\u0000", "0"))
        folder = tmp_path / f"{next(runs)}"
        expected = train_of(write_jsonl(folder / "reference.jsonl", rows), folder / "out")
        train = train_of(write_form(folder / "made", form, rows), folder / "out")
        assert train.sha256 == expected.sha256
        written = read_jsonl(train.path)
        assert [row["messages"] for row in written] == [row["messages"] for row in rows]
        for column in ("prompt", "prompt_id"):
            if column in rows[0]:
                assert all(
                    its[column] == row[column] for its, row in zip(written, rows, strict=True) if row[column].strip()
                )

    holds()


@pytest.mark.parametrize("form", ["rows.csv", "rows.tsv"])
def test_a_nul_does_not_cut_a_text_short(form: str, tmp_path: Path) -> None:
    rows = [{"prompt": "before\0after", "response": "one\0two"}]
    source = write_form(tmp_path / "made", form, rows)
    # pandas ends a cell there, without a word.
    with pytest.raises(UnreadableFile, match=rf"{re.escape(form)} has zero bytes in its text"):
        train_of(source, tmp_path / "out")


@pytest.mark.parametrize(
    "form", ["rows.json", "rows.csv", "rows.tsv", "stream.arrow", "saved", "rows.csv.gz", "rows.json.zst"]
)
def test_every_form_comes_to_the_same_checks(form: str, tmp_path: Path) -> None:
    rows = conversations(3)
    rows[1]["messages"] = rows[1]["messages"][:1]
    with pytest.raises(InvalidRows, match=r", row 2: the last message is not the assistant's: 'user'"):
        train_of(write_form(tmp_path / "made", form, rows), tmp_path / "out")


@pytest.mark.parametrize("form", [form for form in FORMS if form.endswith(tuple(PACK))])
def test_a_compressed_file_that_breaks_off_is_named(form: str, tmp_path: Path) -> None:
    rows = [conversation(number, text=random.Random(number).randbytes(200).hex()) for number in range(200)]
    source = write_form(tmp_path / "made", form, rows)
    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    with pytest.raises(UnreadableFile, match=re.escape(form)):
        train_of(source, tmp_path / "out")


PEAK = """
import sys
from pathlib import Path
from tasks.sampling.sample import sample
from tests.tasks.dataset.made import only_train
sampled = sample(only_train(sys.argv[1], percent=2, validation_percent=0), Path(sys.argv[2]))
status = Path("/proc/self/status")
if status.exists():
    # The resource usage of a process that was started begins with its parent's.
    peak = next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))
else:
    import resource
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
print(sampled.train.source_rows, sampled.train.rows, peak // 1024)
"""


def _large(path: Path) -> int:
    """Writes 200 MB of rows of 10 kB; says how many."""
    count, answer = 20_000, "lorem ipsum " * 830
    head, tail = {".csv": (b"messages\r\n", b""), ".json": (b"[", b"]")}.get(path.suffix, (b"", b""))
    with gzip.open(path, "wb", compresslevel=1) if path.suffix == ".gz" else path.open("wb") as file:
        file.write(head)
        for number in range(count):
            row = json.dumps({"messages": _said(("user", f"What is {number}?"), ("assistant", answer))})
            if path.suffix == ".csv":
                row = '"' + row.removeprefix('{"messages": ').removesuffix("}").replace('"', '""') + '"\r\n'
            elif path.suffix == ".json":
                row = row + (",\n" if number < count - 1 else "")
            else:
                row += "\n"
            file.write(row.encode())
        file.write(tail)
    return count


@pytest.mark.parametrize("name", ["rows.csv", "rows.json", "rows.jsonl.gz"])
def test_two_hundred_megabytes_are_sampled_in_flat_memory(name: str, tmp_path: Path) -> None:
    count = _large(tmp_path / name)
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(tmp_path / name), str(tmp_path / "out")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    source_rows, rows, peak = map(int, done.stdout.split())
    assert (source_rows, rows) == (count, count // 50)
    assert peak < 400, f"{peak} MiB"


def _said(*turns: tuple[str, str]) -> list[Row]:
    """Messages of roles and texts."""
    return [{"role": role, "content": text} for role, text in turns]


def _written(rows: list[Row], tmp_path: Path, **parameters: Any) -> list[Row]:
    """What a sample of JSON Lines holds."""
    return read_jsonl(train_of(write_jsonl(tmp_path / "rows.jsonl", rows), tmp_path / "out", **parameters).path)


def _refused(rows: list[Row], tmp_path: Path, **parameters: Any) -> str:
    with pytest.raises(DatasetError) as refused:
        _written(rows, tmp_path, **parameters)
    return str(refused.value)


ASKED, ANSWERED = "What is the capital of France?", "Paris."
PAIR: list[Row] = _said(("user", ASKED), ("assistant", ANSWERED))
SYSTEM: Row = {"role": "system", "content": "You are brief."}
WEATHER: Row = {
    "type": "function",
    "function": {
        "name": "get_current_weather",
        "description": "Get the current weather",
        "parameters": {"type": "object", "properties": {"location": {"type": "string"}}, "required": ["location"]},
    },
}
CALL: Row = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "get_current_weather", "arguments": '{"location": "Paris"}'},
}
CALLED: list[Row] = [
    {"role": "user", "content": "How is the weather in Paris?"},
    {"role": "assistant", "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "call_1", "content": "21 degrees"},
    {"role": "assistant", "content": "Mild."},
]
CALLED_WRITTEN: list[Row] = [{"content": "", **message} if "content" not in message else message for message in CALLED]
"""With a text in each message: templates add it to their own."""


def test_ultrachat_is_written_as_it_is(tmp_path: Path) -> None:
    rows = conversations(3, turns=4)
    train = train_of(write_jsonl(tmp_path / "rows.jsonl", rows), tmp_path / "out")
    assert read_jsonl(train.path) == rows
    assert (train.left_out, train.kept) == ({}, {})
    first = train.path.read_bytes().split(b"\n")[0]
    assert first.startswith(b'{"prompt":"hello 0.0","messages":[{"content":"hello 0.0","role":"user"},')


def test_of_messages_alone_prompt_and_id_are_made(tmp_path: Path) -> None:
    rows = [{"messages": [SYSTEM, *PAIR]}, {"messages": PAIR}]
    written = _written(rows, tmp_path)
    assert [row["prompt"] for row in written] == [ASKED, ASKED]
    assert [row["messages"] for row in written] == [[SYSTEM, *PAIR], PAIR]
    ids = [row["prompt_id"] for row in written]
    assert all(re.fullmatch(r"[0-9a-f]{16}", made) for made in ids)
    assert len(set(ids)) == 2
    # Made of the content and nothing else: the same row has the same id wherever it lies.
    assert [row["prompt_id"] for row in _written(rows[::-1], tmp_path)] == ids[::-1]


def test_a_blank_id_is_none(tmp_path: Path) -> None:
    bare = [{"messages": PAIR, "prompt": ASKED, "prompt_id": ""}, {"messages": PAIR, "prompt": ASKED}]
    for blank in ("", " \t", None):
        pq.write_table(pa.Table.from_pylist([bare[0] | {"prompt_id": blank}]), tmp_path / "rows.parquet")
        columns = read_jsonl(train_of(tmp_path / "rows.parquet", tmp_path / "out").path)
        assert [row["prompt_id"] for row in columns] == [row["prompt_id"] for row in _written(bare[1:], tmp_path)]


def test_the_developer_speaks_as_the_system(tmp_path: Path) -> None:
    rows = [{"messages": [{**SYSTEM, "role": "developer"}, *PAIR]}]
    assert _written(rows, tmp_path)[0]["messages"] == [SYSTEM, *PAIR]


def test_the_system_speaks_first_and_once(tmp_path: Path) -> None:
    told = _refused([{"messages": [*PAIR, SYSTEM, *_said(("user", "And?"), ("assistant", "Yes."))]}], tmp_path)
    assert "row 1: the roles do not take turns: 'user, assistant, system, user, assistant'" in told


@pytest.mark.parametrize("tools", [[WEATHER], json.dumps([WEATHER])], ids=["a list", "JSON text"])
def test_calls_of_tools_are_kept(tools: object, tmp_path: Path) -> None:
    train = train_of(write_jsonl(tmp_path / "rows.jsonl", [{"messages": CALLED, "tools": tools}]), tmp_path / "out")
    (row,) = read_jsonl(train.path)
    assert row["messages"] == CALLED_WRITTEN
    assert row["tools"] == [WEATHER]
    assert row["prompt"] == CALLED[0]["content"]
    assert train.kept == {"tool_call_id": 1, "tool_calls": 1, "tools": 1}


def test_a_conversation_may_end_with_a_call(tmp_path: Path) -> None:
    (row,) = _written([{"messages": CALLED[:2], "tools": [WEATHER]}], tmp_path)
    assert row["messages"] == CALLED_WRITTEN[:2]
    assert row["tools"] == [WEATHER]


def test_several_calls_at_once_are_answered_one_after_the_other(tmp_path: Path) -> None:
    calls = [CALL, {**CALL, "id": "call_2"}]
    messages = [
        CALLED[0],
        {"role": "assistant", "content": "I look.", "tool_calls": calls},
        {"role": "tool", "tool_call_id": "call_1", "content": "21"},
        {"role": "tool", "tool_call_id": "call_2", "content": "22"},
        CALLED[3],
    ]
    assert _written([{"messages": messages}], tmp_path)[0]["messages"] == messages


def test_the_answer_of_a_tool_that_was_not_called_is_refused(tmp_path: Path) -> None:
    messages = [*CALLED[:2], {**CALLED[2], "tool_call_id": "call_9"}, CALLED[3]]
    assert "row 1: a tool answers a call that was not made: 'call_9'" in _refused([{"messages": messages}], tmp_path)


def test_calls_in_columns_are_the_calls_of_lines(tmp_path: Path) -> None:
    rows: list[Row] = [{"messages": CALLED_WRITTEN, "tools": json.dumps([WEATHER])}, {"messages": PAIR, "tools": None}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    columns = train_of(tmp_path / "rows.parquet", tmp_path / "out")
    lines = train_of(write_jsonl(tmp_path / "rows.jsonl", rows), tmp_path / "out")
    assert read_jsonl(columns.path) == read_jsonl(lines.path)
    assert columns.sha256 == lines.sha256
    separated = train_of(write_form(tmp_path, "rows.csv", [rows[0]]), tmp_path / "out")
    assert read_jsonl(separated.path) == read_jsonl(lines.path)[:1]


def test_tools_in_a_column_beside_plain_messages_are_kept(tmp_path: Path) -> None:
    rows: list[Row] = [{"messages": PAIR, "tools": json.dumps([WEATHER])}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    train = train_of(tmp_path / "rows.parquet", tmp_path / "out")
    assert train.kept == {"tools": 1}
    assert read_jsonl(train.path)[0]["tools"] == [WEATHER]


@pytest.mark.parametrize("name", ["thinking", "reasoning_content", "reasoning"])
def test_thoughts_are_kept(name: str, tmp_path: Path) -> None:
    messages = [PAIR[0], {**PAIR[1], name: "The user asks for a capital."}]
    train = train_of(write_jsonl(tmp_path / "rows.jsonl", [{"messages": messages}]), tmp_path / "out")
    assert read_jsonl(train.path)[0]["messages"] == messages
    assert train.kept == {name: 1}


def test_a_weight_of_nothing_is_kept_and_of_one_is_the_rule(tmp_path: Path) -> None:
    messages: list[Row] = [
        {"role": "system", "content": "Marv is a factual chatbot that is also sarcastic."},
        {"role": "user", "content": "What's the biggest city in France?"},
        {"role": "assistant", "content": "Paris", "weight": 0},
        {"role": "user", "content": "Can you be more sarcastic?"},
        {"role": "assistant", "content": "Paris, as if everyone doesn't know that already.", "weight": 1},
    ]
    train = train_of(write_jsonl(tmp_path / "rows.jsonl", [{"messages": messages}]), tmp_path / "out")
    expected = [*messages[:4], {"role": "assistant", "content": messages[4]["content"]}]
    assert read_jsonl(train.path)[0]["messages"] == expected
    assert train.kept == {"weight": 1}


@pytest.mark.parametrize(
    ("weights", "told"),
    [
        ((0, 0), "every answer has weight 0, so there is nothing to learn"),
        ((0.5, 1), "weight is neither 0 nor 1: 0.5"),
        ((True, 1), "weight is neither 0 nor 1: True"),
        (("0", 1), "weight is neither 0 nor 1: '0'"),
    ],
)
def test_a_weight_that_says_nothing_is_refused(weights: tuple[object, object], told: str, tmp_path: Path) -> None:
    first, second = ({**PAIR[1], "weight": weight} for weight in weights)
    rows = [{"messages": [PAIR[0], first, {"role": "user", "content": "And?"}, second]}]
    assert f"row 1: {told}" in _refused(rows, tmp_path)


def test_parts_of_text_are_joined(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "What is"}, {"type": "text", "text": "this?"}]
    rows = [{"messages": [{"role": "user", "content": parts}, PAIR[1]]}]
    assert _written(rows, tmp_path)[0]["messages"] == [{"role": "user", "content": "What is\nthis?"}, PAIR[1]]
    image = {"type": "image_url", "image_url": {"url": "https://example.org/cat.png"}}
    rows = [{"messages": [{"role": "user", "content": [*parts, image]}, PAIR[1]]}]
    assert "row 1: content has a part that is no text: 'image_url'" in _refused(rows, tmp_path)


@pytest.mark.parametrize("kind", ["text", "input_text", "output_text"])
@pytest.mark.parametrize("beside", ["annotations", "cache_control", "logprobs"])
def test_what_stands_beside_a_part_of_text_is_passed_over(kind: str, beside: str, tmp_path: Path) -> None:
    parts = [{"type": kind, "text": ANSWERED, beside: [{"x": 1}]}]
    rows = [{"messages": [PAIR[0], {"role": "assistant", "content": parts}]}]
    assert _written(rows, tmp_path)[0]["messages"] == PAIR


def test_messages_may_be_json_text(tmp_path: Path) -> None:
    rows = [{"messages": json.dumps([SYSTEM, *PAIR]), "prompt_id": "1"}, {"messages": "no JSON", "prompt_id": "2"}]
    assert _written(rows[:1], tmp_path)[0] == {"messages": [SYSTEM, *PAIR], "prompt_id": "1"}
    assert "row 2: messages is no list: 'no JSON'" in _refused(rows, tmp_path)


def test_sharegpt_is_written_as_messages(tmp_path: Path) -> None:
    turns = [
        {"from": "system", "value": "You are brief."},
        {"from": "human", "value": ASKED},
        {"from": "gpt", "value": ANSWERED},
    ]
    rows = [{"id": "QWJhYvA_0", "conversations": turns}, {"id": "i6IyJda_0", "conversations": turns[1:]}]
    assert _written(rows, tmp_path) == [
        {"prompt": ASKED, "messages": [SYSTEM, *PAIR], "prompt_id": "QWJhYvA_0"},
        {"prompt": ASKED, "messages": PAIR, "prompt_id": "i6IyJda_0"},
    ]


@pytest.mark.parametrize(
    ("asks", "answers"),
    [("human", "gpt"), ("user", "assistant"), *(("human", name) for name in ("chatgpt", "bing", "bard", "model"))],
)
def test_the_speakers_of_sharegpt_are_known(asks: str, answers: str, tmp_path: Path) -> None:
    turns = [{"from": asks, "value": ASKED}, {"from": answers, "value": ANSWERED}]
    assert _written([{"conversations": turns}], tmp_path)[0]["messages"] == PAIR


def test_sharegpt_may_weigh_every_speaker(tmp_path: Path) -> None:
    # as SlimOrca does
    turns = [
        {"from": "system", "value": "You are brief.", "weight": None},
        {"from": "human", "value": ASKED, "weight": 0},
        {"from": "gpt", "value": ANSWERED, "weight": 1},
    ]
    # Only an answer is learnt, so that a weight of 0 says nothing new of another speaker
    assert _written([{"conversations": turns}], tmp_path)[0]["messages"] == [SYSTEM, *PAIR]


@pytest.mark.parametrize("column", ["conversations", "conversation"])
def test_sharegpt_may_name_role_and_content(column: str, tmp_path: Path) -> None:
    assert _written([{column: [SYSTEM, *PAIR]}], tmp_path)[0]["messages"] == [SYSTEM, *PAIR]


def test_sharegpt_with_calls_is_written_as_calls(tmp_path: Path) -> None:
    tool = {"name": "get_current_weather", "description": "Get it", "parameters": {"type": "object", "properties": {}}}
    call = {"name": "get_current_weather", "arguments": {"location": "Paris"}}
    row = {
        "conversations": [
            {"from": "human", "value": "How is the weather in Paris?"},
            {"from": "function_call", "value": json.dumps(call)},
            {"from": "observation", "value": '{"degrees": 21}'},
            {"from": "gpt", "value": "Mild."},
        ],
        "system": "You are brief.",
        "tools": json.dumps([tool]),
    }
    train = train_of(write_jsonl(tmp_path / "rows.jsonl", [row]), tmp_path / "out")
    (written,) = read_jsonl(train.path)
    assert written["messages"] == [
        SYSTEM,
        {"role": "user", "content": "How is the weather in Paris?"},
        {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": call}]},
        {"role": "tool", "content": '{"degrees": 21}'},
        {"role": "assistant", "content": "Mild."},
    ]
    assert written["tools"] == [tool]
    assert train.kept == {"tool_calls": 1, "tools": 1}


def test_a_function_call_that_is_no_json_is_refused(tmp_path: Path) -> None:
    turns = [{"from": "human", "value": ASKED}, {"from": "function_call", "value": "look()"}]
    assert "row 1: a function_call is no JSON object: 'look()'" in _refused([{"conversations": turns}], tmp_path)


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("prompt", "response"), ("prompt", "completion"), ("instruction", "output"), ("instruction", "response"),
        ("question", "answer"), ("question", "response"), ("query", "response"), ("input", "output"),
    ],
)  # fmt: skip
def test_columns_of_a_prompt_and_a_response_are_known_by_their_names(asked: str, answered: str, tmp_path: Path) -> None:
    (row,) = _written([{asked: ASKED, answered: ANSWERED}], tmp_path)
    assert (row["prompt"], row["messages"]) == (ASKED, PAIR)


def test_columns_of_a_prompt_and_a_response_may_be_named(tmp_path: Path) -> None:
    # dolly's, and another team's
    rows = [{"instruction": ASKED, "context": "", "response": ANSWERED, "category": "open_qa"}]
    assert "has columns that are not of a conversation: category. Set" in _refused(rows, tmp_path)
    (row,) = _written(rows, tmp_path, extra_columns="drop")
    assert row["messages"] == PAIR
    parameters = {"prompt_column": "frage", "response_column": "antwort"}
    assert _written([{"frage": ASKED, "antwort": ANSWERED}], tmp_path, **parameters)[0]["messages"] == PAIR
    told = _refused([{"Q": ASKED, "A": ANSWERED}], tmp_path)
    assert "Its columns are A, Q. " in told
    assert "ame the columns of the prompt and the response in prompt_column and response_column" in told
    told = _refused([{"Q": ASKED, "A": ANSWERED}], tmp_path, **parameters)
    assert (
        "has no column frage and no column antwort: prompt_column is frage, response_column is antwort. Its columns"
        in told
    )
    told = _refused([{"Q": ASKED, "A": ANSWERED}], tmp_path, prompt_column="Q")
    assert (
        "has no column response: prompt_column is Q, response_column is response, since only the other is named" in told
    )


def test_a_message_a_row_is_no_conversation(tmp_path: Path) -> None:
    rows = [{"conversation_id": "a", **message} for message in PAIR]
    assert (
        "has a message in each row, not a conversation. Its columns are content, conversation_id, role. Write each"
        in (_refused(rows, tmp_path))
    )


def test_the_input_of_alpaca_follows_its_instruction(tmp_path: Path) -> None:
    rows = [
        {"instruction": "Translate to French.", "input": "Good day", "output": "Bonjour"},
        {"instruction": ASKED, "input": "", "output": ANSWERED},
    ]
    assert [row["messages"] for row in _written(rows, tmp_path)] == [
        _said(("user", "Translate to French.\n\nGood day"), ("assistant", "Bonjour")),
        PAIR,
    ]


@pytest.mark.parametrize(
    ("row", "parameters"),
    [
        ({"instruction": "Shorten.", "input": "Good day", "response": "Hi"}, {}),
        ({"instruction": "Shorten.", "context": "Good day", "response": "Hi"}, {}),  # dolly's
        ({"instruction": "Shorten.", "input": "Good day", "said": "Hi"}, {"response_column": "said"}),
        ({"question": "Shorten.", "context": "Good day", "answer": "Hi"}, {}),
    ],
)
def test_what_a_prompt_is_about_follows_it(row: Row, parameters: dict[str, Any], tmp_path: Path) -> None:
    if "said" in row:
        parameters = {**parameters, "prompt_column": "instruction"}
    (written,) = _written([row], tmp_path, **parameters)
    assert written["messages"] == _said(("user", "Shorten.\n\nGood day"), ("assistant", "Hi"))


@pytest.mark.parametrize(
    "row",
    [
        {"messages": PAIR, "system": SYSTEM["content"]},  # Bedrock's
        {"question": ASKED, "response": ANSWERED, "system_prompt": SYSTEM["content"], "id": "flan.1"},  # OpenOrca's
        {
            "conversations": [{"from": "human", "value": ASKED}, {"from": "gpt", "value": ANSWERED}],
            "system": "You are brief.",
        },
    ],
    ids=["messages", "prompt_response", "sharegpt"],
)
@pytest.mark.parametrize("form", ["rows.jsonl", "rows.parquet"])
def test_a_column_of_the_system_s_text_speaks_first_in_every_format(row: Row, form: str, tmp_path: Path) -> None:
    rows: list[Row] = [row, {**row, **{name: "" for name in row if name.startswith("system")}}]
    if form == "rows.parquet":
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / form)
    else:
        write_jsonl(tmp_path / form, rows)
    train = train_of(tmp_path / form, tmp_path / "out")
    assert [its["messages"] for its in read_jsonl(train.path)] == [[SYSTEM, *PAIR], PAIR]
    assert train.left_out == {}


def test_what_only_later_rows_have_is_known_too(tmp_path: Path) -> None:
    rows: list[Row] = [
        {"instruction": ASKED, "output": ANSWERED},
        {"instruction": "Shorten.", "input": "Good day", "output": "Hi", "system": "You are brief."},
        {"instruction": "Shorten.", "context": "Good night", "output": "Night"},
    ]
    assert [row["messages"] for row in _written(rows, tmp_path)] == [
        PAIR,
        [SYSTEM, *_said(("user", "Shorten.\n\nGood day"), ("assistant", "Hi"))],
        _said(("user", "Shorten.\n\nGood night"), ("assistant", "Night")),
    ]
    told = _refused(
        [{"input": ASKED, "output": ANSWERED}, {"instruction": "Do.", "input": "it", "output": "x"}], tmp_path
    )
    assert "of the sample, but instruction tells what was said; or mend the dataset." in told


def test_a_prompt_of_messages_has_its_material_and_teaches_nothing_itself(tmp_path: Path) -> None:
    prompt = [*PAIR, {"role": "user", "content": "And?"}]
    row = {"prompt": prompt, "completion": [{"role": "assistant", "content": "Yes."}], "context": "Of France."}
    assert _written([row], tmp_path)[0]["messages"] == [
        PAIR[0],
        PAIR[1] | {"weight": 0},
        *_said(("user", "And?\n\nOf France."), ("assistant", "Yes.")),
    ]
    told = _refused([row | {"prompt": PAIR}], tmp_path)
    assert "row 1: has context beside a prompt that does not end with the user's words: 'Of France.'" in told


def test_the_rows_of_bedrock_are_taken(tmp_path: Path) -> None:
    parts = [{"role": message["role"], "content": [{"text": message["content"]}]} for message in PAIR]
    row = {"schemaVersion": "bedrock-conversation-2024", "system": [{"text": SYSTEM["content"]}], "messages": parts}
    assert _written([row], tmp_path)[0]["messages"] == [SYSTEM, *PAIR]


def test_a_picture_beside_a_text_is_not_dropped_with_its_part(tmp_path: Path) -> None:
    picture = [{"type": "text", "text": "Who?", "image": {"format": "png"}}]
    told = _refused([{"messages": [{"role": "user", "content": picture}, PAIR[1]]}], tmp_path)
    assert "row 1: content has a part that is no text: 'type, text, image'" in told


@pytest.mark.parametrize("field", ["refusal", "tool_calls", "name"])
def test_a_field_that_is_null_everywhere_is_none(field: str, tmp_path: Path) -> None:
    rows = [{"messages": [message | {field: None} for message in PAIR]}] * 1
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    assert read_jsonl(train_of(tmp_path / "rows.parquet", tmp_path / "out").path)[0]["messages"] == PAIR


@pytest.mark.parametrize("value", [date(2026, 11, 29), Decimal("1.5"), b"x"])
def test_arguments_that_are_no_json_are_named(value: object, tmp_path: Path) -> None:
    call = {"type": "function", "function": {"name": "now", "arguments": {"at": value}}}
    rows = [{"messages": [PAIR[0], {"role": "assistant", "content": "", "tool_calls": [call]}]}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    with pytest.raises(InvalidRows, match="row 1: tool_calls has a value that is neither text, number nor truth"):
        train_of(tmp_path / "rows.parquet", tmp_path / "out")


def test_json_in_another_encoding_may_have_rows_of_any_shape(tmp_path: Path) -> None:
    rows = [{"messages": _said(("user", "é"), ("assistant", "x"))}, {"messages": CALLED_WRITTEN, "tools": [WEATHER]}]
    (tmp_path / "made").mkdir()
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (tmp_path / "made/rows.jsonl").write_bytes(lines.encode("latin-1"))
    card = {"configs": [{"config_name": "default", "data_files": "rows.jsonl", "encoding": "latin-1"}]}
    (tmp_path / "made/README.md").write_text(f"---\n{json.dumps(card)}\n---\n")
    written = read_jsonl(train_of(tmp_path / "made", tmp_path / "out").path)
    assert [row["messages"] for row in written] == [row["messages"] for row in rows]
    card["configs"][0]["encoding"] = "utf-16"
    (tmp_path / "made/README.md").write_text(f"---\n{json.dumps(card)}\n---\n")
    with pytest.raises(UnreadableFile, match="cannot be read with encoding 'utf-16', as the dataset card says"):
        train_of(tmp_path / "made", tmp_path / "out")


def test_one_conversation_over_several_lines_is_told_as_that(tmp_path: Path) -> None:
    said = ",\n".join(json.dumps(message) for message in PAIR)
    (tmp_path / "rows.json").write_text(f'{{\n "messages": [\n{said}\n ]\n}}\n')
    with pytest.raises(UnreadableFile, match="is one JSON object over several lines"):
        train_of(tmp_path / "rows.json", tmp_path / "out")


def test_two_texts_of_the_system_s_are_refused(tmp_path: Path) -> None:
    told = _refused([{"messages": [SYSTEM, *PAIR], "system": "Be long."}], tmp_path)
    assert "row 1: has a system message and a text in system beside it: 'Be long.'" in told


def test_earlier_turns_of_llama_factory_come_first(tmp_path: Path) -> None:
    row = {
        "instruction": "And?",
        "input": "",
        "output": "Yes.",
        "history": [[ASKED, ANSWERED]],
        "system": "You are brief.",
    }
    expected = [SYSTEM, *PAIR, *_said(("user", "And?"), ("assistant", "Yes."))]
    assert _written([row], tmp_path)[0]["messages"] == expected
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "rows.parquet")
    assert read_jsonl(train_of(tmp_path / "rows.parquet", tmp_path / "out").path)[0]["messages"] == expected
    told = _refused([row | {"history": [[ASKED]]}], tmp_path)
    assert "row 1: history is no list of pairs of a prompt and a response" in told


@pytest.mark.parametrize("history", ["", json.dumps([[ASKED, ANSWERED]])])
def test_earlier_turns_may_be_json_text_or_none(history: str, tmp_path: Path) -> None:
    row = {"instruction": "And?", "output": "Yes.", "history": history}
    earlier = PAIR if history else []
    assert _written([row], tmp_path)[0]["messages"] == [*earlier, *_said(("user", "And?"), ("assistant", "Yes."))]


def test_material_beside_an_empty_prompt_is_refused(tmp_path: Path) -> None:
    for prompt in ("", None):
        told = _refused([{"instruction": prompt, "input": "Good day", "output": "Bonjour"}], tmp_path)
        assert "row 1: has input beside a prompt that does not end with the user's words: 'Good day'" in told


def test_tools_by_both_of_their_names_are_refused(tmp_path: Path) -> None:
    row = {"messages": PAIR, "tools": [WEATHER], "functions": [WEATHER["function"]]}
    assert "row 1: has tools and functions: " in _refused([row], tmp_path)


def test_tools_with_a_number_that_json_has_not_are_refused(tmp_path: Path) -> None:
    rows = [{"messages": PAIR, "tools": [{"name": "now", "least": float("nan")}]}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    with pytest.raises(InvalidRows, match="row 1: tools has a number that JSON has not"):
        train_of(tmp_path / "rows.parquet", tmp_path / "out")


def test_tools_may_stand_beside_a_prompt_and_a_response(tmp_path: Path) -> None:
    (row,) = _written([{"instruction": ASKED, "output": ANSWERED, "tools": json.dumps([WEATHER])}], tmp_path)
    assert (row["messages"], row["tools"]) == (PAIR, [WEATHER])


def test_openai_s_older_calls_are_written_as_its_newer_ones(tmp_path: Path) -> None:
    older = [
        CALLED[0],
        {"role": "assistant", "content": None, "function_call": CALL["function"]},
        {"role": "function", "name": "get_current_weather", "content": "21 degrees"},
        CALLED[3],
    ]
    (row,) = _written([{"messages": older, "functions": [WEATHER["function"]]}], tmp_path)
    call = {"type": "function", "function": CALL["function"]}
    assert row["messages"] == [
        CALLED[0],
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "name": "get_current_weather", "content": "21 degrees"},
        CALLED[3],
    ]
    assert row["tools"] == [WEATHER]


@pytest.mark.parametrize("mask", [{"train": False}, {"loss": False}, {"loss": 0}, {"weight": 0}])
def test_an_answer_that_is_masked_by_any_word_is_not_learnt(mask: Row, tmp_path: Path) -> None:
    (name, value), masked = next(iter(mask.items())), _said(("user", "Hi"), ("assistant", "Hello"))
    masked = [masked[0] | mask, masked[1] | mask]
    seen = {"role": "assistant", "content": ANSWERED, name: type(value)(1)}
    (row,) = _written([{"messages": [*masked, PAIR[0], seen]}], tmp_path)
    assert [message.get("weight") for message in row["messages"]] == [None, 0, None, None]
    assert not any({"train", "loss"} & message.keys() for message in row["messages"])
    odd = [PAIR[0], PAIR[1] | {name: "no"}]
    assert f"row 1: {name} is neither " in _refused([{"messages": odd}], tmp_path)


def test_of_two_masks_that_disagree_the_one_that_forbids_counts(tmp_path: Path) -> None:
    first = PAIR[1] | {"weight": 1, "train": False}
    row = {"messages": [PAIR[0], first, *_said(("user", "And?"), ("assistant", "Yes."))]}
    assert [message.get("weight") for message in _written([row], tmp_path)[0]["messages"]] == [None, 0, None, None]


def test_fields_that_say_nothing_are_not_in_the_way(tmp_path: Path) -> None:
    row = {"messages": [PAIR[0] | {"name": "", "tool_calls": [], "audio": {}}, PAIR[1]]}
    assert _written([row], tmp_path)[0]["messages"] == PAIR


def test_a_column_that_changes_what_a_row_means_is_not_advised_away(tmp_path: Path) -> None:
    for name, meaning in (("kto_tag", "which answers are good ones"), ("weight", "what of the row is to be learnt")):
        told = _refused([{"messages": PAIR, name: 0}], tmp_path)
        assert f"of the sample, but {name} tells {meaning}." in told
    told = _refused([{"prompt": ASKED, "completion": ANSWERED, "label": False}], tmp_path)  # KTO's
    assert (
        "Set extra_columns to drop to leave them out of the sample, but label tells which answers are good ones."
        in told
    )


def test_a_prompt_and_its_completion_may_be_lists_of_messages(tmp_path: Path) -> None:
    rows = [{"prompt": [SYSTEM, PAIR[0]], "completion": PAIR[1:]}]
    (row,) = _written(rows, tmp_path)
    assert (row["prompt"], row["messages"]) == (ASKED, [SYSTEM, *PAIR])
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    assert read_jsonl(train_of(tmp_path / "rows.parquet", tmp_path / "out").path) == [row]


def test_what_is_more_is_refused_or_dropped_and_counted(tmp_path: Path) -> None:
    rows: list[Row] = [
        {"messages": PAIR, "source": "wiki", "score": 3},
        {"messages": _said(("user", "Hi"), ("assistant", "Hello")), "source": "web", "score": None},
        {"messages": [{**CALLED[0], "name": "ann", "id": 7}, CALLED[3]], "source": "web", "score": 1},
    ]
    told = _refused(rows, tmp_path)
    assert "has columns that are not of a conversation: score, source. Set extra_columns to drop" in told
    bare = [{"messages": row["messages"]} for row in rows]
    assert "row 3: a message has unknown keys: 'name, id'" in _refused(bare, tmp_path)
    train = train_of(write_jsonl(tmp_path / "rows.jsonl", rows), tmp_path / "out", extra_columns="drop")
    assert train.left_out == {"messages.id": 1, "messages.name": 1, "score": 2, "source": 3}
    assert train.kept == {}
    assert [row["messages"] for row in read_jsonl(train.path)] == [
        PAIR,
        _said(("user", "Hi"), ("assistant", "Hello")),
        [CALLED[0], CALLED[3]],
    ]


@pytest.mark.parametrize("form", ["rows.jsonl", "rows.parquet", "rows.csv"])
def test_what_is_left_out_is_counted_alike_in_every_form(form: str, tmp_path: Path) -> None:
    rows = [{"messages": row["messages"], "source": "wiki"} for row in conversations(3)]
    path = tmp_path / form
    if form == "rows.parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        write_form(tmp_path, form, rows)
    train = train_of(path, tmp_path / "out", extra_columns="drop")
    assert train.left_out == {"source": 3}


def test_the_rows_of_openai_s_own_files_are_taken(tmp_path: Path) -> None:
    row = {"messages": CALLED[:2], "parallel_tool_calls": False, "tools": [WEATHER]}
    assert "columns that are not of a conversation: parallel_tool_calls" in _refused([row], tmp_path)
    train = train_of(tmp_path / "rows.jsonl", tmp_path / "out", extra_columns="drop")
    assert read_jsonl(train.path)[0]["messages"] == CALLED_WRITTEN[:2]
    assert train.left_out == {"parallel_tool_calls": 1}


def test_a_format_that_is_named_is_the_one_that_is_read(tmp_path: Path) -> None:
    turns = [{"from": "human", "value": ASKED}, {"from": "gpt", "value": ANSWERED}]
    row = {"messages": _said(("user", "Hi"), ("assistant", "Hello")), "conversations": turns}
    assert _written([row], tmp_path, format="sharegpt", extra_columns="drop")[0]["messages"] == PAIR
    assert _written([row], tmp_path, extra_columns="drop")[0]["messages"] == row["messages"]
    assert "of the format sharegpt: neither conversations nor conversation. Its columns are messages" in _refused(
        [{"messages": PAIR}], tmp_path, format="sharegpt"
    )


@pytest.mark.parametrize(
    ("name", "data", "configs", "expected"),
    [
        ("rows.csv", "prompt;response\nWhat?;That.\n", {"sep": ";"}, "That."),
        ("rows.csv", "prompt,response\nWas?,Für uns.\n".encode("latin-1"), {"encoding": "latin-1"}, "Für uns."),
        ("rows.json", '{"version": 1, "data": [{"prompt": "What?", "response": "That."}]}', {"field": "data"}, "That."),
        (
            "rows.jsonl",
            '{"prompt": "Was?", "response": "Für uns."}\n'.encode("cp1252"),
            {"encoding": "cp1252"},
            "Für uns.",
        ),
    ],
    ids=["a separator", "an encoding", "a field", "an encoding of JSON"],
)
def test_a_card_says_how_its_files_are_read(
    name: str, data: str | bytes, configs: dict[str, str], expected: str, tmp_path: Path
) -> None:
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / name).write_bytes(data if isinstance(data, bytes) else data.encode())
    card = {"configs": [{"config_name": "default", "data_files": name, **configs}]}
    (tmp_path / "made/README.md").write_text(f"---\n{json.dumps(card)}\n---\n")
    (row,) = read_jsonl(train_of(tmp_path / "made", tmp_path / "out").path)
    assert row["messages"][1]["content"] == expected


@pytest.mark.parametrize(("subset", "expected"), [("lines", "of lines"), ("separated", "of CSV")])
def test_configurations_may_be_of_formats_of_their_own(subset: str, expected: str, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "made/a.jsonl", [{"prompt": "What?", "response": "of lines"}])
    (tmp_path / "made/b.csv").write_text("prompt,response\nWhat?,of CSV\n")
    files = {"lines": "a.jsonl", "separated": "b.csv"}
    card = {"configs": [{"config_name": name, "data_files": file} for name, file in files.items()]}
    (tmp_path / "made/README.md").write_text(f"---\n{json.dumps(card)}\n---\n")
    (row,) = read_jsonl(train_of(tmp_path / "made", tmp_path / "out", subset=subset).path)
    assert row["messages"][1]["content"] == expected


def test_a_null_is_the_same_row_as_a_missing_key_whatever_the_file(tmp_path: Path) -> None:
    """Every row of a Parquet file has every column; JSON Lines may write the null."""
    asked = {"role": "user", "content": [{"type": None, "text": "Say one."}]}
    answered = {"role": "assistant", "content": [{"type": "text", "text": "One."}]}
    rows: list[list[dict[str, Any]]] = [
        [{"prompt_id": None, "id": "a1", "instruction": "Say one.", "output": "One."},
         {"prompt_id": "p2", "id": "a2", "instruction": "Say two.", "output": "Two."}],
        [{"messages": [asked, answered]}],
    ]  # fmt: skip
    for number, its in enumerate(rows):
        _json_lines(tmp_path / f"{number}.jsonl", its)
        pq.write_table(pa.Table.from_pylist(its), tmp_path / f"{number}.parquet")
        taken = [
            read_jsonl(train_of(tmp_path / f"{number}{end}", tmp_path / "out").path) for end in (".jsonl", ".parquet")
        ]
        assert taken[0] == taken[1]
    assert taken[0][0]["messages"][0] == {"role": "user", "content": "Say one."}
    ids = read_jsonl(train_of(tmp_path / "0.jsonl", tmp_path / "out").path)
    assert sorted(row["prompt_id"] for row in ids) == ["a1", "p2"]
