"""What a person is told of each broken dataset that teams meet: the file, the row, the rule, and a remedy that helps."""

import bz2
import contextlib
import gzip
import io
import json
import lzma
import os
import re
import socket
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.sampling.errors import DatasetError
from tasks.sampling.sample import sample
from tests.tasks.dataset.made import Row, conversation, conversations, only_train
from tests.tasks.dataset.test_bad_rows import AS_UTF8

MOST_CHARACTERS = 1_800
"""Of a refusal: it is read in a run's state."""

NOT_OURS = re.compile(
    r"Traceback|at 0x|\w(Error|Exception)\b|Errno|Arrow[A-Z]|\bpyarrow\b|\bpolars\b|\bpandas\b|__\w+__|Unnamed: \d|codec can't"
    r"|tokenizing data|thrift|datetime\.|Decimal|utf-8-sig|streamed-|outline-"
)
"""Names of libraries' classes, their phrases and inventions, and our own temporary folders."""

DROPPED = {"on_invalid": "drop", "max_dropped": 1_000_000, "max_dropped_percent": 100}
"""Every bad row may be left out. A broken file is refused all the same."""

BESIDE = "in the `configs` of a README.md beside it, with their folder as the source"
MEND = "Mend the dataset, or set on_invalid to drop to leave such rows out."
EVERY_ROW = "That is every row of the sample. Mend the dataset or the parameters."
LEAVE_KEYS_OUT = "Set extra_columns to drop to leave such keys out of the sample, or mend the dataset."


def refusal(source: Path | str, out: Path, **parameters: Any) -> str:
    """What `sample` says of a source that it must refuse, whatever the reason.

    The words are this program's, they fit on a page, and no folder is left.
    """
    with pytest.raises(DatasetError) as refused:
        sample(only_train(source, **parameters), out)
    message = str(refused.value)
    assert not NOT_OURS.search(message)
    assert message.isprintable() or message.replace("\n", "").isprintable()
    assert message.splitlines()[0].endswith(".")
    assert len(message) <= MOST_CHARACTERS
    assert not out.exists() or list(out.iterdir()) == []
    return message


def lines(*rows: Row) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def chat(*messages: tuple[Any, Any]) -> Row:
    return {"messages": [{"role": role, "content": content} for role, content in messages]}


