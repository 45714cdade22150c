"""Where rows are found, and what is said when they are not."""

import gzip
import json
import os
import re
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from tasks.sampling.errors import DatasetError, SourceUnavailable, UnreadableFile
from tasks.sampling.reading import SplitReader
from tasks.sampling.sample import sample
from tasks.sampling.source import resolve
from tests.tasks.dataset.made import (
    conversation,
    conversations,
    dataset,
    only_train,
    read_jsonl,
    rows_of,
    sample_all,
    write_jsonl,
    write_parquet,
)


def test_shards_are_read_in_the_order_of_their_names(tmp_path: Path) -> None:
    train = sample_all(dataset(tmp_path / "made"), tmp_path / "out", percent=100, validation_percent=0).train
    assert read_jsonl(train.path) == conversations(20) + conversations(20, 1000)


@pytest.mark.parametrize(
    "name", ["train_sft.jsonl", "data/train_sft-00000-of-00001.jsonl", "train_sft/0000.jsonl", "train_sft/part.ndjson"]
)
def test_a_file_belongs_to_the_split_of_its_own_or_its_folder_s_name(name: str, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "made" / name, conversations(3))
    write_jsonl(tmp_path / "made" / "train_sft_old.jsonl", conversations(3, 10))
    assert rows_of(tmp_path / "made", tmp_path / "out") == conversations(3)


def _gzip(path: Path) -> Path:
    path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
    return path.with_name(path.name + ".gz")


def _gzip_in_two_members(path: Path) -> Path:
    lines = path.read_bytes().splitlines(keepends=True)
    path.with_name(path.name + ".gz").write_bytes(gzip.compress(lines[0]) + gzip.compress(b"".join(lines[1:])))
    return path.with_name(path.name + ".gz")


def _zstd(path: Path) -> Path:
    packed = path.with_name(path.name + ".zst")
    with pa.CompressedOutputStream(str(packed), "zstd") as stream:
        stream.write(path.read_bytes())
    return packed


@pytest.mark.parametrize("pack", [_gzip, _gzip_in_two_members, _zstd])
def test_compressed_json_lines_are_read(pack: object, tmp_path: Path) -> None:
    assert callable(pack)
    plain = write_jsonl(tmp_path / "rows.jsonl", conversations(700))
    assert rows_of(pack(plain), tmp_path / "out") == conversations(700)


@pytest.mark.parametrize("pack", [_gzip, _zstd])
def test_a_damaged_compressed_file_is_named(pack: object, tmp_path: Path) -> None:
    assert callable(pack)
    packed = pack(write_jsonl(tmp_path / "rows.jsonl", conversations(700)))
    packed.write_bytes(packed.read_bytes()[:500])
    with pytest.raises(UnreadableFile, match=rf"{packed.name} is damaged"):
        sample(only_train(packed), tmp_path / "out")


@pytest.mark.parametrize("compression", ["gzip", "zstd", "snappy", "uncompressed"])
def test_parquet_is_read_whatever_its_compression(compression: str, tmp_path: Path) -> None:
    source = write_parquet(tmp_path / "rows.parquet", conversations(50))
    pl.read_parquet(source).write_parquet(source, compression=compression)  # type: ignore[arg-type]
    assert rows_of(source, tmp_path / "out") == conversations(50)


def test_a_glob_takes_the_files_it_names(tmp_path: Path) -> None:
    dataset(tmp_path / "made")
    train = sample(only_train(tmp_path / "made/data/train_sft-*.parquet"), tmp_path / "out").train
    assert train.rows == 40
    train = sample(only_train(f"{tmp_path}/made/**/*-00000-of-00002.parquet"), tmp_path / "out").train
    assert train.rows == 20


def test_a_glob_with_one_split_takes_files_of_any_name(tmp_path: Path) -> None:
    for part in range(3):
        write_jsonl(tmp_path / f"made/part-{part}.jsonl", conversations(2, 2 * part))
    assert rows_of(tmp_path / "made/part-*.jsonl", tmp_path / "out") == conversations(6)


def test_a_revision_is_refused_where_there_are_none(tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "rows.jsonl", conversations(3))
    with pytest.raises(SourceUnavailable, match="has no revision v1: only datasets of the hub have"):
        sample(only_train(source, revision="v1"), tmp_path / "out")


@pytest.mark.parametrize("name", ["rows.parquet", "rows.jsonl"])
def test_long_conversations_are_read_in_small_batches(name: str, tmp_path: Path) -> None:
    rows = [conversation(number, text="x" * 500_000) for number in range(60)]
    path = write_jsonl(tmp_path / name, rows) if name.endswith("jsonl") else write_parquet(tmp_path / name, rows, 60)
    with SplitReader(
        "train_sft", resolve(str(path), ["train_sft"]), only_train(path, max_characters=2_000_000)
    ) as reader:
        sizes = [len(batch.frame) for batch in reader.read(np.arange(60))]
    assert sum(sizes) == 60
    assert max(sizes) <= 17


def test_blank_lines_carriage_returns_and_a_byte_order_mark_do_no_harm(tmp_path: Path) -> None:
    lines = [json.dumps(row, ensure_ascii=False).encode() for row in conversations(3)]
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + b"\r\n\r\n \n".join(lines))
    assert rows_of(path, tmp_path / "out") == conversations(3)
    path.write_bytes(lines[0] + b"\r\n\r\n" + b'{"prompt": 1}')
    with pytest.raises(DatasetError, match=r"rows\.jsonl, row 3: messages are missing: null"):
        sample(only_train(path), tmp_path / "out")


def test_findings_are_told_in_the_order_of_the_rows(tmp_path: Path) -> None:
    lines = [json.dumps(row) for row in conversations(3)]
    path = tmp_path / "rows.jsonl"
    path.write_text(
        "\n".join([lines[0], '{"messages": [], "prompt_id": "a", "prompt": "b"}', "{broken", lines[1]]) + "\n"
    )
    with pytest.raises(DatasetError) as refused:
        sample(only_train(path), tmp_path / "out")
    assert re.findall(r"row (\d)", str(refused.value)) == ["2", "3"]


def test_a_bad_row_of_a_later_file_is_named_with_that_file(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "made/train-0.jsonl", conversations(3))
    write_jsonl(tmp_path / "made/train-1.jsonl", [conversation(4), conversation(5, turns=3)])
    with pytest.raises(DatasetError, match=r"train-1\.jsonl, row 2: the last message is not the assistant's"):
        sample(only_train(tmp_path / "made", train_split="train"), tmp_path / "out")


def test_files_without_the_column_prompt_are_written_without_it(tmp_path: Path) -> None:
    bare = [{"messages": row["messages"], "prompt_id": row["prompt_id"]} for row in conversations(3)]
    assert rows_of(write_jsonl(tmp_path / "rows.jsonl", bare), tmp_path / "out") == bare


def test_a_prompt_that_only_a_later_row_has_is_kept(tmp_path: Path) -> None:
    rows = conversations(2)
    bare = {"messages": rows[0]["messages"], "prompt_id": rows[0]["prompt_id"]}
    assert rows_of(write_jsonl(tmp_path / "rows.jsonl", [bare, rows[1]]), tmp_path / "out") == rows


def test_files_of_a_split_may_differ_in_their_columns(tmp_path: Path) -> None:
    rows = conversations(3)
    write_jsonl(tmp_path / "made/train-0.jsonl", rows[:1])
    write_jsonl(tmp_path / "made/train-1.jsonl", [{"messages": rows[1]["messages"]}])
    write_parquet(tmp_path / "other/train-0.parquet", rows[2:])
    kept = rows_of(tmp_path / "made", tmp_path / "out", train_split="train")
    assert [row["messages"] for row in kept] == [row["messages"] for row in rows[:2]]


def test_json_lines_nested_too_deep_are_refused(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "rows.jsonl", [conversation(1)])
    path.write_bytes(path.read_bytes() + b"[" * 100_000 + b"\n")
    with pytest.raises(DatasetError, match=r"rows\.jsonl, row 2: is not JSON at character 1 \(nested too deep\)"):
        sample(only_train(path), tmp_path / "out")


def test_a_line_without_end_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    with path.open("wb") as file:
        file.truncate(70 << 20)
    with pytest.raises(UnreadableFile, match=r"rows\.jsonl is nothing but zeros"):
        sample(only_train(path), tmp_path / "out")