def answer(**more: Any) -> Row:
    """A question and its answer, which has `more` than role and content."""
    return {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y", **more}]}


def sharegpt(*messages: tuple[Any, Any]) -> Row:
    return {"conversations": [{"from": speaker, "value": value} for speaker, value in messages]}


def parquet(table: pa.Table) -> bytes:
    written = io.BytesIO()
    pq.write_table(table, written)
    return written.getvalue()


def arrow(table: pa.Table, kind: Callable[..., Any] = pa.ipc.new_file) -> bytes:
    written = io.BytesIO()
    with kind(written, table.schema) as writer:
        writer.write_table(table)
    return written.getvalue()


def zipped(name: str, content: str) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        archive.writestr(name, content)
    return written.getvalue()


def tarred(name: str, content: str) -> bytes:
    written = io.BytesIO()
    member = tarfile.TarInfo(name)
    member.size = len(content)
    with tarfile.open(fileobj=written, mode="w") as archive:
        archive.addfile(member, io.BytesIO(content.encode()))
    return written.getvalue()


def zstd(content: bytes) -> bytes:
    return bytes(pa.compress(content, "zstd", asbytes=True))


ONE, TWO = (json.dumps(row) for row in conversations(2))
GOOD = lines(*conversations(3))
ARRAY = json.dumps(conversations(3))
MANY = lines(*conversations(2000)).encode()
TABLE = pa.Table.from_pylist([{"messages": row["messages"]} for row in conversations(700)])
PARQUET = parquet(TABLE)
ZERO = r"\x00"
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "1e083371" * 8 + "\nsize 886\n"
SIGN_IN = "<!DOCTYPE html>\n<html><head><title>Sign in to your account</title></head>\n<body></body></html>\n"
AUTHENTICATION_FAILED = "\ufeff<?xml version='1.0' encoding='utf-8'?><Error><Code>AuthenticationFailed</Code></Error>"

IS_A_POINTER = "is a Git LFS pointer: the file's place holder, not its rows. Fetch the rows with `git lfs pull`, and copy it again."
IS_A_ZIP = "is a zip archive. Unpack it, and give what is in it as the source."
IS_A_PAGE = "is a page of HTML or XML, perhaps a sign-in page that was saved as a file. Download it again, signed in."
NO_MAGIC = "is damaged or no Parquet file: it does not end with Parquet's magic bytes. Copy it again from its origin."


def unknown(columns: str) -> str:
    return (
        "has no conversations that are known: neither messages, nor conversations, nor columns of a prompt and a response. Its "
        f"columns are {columns}. Name the columns of the prompt and the response in prompt_column and response_column, "
        "or write the rows as messages."
    )


FILES: dict[str, tuple[str, str | bytes, str]] = {
    # What a download or a copy leaves instead of the file.
    "a Git LFS pointer for JSON Lines": ("rows.jsonl", POINTER, IS_A_POINTER),
    "a Git LFS pointer for Parquet": ("rows.parquet", POINTER, IS_A_POINTER),
    "a Git LFS pointer for CSV": ("rows.csv", POINTER, IS_A_POINTER),
    "a Git LFS pointer for gzip": ("rows.jsonl.gz", POINTER, IS_A_POINTER),
    "a sign-in page for JSON Lines": ("rows.jsonl", SIGN_IN, IS_A_PAGE),
    "a sign-in page for Parquet": ("rows.parquet", SIGN_IN, IS_A_PAGE),
    "a sign-in page for CSV": ("rows.csv", SIGN_IN, IS_A_PAGE),
    "a sign-in page for Arrow": ("rows.arrow", SIGN_IN, IS_A_PAGE),
    "an answer of Azure's storage": ("rows.jsonl", AUTHENTICATION_FAILED, IS_A_PAGE),
    "an answer of the hub for JSON Lines": (
        "rows.jsonl",
        "Entry not found",
        "is not JSON, nor JSON Lines: none of its 1 rows is an object, the first is not JSON at character 1 "
        "(expecting value): 'Entry not found'. Copy it again from its "
        "origin, or write each row on a line of its own.",
    ),
    "an answer of the hub for Parquet": (
        "rows.parquet",
        "Entry not found",
        NO_MAGIC,  # product: pyarrow's words
    ),
    "an answer of a server in JSON": ("rows.json", '{"error":"Repository not found"}', unknown("error")),
    "zeros for JSON Lines": (
        "rows.jsonl",
        bytes(4096),
        "is nothing but zeros, as a broken copy or a full disk leaves it. Copy it again.",
    ),
    "zeros for Parquet": (
        "rows.parquet",
        bytes(4096),
        "is nothing but zeros, as a broken copy or a full disk leaves it. Copy it again.",
    ),
    "zeros after the rows": (
        "rows.jsonl",
        GOOD.encode() + bytes(20),
        f"breaks off in row 4: '{ZERO * 20}'. Copy it again from its origin.",
    ),
    "nothing for CSV": ("rows.csv", "", "is empty. Copy it again."),
    "nothing for Parquet": ("rows.parquet", "", "is empty. Copy it again."),
    "nothing for Arrow": ("rows.arrow", "", "is empty. Copy it again."),
    "nothing for JSON Lines": ("rows.jsonl", "", "is empty. Copy it again."),
    "nothing for gzip": ("rows.jsonl.gz", "", "is empty. Copy it again."),
    # What is called otherwise than it is.
    "Parquet called JSON Lines": (
        "rows.jsonl",
        PARQUET,
        "is a Parquet file by its content. Give it the ending of what it is, or copy it again.",
    ),
    "Parquet called CSV": (
        "rows.csv",
        PARQUET,
        "is a Parquet file by its content. Give it the ending of what it is, or copy it again.",
    ),
    "Arrow called Parquet": (
        "rows.parquet",
        arrow(TABLE),
        "is an Arrow file by its content. Give it the ending of what it is, or copy it again.",
    ),
    "an Excel workbook": (
        "rows.xlsx",
        zipped("xl/workbook.xml", "<workbook/>"),
        "is an Excel workbook. Export its rows to Parquet or JSON Lines, and give those as the source.",
    ),
    "an Excel workbook with macros": (
        "rows.xlsm",
        zipped("xl/workbook.xml", "<workbook/>"),
        "is an Excel workbook. Export its rows to Parquet or JSON Lines, and give those as the source.",
    ),
    "an older Excel workbook": (
        "rows.csv",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500),
        "is a document of older Office. Export its rows to Parquet or JSON Lines, and give those as the source.",
    ),
    "gzip called JSON Lines": (
        "rows.jsonl",
        gzip.compress(GOOD.encode()),
        "is gzip-compressed by its content. Give it the ending of what it is, or copy it again.",
    ),
    "a spreadsheet called CSV": ("rows.csv", zipped("xl/workbook.xml", ""), IS_A_ZIP),
    "a zip archive called JSON Lines": ("rows.jsonl", zipped("rows.jsonl", lines(*conversations(40))), IS_A_ZIP),
    "a tar archive called JSON Lines": (
        "rows.jsonl",
        tarred("rows.jsonl", lines(*conversations(40))),
        "is a tar archive. Unpack it, and give what is in it as the source.",
    ),
    "a tar archive in gzip": (
        "rows.jsonl.gz",
        gzip.compress(tarred("rows.jsonl", GOOD)),
        "is, once decompressed, a tar archive. Unpack it, and give what is in it as the source.",
    ),
    "a sign-in page in gzip": (
        "rows.jsonl.gz",
        gzip.compress(SIGN_IN.encode()),
        f"is, once decompressed, {IS_A_PAGE[3:]}",
    ),
    "Parquet compressed as a whole": (
        "rows.parquet.gz",
        gzip.compress(PARQUET),
        "is compressed as a whole, which Parquet is within. Decompress it.",
    ),
    "an HDF5 file": (
        "rows.csv",
        b"\x89HDF\r\n\x1a\n" + bytes(500),
        "is an HDF5 file. Export its rows to Parquet or JSON Lines, and give those as the source.",
    ),
    "JSON Lines called Parquet": ("rows.parquet", GOOD, NO_MAGIC),  # product: pyarrow's words
    "JSON Lines called Arrow": (
        "rows.arrow",
        GOOD,
        "cannot be read as arrow: Not an Arrow file. Copy it again from its origin, or mend it.",
    ),
    "text called gzip": (
        "rows.jsonl.gz",
        GOOD,
        "is not gzip-compressed. Take .gz off its name, or copy it again.",
    ),
    "text called Zstandard": (
        "rows.jsonl.zst",
        GOOD,
        "is not Zstandard-compressed. Take .zst off its name, or copy it again.",
    ),
    "gzip in gzip": (
        "rows.jsonl.gz",
        gzip.compress(gzip.compress(GOOD.encode())),
        "is, once decompressed, gzip-compressed by its content. Decompress it once, or copy it again.",
    ),
    # What breaks off.
    "gzip that breaks off": (
        "rows.jsonl.gz",
        gzip.compress(MANY)[:1000],
        "is damaged: Truncated compressed stream. Copy it again from its origin.",
    ),
    "bzip2 that breaks off": (
        "rows.jsonl.bz2",
        bz2.compress(MANY)[:1000],
        "is damaged: Truncated compressed stream. Copy it again from its origin.",
    ),
    "xz that breaks off": (
        "rows.jsonl.xz",
        lzma.compress(MANY)[:1000],
        "is damaged: Compressed file ended before the end-of-stream marker was reached. Copy it again from its origin.",
    ),
    "Zstandard that breaks off": (
        "rows.jsonl.zst",
        zstd(MANY)[:1000],
        "is damaged: Truncated compressed stream. Copy it again from its origin.",
    ),
    "gzip of CSV that breaks off": (
        "rows.csv.gz",
        gzip.compress(b"prompt,response\n" + b"".join(b"hi %d,hello\n" % row for row in range(5000)))[:3000],
        "is damaged: Truncated compressed stream. Copy it again from its origin.",
    ),
    "JSON Lines that break off": (
        "rows.jsonl",
        GOOD + '{"messages": [{"role": "us',
        'breaks off in row 4: \'{"messages": [{"role": "us\'. Copy it again from its origin.',
    ),
    "an array that breaks off in a row": (
        "rows.json",
        ARRAY[:-60],
        "is a JSON array without an end: it breaks off in row 3. Copy it again from its origin.",
    ),
    "an array that breaks off between rows": (
        "rows.json",
        ARRAY[: ARRAY.rindex("},") + 2],
        "is a JSON array without an end: it breaks off in row 3. Copy it again from its origin.",
    ),
    "Arrow that breaks off": (
        "rows.arrow",
        arrow(TABLE)[:20_000],
        "cannot be read as arrow: Not an Arrow file. Copy it again from its origin, or mend it.",
    ),
    "Parquet that breaks off": ("rows.parquet", PARQUET[:4000], NO_MAGIC),  # product: pyarrow's words
    "Parquet with zeros at its end": ("rows.parquet", PARQUET[:-500] + bytes(500), NO_MAGIC),  # product: as above
    "Parquet with a newline at its end": ("rows.parquet", PARQUET + b"\n", NO_MAGIC),  # product: as above
    # What is written otherwise than it is read.
    "UTF-16 with a mark": (
        "rows.jsonl",
        GOOD.encode("utf-16"),
        "is UTF-16 text. Write it as UTF-8.",
    ),
    "UTF-16 without a mark": (
        "rows.jsonl",
        GOOD.encode("utf-16-le"),
        "is UTF-16 text. Write it as UTF-8.",
    ),
    "an array of UTF-16": ("rows.json", ARRAY.encode("utf-16"), "is UTF-16 text. Write it as UTF-8."),
    "CSV of UTF-16": ("rows.csv", "prompt,response\nhi,hello\n".encode("utf-16"), "is UTF-16 text. Write it as UTF-8."),
    "one object over many lines": (
        "rows.json",
        json.dumps(conversation(1), indent=2),
        "is one JSON object over several lines. Write each row on a line of its own, or all of them as one array; "
        f"where they are an array below a key, say so (field: KEY) {BESIDE}.",
    ),
    "a comma after each row": (
        "rows.jsonl",
        f"{ONE},\n{TWO},\n",
        "is not JSON, nor JSON Lines: none of its 2 rows is an object, the first is not JSON at character 208 (extra data): "
        f"'{ONE[177:]},'. Copy it again from its origin, or write each row on a line of its own.",
    ),
    "two rows on a line": (
        "rows.jsonl",
        f"{ONE}{TWO}\n",
        "is not JSON, nor JSON Lines: none of its 1 rows is an object, the first is not JSON at character 208 (extra data): "
        f"'{ONE[177:]}{TWO[:50]}'. Copy it again from its origin, or write each row on a line of its own.",
    ),
    "two arrays": (
        "rows.json",
        ARRAY + "\n" + ARRAY,
        "goes on after the end of its JSON array. Write one array, or one row a line.",
    ),
    "an array a line": (
        "rows.jsonl",
        "".join(json.dumps([row]) + "\n" for row in conversations(3)),
        "goes on after the end of its JSON array. Write one array, or one row a line.",
    ),
    "rows below a key": (
        "rows.json",
        json.dumps({"data": conversations(3)}),
        f"is one JSON object whose key data holds rows. Write them as one array, or say so (field: data) {BESIDE}.",
    ),
    "requests of a batch": (
        "rows.jsonl",
        lines({"custom_id": "a", "method": "POST", "body": chat(("user", "x"))}),
        unknown("body, custom_id, method"),
    ),
    "preferences": (
        "rows.jsonl",
        lines({"prompt": "a", "chosen": "b", "rejected": "c"}),
        unknown("chosen, prompt, rejected"),
    ),
    "one text a row": ("rows.jsonl", lines({"text": "<|user|>hi<|assistant|>hello"}), unknown("text")),
    "a message a row": (
        "rows.jsonl",
        lines({"role": "user", "content": "hi"}),
        (
            "has a message in each row, not a conversation. Its columns are content, role. Write each conversation as one row, its "
            "messages as a list in the column messages."
        ),
    ),
    "images": ("rows.parquet", parquet(pa.table({"image": [b"\x89PNG"], "label": [1]})), unknown("image, label")),
    "an additional column": (
        "rows.parquet",
        parquet(TABLE.append_column("score", pa.array([1.0] * 700))),
        "has columns that are not of a conversation: score. Set extra_columns to drop to leave them out of the sample.",
    ),
    "a column twice": (
        "rows.parquet",
        parquet(pa.Table.from_arrays([TABLE["messages"], TABLE["messages"]], ["messages", "messages"])),
        "has two columns of one name: messages, messages. Rename one.",
    ),
    "Parquet without columns": ("rows.parquet", parquet(pa.table({})), unknown("none")),
    # CSV.
    "CSV separated by semicolons": (
        "rows.csv",
        "prompt;response\nhi;hello\n",
        "has one column, prompt;response, as if its cells were separated by semicolons. Write it with commas, or say so (sep: "
        f'";") {BESIDE}.',
    ),
    "CSV without a header": ("rows.csv", "hi,hello\nwho,me\n", unknown("hello, hi")),
    "CSV with more cells than columns": (
        "rows.csv",
        "prompt,response\nhi,hello\na,b,c\n",
        "has 3 cells in row 2 and 2 in its header. Quote the cell that holds a separator or a line break, or write "
        "the rows as JSON Lines.",
    ),
    "CSV with more cells than columns in every row": (
        "rows.csv",
        "prompt,response\nhi,hello,x\na,b,c\n",
        "has 3 cells in row 1 and 2 in its header. Quote the cell that holds a separator or a line break, or write "
        "the rows as JSON Lines.",
    ),
    "CSV with a quote that does not end": (
        "rows.csv",
        'prompt,response\nhi,hello\n"a,b\nc,d\n',
        "has a quote in row 2 that does not end. Close it, or copy the file again from its origin.",
    ),
    "CSV with quotes in a quoted cell": (
        "rows.csv",
        'prompt,response\nhi,"she said "no" to me"\n',
        "has a quote in row 1 that is neither doubled nor the cell's end. Double it, or write the rows as JSON Lines.",
    ),
    "CSV of Latin-1": (
        "rows.csv",
        "prompt,response\ncafé,olé\n".encode("latin-1"),
        "is not UTF-8. Write it as UTF-8, or name its encoding (encoding: cp1252 is that of Western Windows) "
        f"{BESIDE}.",
    ),
    "CSV with a zero byte": (
        "rows.csv",
        b"prompt,response\nhi,hel\0lo\n",
        "has zero bytes in its text, behind which a cell is lost. Write it again without.",
    ),
    "CSV with a column twice": (
        "rows.csv",
        "prompt,response,response\nhi,hello,x\n",
        "has two columns of one name: response, response. Rename one.",
    ),
}
"""By what it is, a file that is refused as a whole: its name, its content, and what is said after its name."""


@pytest.mark.parametrize("parameters", [{}, DROPPED], ids=["fail", "drop"])
@pytest.mark.parametrize("name", FILES)
def test_a_broken_file_is_refused_even_where_rows_may_be_dropped(
    name: str, parameters: dict[str, Any], tmp_path: Path
) -> None:
    file, content, said = FILES[name]
    source = tmp_path / file
    source.write_bytes(content.encode() if isinstance(content, str) else content)
    assert refusal(source, tmp_path / "out", **parameters) == f"{file} {said}"


@pytest.mark.parametrize("parameters", [{}, DROPPED], ids=["fail", "drop"])
def test_a_stream_of_arrow_that_breaks_off_is_refused(parameters: dict[str, Any], tmp_path: Path) -> None:
    source = tmp_path / "rows.arrow"
    source.write_bytes(arrow(TABLE, pa.ipc.new_stream)[:20_000])
    message = refusal(source, tmp_path / "out", **parameters)
    assert re.fullmatch(
        r"rows\.arrow cannot be read as arrow: .{1,100}\. Copy it again from its origin, or mend it\.", message
    )


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (POINTER, IS_A_POINTER),
        (SIGN_IN, IS_A_PAGE),
        ('{"error":"Rate limited"}', unknown("error")),
        ("", "is empty. Copy it again."),
        (
            "Entry not found",
            "is not JSON, nor JSON Lines: none of its 1 rows is an object, the first is not JSON at character 1 "
            "(expecting value): 'Entry not found'. Copy it again from its "
            "origin, or write each row on a line of its own.",
        ),
        (
            lines(*conversations(50, 50)) + '{"messages": [{"role": "us',
            'breaks off in row 51: \'{"messages": [{"role": "us\'. Copy it again from its origin.',
        ),
    ],
    ids=["pointer", "page", "error", "nothing", "not found", "cut"],
)
def test_a_part_of_the_files_is_not_trained_on(broken: str, said: str, tmp_path: Path) -> None:
    made = tmp_path / "made"
    made.mkdir()
    (made / "train-00000-of-00002.jsonl").write_text(lines(*conversations(50)))
    (made / "train-00001-of-00002.jsonl").write_text(broken)
    message = refusal(made, tmp_path / "out", train_split="train", **DROPPED)
    assert message == f"train-00001-of-00002.jsonl {said}"


NOT_A_ROLE = "a message's role is none of system, user, assistant, tool"
CALL = {"id": "a", "type": "function", "function": {"name": "now", "arguments": "{}"}}