def test_an_empty_file_has_no_rows_to_sample(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").touch()
    with pytest.raises(DatasetError, match=r"rows\.jsonl is empty\. Copy it again"):
        sample(only_train(tmp_path / "rows.jsonl"), tmp_path / "out")
    (tmp_path / "rows.jsonl").write_text("\n\n")
    with pytest.raises(DatasetError, match=r"Split train_sft of .*rows\.jsonl has no row"):
        sample(only_train(tmp_path / "rows.jsonl"), tmp_path / "out")


def test_a_folder_without_data_is_refused(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    with pytest.raises(SourceUnavailable, match="made holds no data: there is no file"):
        sample(only_train(tmp_path / "made"), tmp_path / "out")
    (tmp_path / "made/README.md").write_text("nothing here")
    with pytest.raises(SourceUnavailable, match="made holds no data: none of its 1 files is Parquet, JSON Lines"):
        sample(only_train(tmp_path / "made"), tmp_path / "out")


def test_a_source_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailable, match=r"absent\.parquet cannot be read: No such file or directory"):
        sample(only_train(tmp_path / "absent.parquet"), tmp_path / "out")


def test_a_split_that_is_not_there_is_refused_with_the_files_that_are(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "made/train.jsonl", conversations(3))
    write_jsonl(tmp_path / "made/test.jsonl", conversations(3, 10))
    with pytest.raises(
        SourceUnavailable, match=r"no split test_sft\. Its splits, .* are train \(train\.jsonl\); test \(test\.jsonl\)"
    ):
        sample(only_train(tmp_path / "made", train_split="train", test_split="test_sft"), tmp_path / "out")


def test_links_that_lead_around_in_a_circle_are_refused(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    (tmp_path / "made/up").symlink_to(tmp_path / "made")
    with pytest.raises(SourceUnavailable, match="up is a symbolic link to a folder above itself"):
        sample(only_train(tmp_path / "made"), tmp_path / "out")
    (tmp_path / "loop.parquet").symlink_to(tmp_path / "loop.parquet")
    with pytest.raises(SourceUnavailable, match=r"loop\.parquet cannot be read: Too many levels of symbolic links"):
        sample(only_train(tmp_path / "loop.parquet"), tmp_path / "out")


def test_a_shard_whose_link_leads_to_nothing_is_not_passed_over(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "made/train-0.jsonl", conversations(3))
    (tmp_path / "made/train-1.jsonl").symlink_to("gone.jsonl")
    with pytest.raises(SourceUnavailable, match=r"train-1\.jsonl is a symbolic link to gone\.jsonl"):
        resolve(str(tmp_path / "made"), ["train"])


def test_linked_files_and_folders_are_followed(tmp_path: Path) -> None:
    dataset(tmp_path / "made")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked/data").symlink_to(tmp_path / "made/data")
    os.symlink(tmp_path / "made/data/train_sft-00000-of-00002.parquet", tmp_path / "train_sft.parquet")
    assert len(rows_of(tmp_path / "linked", tmp_path / "out")) == 40
    assert rows_of(tmp_path / "train_sft.parquet", tmp_path / "out") == conversations(20)


@pytest.mark.parametrize(
    ("parameters", "refusal"),
    [
        ({"test_split": "train_sft"}, "one split cannot serve twice"),
        ({"score_split": "train_sft"}, "one split cannot serve twice.*, or null for the test or scoring split"),
        ({"validation_split": "x", "score_split": "x"}, "one split cannot serve twice"),
        ({"split_options": {"other": {"rows": 1}}}, "options are given for other"),
        ({"min_characters": 9, "max_characters": 8}, "min_characters 9 is more than max_characters 8"),
        ({"max_tokens": 9}, "max_tokens needs the model's tokenizer"),
        ({"prompt_column": "a", "response_column": "a"}, "a cannot be both the prompt's and the response's column"),
        ({"prompt_column": "a", "format": "messages"}, "columns of .* are named, but the format is messages"),
        ({"percent": 0}, "greater than 0"),
        ({"percents": 5}, "Extra inputs are not permitted"),
        ({"train_split": "../x"}, "should match pattern"),
    ],
)
def test_parameters_that_do_not_fit_together_are_refused(parameters: dict[str, object], refusal: str) -> None:
    with pytest.raises(ValueError, match=refusal):
        only_train("x", **parameters)