ROWS: dict[str, tuple[Row, str]] = {
    "messages as Python": (
        {"messages": repr(chat(("user", "x"))["messages"])},
        "messages is no list: \"[{'role': 'user', 'content': 'x'}]\"",
    ),
    "messages as text": (
        {"messages": "User: hi\nAssistant: hello"},
        "messages is no list: 'User: hi\\nAssistant: hello'",
    ),
    "messages as an object": ({"messages": {"0": "hi"}}, "messages is no list: {'0': 'hi'}"),
    "messages without roles": ({"messages": ["hi", "hello"]}, "a message is no object: 'hi'"),
    "no messages": ({"messages": []}, "messages are missing: []"),
    "messages by another name": (
        {"message": chat(("user", "x"))["messages"]},
        "messages are missing: null",  # product: "has unknown keys: 'message'", and to drop those does not help
    ),
    "content null": (chat(("user", "x"), ("assistant", None)), "a message's content is blank: null"),
    "content a number": (chat(("user", 5), ("assistant", "y")), "content is no text: 5"),
    "content an object": (chat(("user", {"text": "x"}), ("assistant", "y")), "content is no text: {'text': 'x'}"),
    "content a list of texts": (chat(("user", ["x"]), ("assistant", "y")), "content is no text: ['x']"),
    "content with an image": (
        chat(("user", [{"type": "text", "text": "x"}, {"type": "image_url", "image_url": {}}]), ("assistant", "y")),
        "content has a part that is no text: 'image_url'",
    ),
    "role in capitals": (chat(("User", "x"), ("Assistant", "y")), f"{NOT_A_ROLE}: 'User, Assistant'"),
    "role of another format": (chat(("user", "x"), ("model", "y")), f"{NOT_A_ROLE}: 'user, model'"),
    "role with a space": (chat(("user", "x"), ("assistant ", "y")), f"{NOT_A_ROLE}: 'user, assistant '"),
    "role a number": (chat((1, "x"), ("assistant", "y")), "role is no text: 1"),
    "assistant first": (
        chat(("assistant", "x"), ("user", "y"), ("assistant", "z")),
        "the first message is not the user's: 'assistant, user, assistant'",
    ),
    "no user": (chat(("system", "s"), ("assistant", "y")), "the first message is not the user's: 'system, assistant'"),
    "system in the middle": (
        chat(("user", "x"), ("assistant", "y"), ("system", "s"), ("user", "z"), ("assistant", "w")),
        "the roles do not take turns: 'user, assistant, system, user, assistant'",
    ),
    "two systems": (
        chat(("system", "s"), ("system", "t"), ("user", "x"), ("assistant", "y")),
        "the roles do not take turns: 'system, system, user, assistant'",
    ),
    "a blank system": (
        chat(("system", " "), ("user", "x"), ("assistant", "y")),
        "a message's content is blank: ' '",
    ),
    "user twice": (
        chat(("user", "x"), ("user", "z"), ("assistant", "y")),
        "the roles do not take turns: 'user, user, assistant'",
    ),
    "user last": (
        chat(("user", "x"), ("assistant", "y"), ("user", "z")),
        "the last message is not the assistant's: 'user, assistant, user'",
    ),
    "a tool that was not called": (
        chat(("user", "x"), ("tool", "42"), ("assistant", "y")),
        "the roles do not take turns: 'user, tool, assistant'",
    ),
    "a tool that answers another call": (
        {
            "messages": [
                {"role": "user", "content": "x"},
                {"role": "assistant", "content": "", "tool_calls": [CALL]},
                {"role": "tool", "content": "42", "tool_call_id": "b"},
                {"role": "assistant", "content": "y"},
            ]
        },
        "a tool answers a call that was not made: 'b'",
    ),
    "calls as text": (answer(tool_calls="now()"), "tool_calls is no list of objects: 'now()'"),
    "a call of nothing": (
        answer(tool_calls=[{"id": "a", "function": None}]),
        """a tool call has no name: '{"id": "a", "function": null}'""",
    ),
    "tools that are no objects": (
        chat(("user", "x"), ("assistant", "y")) | {"tools": ["now"]},
        "tools is no list of objects: ['now']",
    ),
    "tools that are not JSON": (
        chat(("user", "x"), ("assistant", "y")) | {"tools": [{"least": float("nan")}]},
        "has NaN, which JSON has not: 'NaN'",
    ),
    "weight 2": (answer(weight=2), "weight is neither 0 nor 1: 2"),
    "weight below 0": (answer(weight=-1), "weight is neither 0 nor 1: -1"),
    "weight as text": (answer(weight="0"), "weight is neither 0 nor 1: '0'"),
    "weight true": (answer(weight=True), "weight is neither 0 nor 1: True"),
    "weight without end": (answer(weight=float("inf")), "has Infinity, which JSON has not: 'Infinity'"),
    "weight 0 of every answer": (answer(weight=0), "every answer has weight 0, so there is nothing to learn: 1"),
    "half a surrogate pair": (
        chat(("user", "a\ud83d b"), ("assistant", "c")),
        "content has half a surrogate pair, which is no character: 'a\\ud83d b'",
    ),
    "another prompt": (conversation(1) | {"prompt": "x"}, "prompt is not the first message: 'x'"),
    "an id that is none": (conversation(1) | {"prompt_id": {"a": 1}}, "prompt_id is no text: {'a': 1}"),
    "an id that is a truth": (conversation(1) | {"prompt_id": True}, "prompt_id is no text: True"),
    "the row before": (
        conversation(0) | {"prompt_id": "other"},
        "the conversation is in the training sample (rows.jsonl, row 1) too: 'other'",
    ),
    "300,000 characters": (
        chat(("user", "x" * 300_000), ("assistant", "y")),
        "more than 200000 characters (max_characters): 300001",
    ),
    "5 MB": (
        chat(("user", "x" * 5_000_000), ("assistant", "y")),
        "more than 200000 characters (max_characters): '5000086 bytes'",
    ),
    "a row of ShareGPT": (
        sharegpt(("human", "x"), ("gpt", "y")),
        "messages are missing: null",  # product: "has unknown keys: 'conversations'", and to drop those does not help
    ),
}
"""By what is bad of it, a row, and what is said after its file and number."""

UNKNOWN_KEYS: dict[str, tuple[Row, str]] = {
    "a key of the row's": (conversation(1) | {"source": "x"}, "has unknown keys: 'source'"),
    "a key of a message's": (answer(timestamp=5), "a message has unknown keys: 'timestamp'"),
    "a call of the user's": (
        {"messages": [{"role": "user", "content": "x", "tool_calls": [CALL]}, {"role": "assistant", "content": "y"}]},
        "a message has unknown keys: 'tool_calls'",
    ),
    "weight of the user's": (
        {"messages": [{"role": "user", "content": "x", "weight": 1}, {"role": "assistant", "content": "y"}]},
        "a message has unknown keys: 'weight'",
    ),
}


@pytest.mark.parametrize("name", [*ROWS, *UNKNOWN_KEYS])
def test_a_bad_row_is_named_with_its_rule(name: str, tmp_path: Path) -> None:
    row, said = (ROWS | UNKNOWN_KEYS)[name]
    source = tmp_path / "rows.jsonl"
    source.write_text(lines(conversation(0), row))
    remedy = LEAVE_KEYS_OUT if name in UNKNOWN_KEYS else MEND
    if "weight" in name and name in UNKNOWN_KEYS:
        remedy = remedy.replace(", or mend", ", but weight tells what of the row is to be learnt; or mend")
    assert refusal(source, tmp_path / "out") == f"1 row breaks a rule. {remedy}\n  rows.jsonl, row 2: {said}"


TEXTS: dict[str, tuple[str, list[str]]] = {
    "a comma before the end": (
        f"{ONE}\n{TWO[:-1]},}}\n",
        [
            "row 2: is not JSON at character 208 (expecting property name enclosed in double quotes): "
            f"'{TWO[177:-1]},}}'"
        ],
    ),
    "Python instead of JSON": (
        f"{ONE}\n{{'messages': None}}\n",
        [
            "row 2: is not JSON at character 2 (expecting property name enclosed in double quotes): \"{'messages': None}\""
        ],
    ),
    "a comment": (
        f"// chats of May\n{ONE}\n",
        ["row 1: is not JSON at character 1 (expecting value): '// chats of May'"],
    ),
    "a header": (
        f"prompt,response\n{ONE}\n",
        ["row 1: is not JSON at character 1 (expecting value): 'prompt,response'"],
    ),
    "a mark in the middle": (
        f'{ONE}\n\ufeff{{"messages": []}}\n',
        ["row 2: is not JSON at character 1 (a byte order mark): '\\ufeff{\"messages\": []}'"],
    ),
    "a control character": (
        f'{ONE}\n{{"messages": "a\x01b"}}\n',
        ['row 2: is not JSON at character 16 (invalid control character): \'{"messages": "a\\x01b"}\''],
    ),
    "a key twice": (f'{ONE}\n{{"messages": [], "messages": []}}\n', ["row 2: has a key twice: 'messages, messages'"]),
    "a key of a message twice": (
        f'{ONE}\n{{"messages": [{{"role": "user", "role": "user"}}]}}\n',
        ["row 2: has a key twice: 'role, role'"],
    ),
    "nested too deep": (
        f"{ONE}\n{'[' * 50_000}\n{TWO}\n",
        [f"row 2: is not JSON at character 1 (nested too deep): '{'[' * 50}'"],
    ),
    "no objects": (f'{ONE}\n"hi"\n42\n', ["row 2: is no JSON object: '\"hi\"'", "row 3: is no JSON object: '42'"]),
    "a comma at the end of an array": (f"[{ONE},]", ["row 2: is not JSON at character 1 (expecting value): ''"]),
}
"""By what is bad of it, the text of a file, and what is said of its rows."""


@pytest.mark.parametrize("name", TEXTS)
def test_rows_that_are_not_json_are_named(name: str, tmp_path: Path) -> None:
    text, said = TEXTS[name]
    (tmp_path / "rows.jsonl").write_text(text)
    findings = "".join(f"\n  rows.jsonl, {finding}" for finding in said)
    count = "1 row breaks" if len(said) == 1 else f"{len(said)} rows break"
    assert refusal(tmp_path / "rows.jsonl", tmp_path / "out") == f"{count} a rule. {MEND}{findings}"


def test_rows_that_are_not_utf8_are_named(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(f'{ONE}\n{{"messages": "café"}}\n'.encode("latin-1"))
    message = refusal(tmp_path / "rows.jsonl", tmp_path / "out")
    assert (
        message
        == f'1 row breaks a rule. {AS_UTF8}\n  rows.jsonl, row 2: is not UTF-8: \'{{"messages": "caf\\\\xe9"}}\''
    )


def test_of_rows_that_break_several_rules_the_remedy_is_the_one_that_loses_nothing(tmp_path: Path) -> None:
    bad = lines(conversation(0), conversation(1) | {"source": "x"}, chat(("user", "x")))
    assert MEND in refusal(one_file("rows.jsonl", bad)(tmp_path), tmp_path / "out")
    latin = '{"messages": "café"}\n'.encode("latin-1")
    assert AS_UTF8 in refusal(one_file("rows.jsonl", bad.encode() + latin)(tmp_path), tmp_path / "out")


SHAREGPT: dict[str, tuple[Row, str]] = {
    "an unknown speaker": (sharegpt(("Alice", "x"), ("gpt", "y")), f"{NOT_A_ROLE}: 'Alice, assistant'"),
    "speakers in capitals": (sharegpt(("Human", "x"), ("GPT", "y")), f"{NOT_A_ROLE}: 'Human, GPT'"),
    "the model first": (
        sharegpt(("gpt", "x"), ("human", "y"), ("gpt", "z")),
        "the first message is not the user's: 'assistant, user, assistant'",
    ),
    "a call as text": (
        sharegpt(("human", "x"), ("function_call", "now()")),
        "a function_call is no JSON object: 'now()'",
    ),
    "no speaker": (sharegpt((None, "x"), ("gpt", "y")), "a message has no role or no content: 'from, value'"),
}


@pytest.mark.parametrize("name", SHAREGPT)
def test_a_bad_row_of_sharegpt_is_named_with_its_rule(name: str, tmp_path: Path) -> None:
    row, said = SHAREGPT[name]
    (tmp_path / "rows.json").write_text(json.dumps([sharegpt(("human", "x"), ("gpt", "y")), row]))
    message = refusal(tmp_path / "rows.json", tmp_path / "out")
    assert message == f"1 row breaks a rule. {MEND}\n  rows.json, row 2: {said}"


TYPES: dict[str, tuple[dict[str, Any], str]] = {
    "texts": ({"messages": ["User: hi"]}, "messages is no list: 'User: hi'"),
    "numbers": ({"messages": [1]}, "messages is no list: 1"),
    "lists of texts": ({"messages": [["hi"]]}, "a message is no object: 'hi'"),
    "lists of lists": ({"messages": [[["hi"]]]}, "a message is no object: ['hi']"),
    "objects": ({"messages": [{"role": "user"}]}, "messages is no list: {'role': 'user'}"),
    "nulls": ({"messages": pa.nulls(1)}, "messages are missing: null"),
    "numbers for content": ({"messages": [chat(("user", 1))["messages"]]}, "content is no text: 1"),
    "bytes for a prompt": ({"prompt": [b"caf\xe9"], "response": ["x"]}, "prompt is no text: 'caf\\\\xe9'"),
    "times for a prompt": (
        {"prompt": pa.array([0], pa.timestamp("us")), "response": ["x"]},
        "prompt is no text: 1970-01-01 00:00:00",
    ),
}
"""By what the column holds, columns of a Parquet file, and what is said of its one row."""


@pytest.mark.parametrize("name", TYPES)
def test_columns_of_another_type_are_bad_rows(name: str, tmp_path: Path) -> None:
    columns, said = TYPES[name]
    (tmp_path / "rows.parquet").write_bytes(parquet(pa.table(columns)))
    message = refusal(tmp_path / "rows.parquet", tmp_path / "out")
    assert message == f"1 row breaks a rule. {EVERY_ROW}\n  rows.parquet, row 1: {said}"


@dataclass(frozen=True)
class Source:
    """A source that is refused before a row is read."""

    made: dict[str, str | bytes] | Callable[[Path], Path | str]
    """The files of a folder, or what makes the source below a folder and returns it."""
    said: str
    """With {} for the source's path."""
    parameters: dict[str, Any] = field(default_factory=lambda: {"train_split": "train"})


def card(yaml: str) -> str:
    return f"---\n{yaml}\n---\n# Chats\n"


def naming(file: str) -> dict[str, str | bytes]:
    """A dataset whose card names a file."""
    return {"README.md": card(f"configs:\n- config_name: default\n  data_files: {file}"), "train.jsonl": GOOD}


TWO_SUBSETS: dict[str, str | bytes] = {
    "README.md": card(
        "configs:\n- config_name: en\n  data_files: en/*.jsonl\n- config_name: de\n  data_files: de/*.jsonl"
    ),
    "en/train.jsonl": GOOD,
    "de/train.jsonl": GOOD,
}


def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "rows.jsonl")
    return folder / "rows.jsonl"


def bound_socket(folder: Path) -> Path:
    # A socket's path is short.
    with contextlib.chdir(folder), contextlib.closing(socket.socket(socket.AF_UNIX)) as bound:
        bound.bind("rows.jsonl")
    return folder / "rows.jsonl"


def linked(to: str) -> Callable[[Path], Path]:
    def made(folder: Path) -> Path:
        (folder / "rows.jsonl").symlink_to(to)
        return folder / "rows.jsonl"

    return made


def folder_with(**links: str) -> Callable[[Path], Path]:
    """A folder with a good file of the test split, and `links` by name to where they lead."""

    def made(folder: Path) -> Path:
        source = folder / "made"
        source.mkdir()
        (source / "test.jsonl").write_text(GOOD)
        for name, to in links.items():
            (source / name).with_suffix(".jsonl").symlink_to(to)
        return source

    return made


def folder_with_pipe(folder: Path) -> Path:
    (folder / "made").mkdir()
    os.mkfifo(folder / "made/train.jsonl")
    return folder / "made"


def circle(folder: Path) -> Path:
    (folder / "made").mkdir()
    (folder / "made/up").symlink_to(folder / "made")
    return folder / "made"


def one_file(name: str, content: str | bytes = GOOD) -> Callable[[Path], Path]:
    def made(folder: Path) -> Path:
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return folder / name

    return made


def saved(without: str | None = None, **written: str) -> Callable[[Path], Path]:
    """A folder of `save_to_disk`, one file of which is removed, or written anew by its name with `_` for `/`."""

    def made(folder: Path) -> Path:
        state = {
            "_data_files": [{"filename": f"data-0000{part}-of-00002.arrow"} for part in range(2)],
            "_split": "train",
        }
        files: dict[str, bytes] = {
            "dataset_dict.json": b'{"splits": ["train"]}',
            "train/dataset_info.json": b"{}",
            "train/state.json": json.dumps(state).encode(),
            "train/data-00000-of-00002.arrow": arrow(TABLE, pa.ipc.new_stream),
            "train/data-00001-of-00002.arrow": arrow(TABLE, pa.ipc.new_stream),
        }
        files |= {f"{name.replace('__', '/')}.json": text.encode() for name, text in written.items()}
        for name, content in files.items():
            if name != without:
                (folder / "made" / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / "made" / name).write_bytes(content)
        return folder / "made"

    return made


AN_ADDRESS = (
    "{} is an address. Give a dataset of the hub by its id (OWNER/NAME), a data asset or datastore path of the workspace "
    "(azureml:NAME:VERSION, azureml://datastores/NAME/paths/PATH), or a path of this machine."
)
NO_SPLIT = (
    "{} has no split %s. Its splits, as `datasets` finds them, are %s. Name those that it has, and set the test or "
    "scoring split to "
    "null where it has none. Where a file belongs to another split than its name says, tell so in the `configs` of a README.md "
    "beside the files (https://huggingface.co/docs/hub/datasets-manual-configuration)."
)
NOT_ITS_FILE = (
    "The dataset card of {} names %s, which is not a file of the dataset. Copy it there, or take it out of the card's "
    "`configs`."
)
NO_FORMAT = (
    "{}: split %s would take %s, which is not Parquet, JSON Lines, JSON, CSV or Arrow by its name. Move it out of the dataset; "
    "or, if it holds the rows, write them in one of these formats."
)
NOT_LIKE_OTHERS = (
    "{}: split train would be made of files that are not alike: %s. Move those that are not meant out of the dataset; "
    "or say in the `configs` of a README.md which files are the split, or name one file or a glob as the source."
)
NO_ROW = "Split train_sft of {} has no row. Check how the dataset was written."
ONLY_SPLIT: dict[str, Any] = {}

SOURCES: dict[str, Source] = {
    # No file.
    "a file that is not there": Source(
        lambda folder: folder / "rows.jsonl",
        "{} cannot be read: No such file or directory. Check the path and its rights.",
    ),
    "a file of no folder that is not there": Source(
        lambda folder: "rows.ndjson",
        "{} cannot be read: No such file or directory. Check the path and its rights.",
    ),
    "a path below a file": Source(
        lambda folder: one_file("rows.jsonl")(folder) / "x.jsonl",
        "{} cannot be read: Not a directory. Check the path and its rights.",
    ),
    "a glob of nothing": Source(
        lambda folder: f"{folder}/*.jsonl", "{} holds no data: there is no file. Check the path."
    ),
    "a named pipe": Source(pipe, "{} is a named pipe, not a file. Write its rows to a file, and give that."),
    "a socket": Source(bound_socket, "{} is a socket, not a file. Write its rows to a file, and give that."),
    "a device": Source(
        lambda folder: "/dev/null", "{} is a device, not a file. Write its rows to a file, and give that."
    ),
    "a link to a device": Source(
        linked("/dev/zero"), "{} is a device, not a file. Write its rows to a file, and give that."
    ),
    "links in a circle": Source(
        linked("rows.jsonl"), "{} cannot be read: Too many levels of symbolic links. Check the path and its rights."
    ),
    "a link to its own folder": Source(circle, "{}/up is a symbolic link to a folder above itself. Remove the link."),
    "a link to nothing": Source(
        linked("gone.jsonl"),
        "{} is a symbolic link to gone.jsonl, which is not there. Download the dataset again, or remove the link.",
    ),
    "a link to nothing for a split": Source(
        folder_with(train="../blobs/9f2c"),
        "{}/train.jsonl is a symbolic link to ../blobs/9f2c, which is not there. Download the dataset again, or remove the link.",
    ),
    "a named pipe for a split": Source(
        folder_with_pipe,
        "{}/train.jsonl is a named pipe, not a file. Write its rows to a file, and give that.",
    ),
    "a revision of a file": Source(
        one_file("rows.jsonl"),
        "{} has no revision v1: only datasets of the hub have. Leave revision empty.",
        {"revision": "v1"},
    ),
    "an address": Source(lambda folder: "https://huggingface.co/datasets/a/b", AN_ADDRESS),
    "an address of another cloud": Source(lambda folder: "s3://bucket/train.jsonl", AN_ADDRESS),
    "a name of 300 characters": Source(
        lambda folder: folder / f"{'x' * 300}.jsonl",
        "{} cannot be read: File name too long. Check the path and its rights.",
    ),
    "a user that is not there": Source(
        lambda folder: "~nobody-of-this-name/rows.jsonl",
        "{} cannot be read: Could not determine home directory. Check the path and its rights.",  # product: two full stops
    ),
    # Nothing that is read.
    "an empty folder": Source({}, "{} holds no data: there is no file. Check the path."),
    "a folder of hidden files": Source(
        {".cache/train.jsonl": GOOD}, "{} holds no data: there is no file. Check the path."
    ),
    "a folder of git's own": Source({".git/train.jsonl": GOOD}, "{} holds no data: there is no file. Check the path."),
    "a README alone": Source(
        {"README.md": "# Chats"},
        "{} holds no data: none of its 1 files is Parquet, JSON Lines, JSON, CSV or Arrow. They are README.md. Check the path.",
    ),
    "a script that reads": Source(
        {"made.py": "import datasets", "README.md": "# Chats"},
        "{} is read by a script of its own, made.py, which `datasets` does not run any more. Export its rows to Parquet or JSON "
        "Lines, and give those as the source.",
    ),
    "texts": Source({"train.txt": "hello"}, NO_FORMAT % ("train", "train.txt")),
    "a backup": Source({"train.jsonl.bak": GOOD}, NO_FORMAT % ("train", "train.jsonl.bak")),
    "a zip archive in a folder": Source(
        {"train.zip": zipped("train.jsonl", GOOD)},
        "{} keeps its rows in a zip archive. Unpack it, and give the folder as the source.",
    ),
    "a zip archive": Source(
        one_file("rows.zip", zipped("rows.jsonl", GOOD)),
        f"rows.zip {IS_A_ZIP}",
    ),
    # What belongs to which split.
    "an unknown split": Source(
        {"train.jsonl": GOOD, "test.jsonl": GOOD},
        NO_SPLIT % ("train_sft", "train (train.jsonl); test (test.jsonl)"),
        ONLY_SPLIT,
    ),
    "a file and its backup": Source(
        {"train.jsonl": GOOD, "train.bak.jsonl": GOOD}, NOT_LIKE_OTHERS % "train.bak.jsonl, train.jsonl"
    ),
    "a file and an older one": Source(
        {"train.jsonl": GOOD, "train_old.jsonl": GOOD}, NOT_LIKE_OTHERS % "train.jsonl, train_old.jsonl"
    ),
    "a split in two formats": Source(
        {"train.jsonl": GOOD, "train.parquet": PARQUET},
        "{}: split train is there in 2 formats: parquet (train.parquet) and json (train.jsonl). Move those that are "
        "not meant out of the dataset, or name one file or a glob as the source.",
    ),
    "splits in two formats": Source(
        {"train.jsonl": GOOD, "test.csv": "prompt,response\nhi,hello\n"},
        "The splits of {} are in different formats: 1 of csv, 1 of json. Write all of them in one, or name one file or "
        "a glob as the source.",
        {"train_split": "train", "test_split": "test"},
    ),
    "a split in Excel": Source(
        {"train.jsonl": GOOD, "test.xlsx": zipped("xl/workbook.xml", "<workbook/>")},
        "The splits of {} are in different formats: 1 of json, 1 of xlsx. Write all of them in one, or name one file or "
        "a glob as the source.",
        {"train_split": "train", "test_split": "test"},
    ),
    "a shard that is missing": Source(
        {"data/train-00000-of-00003.jsonl": GOOD, "data/train-00002-of-00003.jsonl": GOOD},
        "{}: split train is incomplete: of the 3 files of data/train, number 00001 is missing. Copy the dataset again, or name "
        "one file or a glob as the source.",
    ),
    "two uploads": Source(
        {f"data/train-0000{part}-of-0000{of}.jsonl": GOOD for part, of in ((0, 1), (0, 2), (1, 2))},
        "{}: split train holds files of two uploads of data/train: 3 files, numbered of 1 and of 2. Remove those of "
        "the older upload.",
    ),
    # Subsets.
    "several subsets and none named": Source(
        TWO_SUBSETS, "{} has 2 subsets: en, de. Name the one that is meant in subset."
    ),
    "an unknown subset": Source(
        TWO_SUBSETS,
        "{} has 2 subsets: en, de; there is none called fr. Name one of them in subset.",
        {"train_split": "train", "subset": "fr"},
    ),
    "a subset where there are none": Source(
        {"train.jsonl": GOOD},
        "{} has no subset en: it has none. Leave subset empty.",
        {"train_split": "train", "subset": "en"},
    ),
    "a subset of a file": Source(
        one_file("rows.jsonl"),
        "{} has no subset en: it is files chosen by name. Leave subset empty.",
        {"subset": "en"},
    ),
    "a subset elsewhere": Source(
        {"train.jsonl": GOOD},
        "{} has no subset /etc: it has none. Leave subset empty.",
        {"train_split": "train", "subset": "/etc"},
    ),
    "a subset that is the whole": Source(
        {"train.jsonl": GOOD},
        "{} has no subset .: it has none. Leave subset empty.",
        {"train_split": "train", "subset": "."},
    ),
    "a subset above": Source(
        {"train.jsonl": GOOD},
        "{} has no subset ../../../etc: it has none. Leave subset empty.",
        {"train_split": "train", "subset": "../../../etc"},
    ),
    "folders of several things": Source(
        {"en/train.jsonl": GOOD, "de/train.jsonl": GOOD},
        "{}: split train would be made of files that are not alike: de/train.jsonl, en/train.jsonl. Name the folder "
        "that is meant in subset, one of de, en; or say in the `configs` of a README.md which files are the split.",
    ),
    # Dataset cards.
    "a card that names a file that is not there": Source(
        naming("data/train-*.parquet"),
        "The dataset card of {} names files that are not there. Mend its `configs`, or add the files. Its files are README.md, "
        "train.jsonl.",
    ),
    "a card with an absolute path": Source(naming("/etc/passwd"), NOT_ITS_FILE % "/etc/passwd"),
    "a card with a path above": Source(naming("../train.jsonl"), NOT_ITS_FILE % "../train.jsonl"),
    "a card with a home": Source(naming("~/train.jsonl"), NOT_ITS_FILE % "~/train.jsonl"),
    "a card with a URL": Source(
        naming("https://example.com/train.jsonl"), NOT_ITS_FILE % "https://example.com/train.jsonl"
    ),
    "a card that is a book": Source(
        {"README.md": "x" * (9 << 20), "train.jsonl": GOOD},
        "README.md is no dataset card: it has 9,437,184 bytes. Remove it from the dataset.",
    ),
    "a card whose YAML is broken": Source(
        naming("[train.jsonl"),
        "The dataset card of {} cannot be read: line 4 is not YAML. Mend it, in README.md between two lines of three dashes.",
    ),
    "a card that is not UTF-8": Source(
        {"README.md": card("license: mit").encode("utf-16"), "train.jsonl": GOOD},
        "The dataset card of {} cannot be read: README.md is not UTF-8. Write it as UTF-8.",
    ),
    # Folders of save_to_disk.
    "a saved shard that is missing": Source(
        saved("train/data-00001-of-00002.arrow"),
        "{} was written by save_to_disk and is incomplete: train/data-00001-of-00002.arrow is missing. Copy it again.",
    ),
    "a saved state that is missing": Source(
        saved("train/state.json"),
        "{} was written by save_to_disk and is incomplete: train/state.json is missing. Copy it again.",
    ),
    "a subset of a saved dataset": Source(
        saved(),
        "{} has no subset en: it was written by save_to_disk. Leave subset empty.",
        {"train_split": "train", "subset": "en"},
    ),
    "a saved list of splits that is missing": Source(
        saved("dataset_dict.json"),
        "{} was written by save_to_disk and is incomplete: dataset_dict.json is missing. Copy it again.",
    ),
    "a saved state that names no files": Source(
        saved(train__state="{}"),
        "{} was written by save_to_disk and is incomplete: what train/state.json should say of its files is missing. "
        "Copy it again.",
    ),
    "a saved state that breaks off": Source(
        saved(train__state='{"_data_files": ['),
        "{} was written by save_to_disk, and its train/state.json is not JSON. Copy it again.",
    ),
    "a saved selection of rows": Source(
        saved(train__state=json.dumps({"_data_files": [], "_indices_files": [{"filename": "indices.arrow"}]})),
        "{}: split train was written by save_to_disk of an old `datasets` as a selection of rows, which is not "
        "followed here. Save it again with flatten_indices(), or with datasets 2 or newer.",
    ),
    # Parameters that do not fit the source.
    "a prompt column that is not there": Source(
        one_file("rows.jsonl", lines({"question": "a", "reply": "b"})),
        "rows.jsonl has no column ask: prompt_column is ask, response_column is reply. Its columns are question, reply. "
        "Name both by what it has.",
        {"prompt_column": "ask", "response_column": "reply"},
    ),
    "the format of another file": Source(
        one_file("rows.jsonl"),
        "rows.jsonl has no conversations of the format sharegpt: neither conversations nor conversation. Its columns are messages, "
        "prompt, prompt_id. Set format to auto, or name the columns of the prompt and the response in prompt_column and "
        "response_column, or write the rows as messages.",
        {"format": "sharegpt"},
    ),
    "a header alone": Source(one_file("rows.csv", "prompt,response\n"), NO_ROW, ONLY_SPLIT),
    "an array without rows": Source(one_file("rows.json", "[]"), NO_ROW, ONLY_SPLIT),
    "blank lines alone": Source(one_file("rows.jsonl", "\n\n \n"), NO_ROW, ONLY_SPLIT),
    "Parquet without rows": Source(one_file("rows.parquet", parquet(TABLE.slice(0, 0))), NO_ROW, ONLY_SPLIT),
    "too small a share": Source(
        one_file("rows.jsonl"),
        "The sample of train_sft would be empty: it has 3 rows. Raise percent, or set rows.",
        {"percent": 5},
    ),
    "a tokenizer that is not there": Source(
        one_file("rows.jsonl"),
        "There is no tokenizer at {}/../tokenizer.json. Name the model's tokenizer.json, or its folder.",
        {"max_tokens": 9, "tokenizer": "{}/../tokenizer.json"},
    ),
}
"""By what is bad of it, a source."""


@pytest.mark.parametrize("name", SOURCES)
def test_a_bad_source_is_refused(name: str, tmp_path: Path) -> None:
    case = SOURCES[name]
    if callable(case.made):
        source = str(case.made(tmp_path))
    else:
        made = tmp_path / "made"
        made.mkdir()
        for path, content in case.made.items():
            (made / path).parent.mkdir(parents=True, exist_ok=True)
            (made / path).write_bytes(content.encode() if isinstance(content, str) else content)
        source = str(made)
    parameters = {
        key: value.replace("{}", source) if isinstance(value, str) else value for key, value in case.parameters.items()
    }
    assert refusal(source, tmp_path / "out", **parameters) == case.said.replace("{}", source)


TOKENIZER = json.dumps(
    {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": None,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": {"hello": 0, "[UNK]": 1}, "unk_token": "[UNK]"},
    }
)

TOKENIZERS: dict[str, tuple[str, str]] = {
    "a sign-in page": (SIGN_IN, f"{{}} {IS_A_PAGE}"),
    "a Git LFS pointer": (POINTER, f"{{}} {IS_A_POINTER}"),
    "an object": ("{}", "{} is no tokenizer. Name the model's tokenizer.json."),
    "no word for the unknown": (
        TOKENIZER.replace('"unk_token": "[UNK]"', '"unk_token": "gone"'),
        "{} cannot encode the rows: WordLevel error: Missing [UNK] token from the vocabulary. Name the model's own tokenizer.json.",
    ),
}


@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_tokenizer_that_is_none_is_refused(name: str, tmp_path: Path) -> None:
    content, said = TOKENIZERS[name]
    tokenizer = one_file("tokenizer.json", content)(tmp_path)
    source = one_file("rows.jsonl")(tmp_path)
    message = refusal(source, tmp_path / "out", max_tokens=99, tokenizer=str(tokenizer))
    assert message == said.replace("{}", str(tokenizer))


BOUNDS: dict[str, tuple[dict[str, Any], str, str]] = {
    "characters": ({"max_characters": 5}, EVERY_ROW, "more than 5 characters (max_characters): 18"),
    "few characters": ({"min_characters": 50}, EVERY_ROW, "fewer than 50 characters (min_characters): 18"),
    "tokens": ({"max_tokens": 3, "tokenizer": "tokenizer.json"}, EVERY_ROW, "more than 3 tokens (max_tokens): 8"),
    "the last speaker": (
        {"split_options": {"train_sft": {"ends_with": "user"}}},
        EVERY_ROW,
        "the last message is not the user's: 'user, assistant'",
    ),
    "the number that may be dropped": (
        {"max_characters": 5, "on_invalid": "drop", "max_dropped": 2, "max_dropped_percent": 100},
        EVERY_ROW,
        "more than 5 characters (max_characters): 18",
    ),
    "the share that may be dropped": (
        {"max_characters": 5, "on_invalid": "drop"},
        EVERY_ROW,
        "more than 5 characters (max_characters): 18",
    ),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_a_bound_that_rows_break_is_named(name: str, tmp_path: Path) -> None:
    parameters, remedy, said = BOUNDS[name]
    if "tokenizer" in parameters:
        parameters = parameters | {"tokenizer": str(one_file("tokenizer.json", TOKENIZER)(tmp_path))}
    message = refusal(one_file("rows.jsonl")(tmp_path), tmp_path / "out", **parameters)
    findings = "".join(f"\n  rows.jsonl, row {row}: {said}" for row in (1, 2, 3))
    assert message == f"3 rows break a rule. {remedy}{findings}"


def test_the_number_that_may_be_dropped_is_told(tmp_path: Path) -> None:
    source = one_file("rows.jsonl", lines(*conversations(9), *[chat(("user", "x"))] * 2))(tmp_path)
    message = refusal(source, tmp_path / "out", on_invalid="drop", max_dropped=1, max_dropped_percent=100)
    assert "At most 1 may be dropped. Mend the dataset, or raise max_dropped." in message


def test_a_share_below_a_percent_is_told_as_it_is(tmp_path: Path) -> None:
    source = one_file("rows.jsonl", lines(*conversations(1000), *[chat(("user", "x"))] * 2))(tmp_path)
    message = refusal(source, tmp_path / "out", on_invalid="drop", max_dropped_percent=0.1)
    assert "That is 0.2 % of the 1002 sampled rows, and at most 0.1 % may be dropped." in message


def test_a_share_is_not_rounded_up(tmp_path: Path) -> None:
    source = one_file("rows.jsonl", lines(*conversations(28), *[chat(("user", "x"))] * 2))(tmp_path)
    message = refusal(source, tmp_path / "out", on_invalid="drop", max_dropped_percent=5)
    assert "That is 6.67 % of the 30 sampled rows, and at most 5 % may be dropped." in message


def test_where_every_row_was_dropped_the_reason_is_told(tmp_path: Path) -> None:
    source = one_file("rows.jsonl", lines(chat(("user", "x"))))(tmp_path)
    assert refusal(source, tmp_path / "out", **DROPPED) == (
        "No row of train_sft is left for train: all were dropped. Mend the dataset.\n"
        "  rows.jsonl, row 1: the last message is not the assistant's: 'user'"
    )


@pytest.mark.parametrize("part", ["train", "validation"])
def test_a_conversation_of_the_training_split_in_another_one_is_named_with_both_places(
    part: str, tmp_path: Path
) -> None:
    other = "validation" if part == "validation" else "test"
    (tmp_path / "train.jsonl").write_text(lines(*conversations(3)))
    (tmp_path / f"{other}.jsonl").write_text(lines(*conversations(1, 9), conversation(2)))
    message = refusal(tmp_path, tmp_path / "out", train_split="train", **{f"{other}_split": other})
    assert message == (
        f"1 row breaks a rule. {MEND}\n  {other}.jsonl, row 2: the conversation is in the training sample (train.jsonl, row 3) "
        f"too: '{conversation(2)['prompt_id']}'"
    )


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("rows.csv", "x" * 100_000 + ",response\nhi,hello\n"),
        ("rows.jsonl", lines({"x" * 100_000: 1})),
        ("rows.jsonl", lines({"a\nb\x1b[31m": 1})),
        ("rows.jsonl", lines(*[{"messages": "\U0001f600" * 1000}] * 20)),  # product: 2,344 characters
    ],
    ids=["a header", "a key", "an escape", "emoji"],
)
def test_a_refusal_is_short_and_plain_whatever_the_file_holds(file: str, content: str, tmp_path: Path) -> None:
    message = refusal(one_file(file, content)(tmp_path), tmp_path / "out")
    assert message.count("\n") <= 11
