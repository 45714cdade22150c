"""Which rows are taken."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import xxhash

from tasks.sampling.errors import DatasetError, InvalidRows
from tasks.sampling.parameters import DatasetParameters
from tasks.sampling.sameness import RECENT_ROWS, Place, Seen
from tasks.sampling.sample import sample
from tests.tasks.dataset.made import (
    Row,
    conversations,
    dataset,
    only_train,
    read_jsonl,
    rows_of,
    sample_all,
    write_jsonl,
    write_parquet,
)


@pytest.mark.parametrize("percent", [5, 10, 33, 50, 100])
def test_head_gives_the_rows_of_the_download_script(percent: int, tmp_path: Path) -> None:
    from datasets import load_dataset

    source = dataset(tmp_path / "made", rows=37)
    theirs = load_dataset(str(source), split=f"train_sft[0%:{percent}%]", cache_dir=str(tmp_path / "cache"))
    theirs.to_json(str(tmp_path / "theirs.jsonl"))
    ours = sample_all(source, tmp_path / "out", percent=percent, validation_percent=0)
    assert read_jsonl(ours.train.path) == read_jsonl(tmp_path / "theirs.jsonl")


@pytest.mark.parametrize("total", [1, 9, 10, 30, 50, 70, 90, 99])
def test_the_size_of_a_sample_is_rounded_as_the_download_script_rounds(total: int) -> None:
    from datasets import ReadInstruction

    for percent in range(1, 101):
        theirs = ReadInstruction.from_spec(f"train_sft[0%:{percent}%]").to_absolute({"train_sft": total})[0]
        assert only_train("x", percent=percent).sample_size("train_sft", total) == theirs.to


def test_a_random_sample_is_exact_and_ranked_by_its_content_alone(tmp_path: Path) -> None:
    rows = conversations(200)
    source = write_parquet(tmp_path / "rows.parquet", rows, group_rows=30)
    chosen = {row["prompt_id"] for row in sorted(rows, key=partial(_rank, seed=7, purpose=1))[:23]}
    expected = [row for row in rows if row["prompt_id"] in chosen]
    assert rows_of(source, tmp_path / "out", method="random", seed=7, rows=23) == expected


def _rank(row: Row, seed: int, purpose: int) -> int:
    """As the documentation has it, with nothing of the sampler's."""

    def mixed(value: int) -> int:
        value = (value + 0x9E3779B97F4A7C15) % 2**64
        value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        value = (value ^ value >> 27) * 0x94D049BB133111EB % 2**64
        return value ^ value >> 31

    roles = ["system", "user", "assistant", "tool"]
    texts = [its["content"].encode() for its in row["messages"]]
    forms = [8 * len(text) + roles.index(its["role"]) for text, its in zip(texts, row["messages"], strict=True)]
    form = sum(mixed(form ^ mixed(place)) for place, form in enumerate(forms)) % 2**64
    return mixed(xxhash.xxh3_64_intdigest(b"".join(texts), form) ^ mixed(seed ^ mixed(purpose)))


def test_rows_without_a_prompt_are_written_without_it_by_chance_too(tmp_path: Path) -> None:
    bare = [{"messages": row["messages"], "prompt_id": row["prompt_id"]} for row in conversations(40)]
    rows = rows_of(write_jsonl(tmp_path / "rows.jsonl", bare), tmp_path / "out", method="random", rows=9)
    assert len(rows) == 9 and all(row in bare for row in rows)


def test_another_seed_takes_other_rows(tmp_path: Path) -> None:
    source = write_parquet(tmp_path / "rows.parquet", conversations(200))
    one = rows_of(source, tmp_path / "out", method="random", seed=1, rows=20)
    two = rows_of(source, tmp_path / "out", method="random", seed=2, rows=20)
    assert one != two


def test_a_random_sample_does_not_depend_on_how_the_rows_are_filed(tmp_path: Path) -> None:
    rows = conversations(100)
    write_parquet(tmp_path / "one/train_sft.parquet", rows)
    write_parquet(tmp_path / "two/train_sft-00000-of-00002.parquet", rows[:33], group_rows=7)
    write_parquet(tmp_path / "two/train_sft-00001-of-00002.parquet", rows[33:], group_rows=50)
    one = sample(only_train(tmp_path / "one", method="random", percent=20), tmp_path / "out")
    two = sample(only_train(tmp_path / "two", method="random", percent=20), tmp_path / "out")
    assert one.train.sha256 == two.train.sha256


def test_a_random_sample_of_rows_that_are_mostly_alike_is_exact(tmp_path: Path) -> None:
    rows = [*conversations(50), *conversations(1, 999) * 950]
    # Whatever is put aside by a share of all ranks, it is not enough.
    chosen = sorted(rows, key=partial(_rank, seed=7, purpose=1))[:100]
    source = write_jsonl(tmp_path / "rows.jsonl", rows)
    may_drop = {"on_invalid": "drop", "max_dropped": 1000, "max_dropped_percent": 100}
    train = sample(only_train(source, method="random", seed=7, rows=100, **may_drop), tmp_path / "out").train
    assert read_jsonl(train.path) == [row for row in rows[:51] if row in chosen]
    assert train.rows + train.dropped == 100


def test_rows_win_over_percent_and_stop_at_the_end_of_the_split(tmp_path: Path) -> None:
    source = write_parquet(tmp_path / "rows.parquet", conversations(30))
    assert len(rows_of(source, tmp_path / "out", percent=50, rows=7)) == 7
    assert len(rows_of(source, tmp_path / "out", percent=50, rows=1000)) == 30


def test_a_split_can_have_its_own_size(tmp_path: Path) -> None:
    source = dataset(tmp_path / "made", rows=20)
    sampled = sample_all(
        source,
        tmp_path / "out",
        percent=50,
        validation_percent=0,
        split_options={"test_sft": {"rows": 3}, "test_gen": {"percent": 100}},
    )
    assert {purpose: split.rows for purpose, split in sampled.splits().items()} == {"train": 20, "test": 3, "score": 20}


def test_a_split_s_own_share_wins_over_the_rows_of_all() -> None:
    params = only_train("x", rows=5, split_options={"train_sft": {"percent": 50}})
    assert params.sample_size("train_sft", 40) == 20


def test_validation_rows_are_held_out_of_the_training_sample(tmp_path: Path) -> None:
    source = dataset(tmp_path / "made", rows=50)
    sampled = sample_all(source, tmp_path / "out", percent=100, validation_percent=10)
    assert sampled.validation is not None
    train, validation = read_jsonl(sampled.train.path), read_jsonl(sampled.validation.path)
    everything = conversations(50) + conversations(50, 1000)
    assert (len(train), len(validation)) == (90, 10)
    assert [row for row in everything if row in validation or row in train] == everything
    assert not {row["prompt_id"] for row in train} & {row["prompt_id"] for row in validation}
    ranked = sorted(everything, key=partial(_rank, seed=42, purpose=2))
    assert {row["prompt_id"] for row in validation} == {row["prompt_id"] for row in ranked[:10]}


@pytest.mark.parametrize(("rows", "percent", "held_out"), [(4, 10, 1), (2, 1, 1), (1, 10, 0), (4, 0, 0)])
def test_of_few_rows_one_is_held_out_where_a_share_is_asked_for(
    rows: int, percent: float, held_out: int, tmp_path: Path
) -> None:
    params = only_train(write_jsonl(tmp_path / "rows.jsonl", conversations(rows)), validation_percent=percent)
    sampled = sample(params, tmp_path / "out")
    assert (sampled.train.rows, sampled.validation.rows if sampled.validation else 0) == (rows - held_out, held_out)


def test_a_repeat_of_a_held_out_conversation_is_not_trained_on(tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "rows.jsonl", conversations(10) * 2)
    may_drop = {"on_invalid": "drop", "max_dropped_percent": 50}
    sampled = sample(only_train(source, validation_percent=5, **may_drop), tmp_path / "out")
    assert sampled.validation is not None
    [held_out] = read_jsonl(sampled.validation.path)
    assert read_jsonl(sampled.train.path) == [row for row in conversations(10) if row != held_out]


def test_a_broken_last_row_is_told_where_rows_are_held_out(tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "rows.jsonl", conversations(9))
    source.write_text(source.read_text() + "{broken}\n")
    with pytest.raises(InvalidRows, match=r"rows\.jsonl, row 10: is not JSON"):
        sample(only_train(source, validation_percent=10), tmp_path / "out")


def test_of_many_conversations_each_is_recognised_with_its_place() -> None:
    seen, rows = Seen(), np.arange(1, RECENT_ROWS + 1)
    of_train = rows.astype(np.uint64)
    assert not any(seen.meet(of_train, "train", "train.jsonl", rows))
    assert seen.meet(of_train[[6]], "test", "test.jsonl", rows[:1]) == [Place("train", "train.jsonl", 7)]


def test_the_scoring_rows_may_be_the_test_s(tmp_path: Path) -> None:
    made = dataset(tmp_path / "made", rows=30)
    params = DatasetParameters(source=str(made), percent=100, score_split="test_sft")
    sampled = sample(params, tmp_path / "out")
    assert sampled.test is not None and sampled.score is not None
    assert sampled.score.path.read_bytes() == sampled.test.path.read_bytes() != b""


def test_a_named_validation_split_leaves_the_training_sample_whole(tmp_path: Path) -> None:
    source = dataset(tmp_path / "made")
    sampled = sample_all(source, tmp_path / "out", percent=100, validation_split="train_gen")
    assert sampled.validation is not None
    assert (sampled.train.rows, sampled.validation.rows, sampled.validation.split) == (40, 20, "train_gen")


def test_a_sample_of_no_row_is_refused(tmp_path: Path) -> None:
    source = write_parquet(tmp_path / "rows.parquet", conversations(9))
    with pytest.raises(DatasetError, match="The sample of train_sft would be empty: it has 9 rows"):
        sample(only_train(source, percent=5), tmp_path / "out")


@pytest.mark.parametrize("validation_percent", [0.0, 10.0])
def test_a_test_row_that_was_trained_on_is_refused(validation_percent: float, tmp_path: Path) -> None:
    source = dataset(tmp_path / "made", rows=20)
    write_parquet(source / "data/test_sft-00000-of-00001.parquet", [*conversations(3, 2000), *conversations(2, 5)])
    with pytest.raises(DatasetError) as refused:
        sample_all(source, tmp_path / "out", percent=100, validation_percent=validation_percent)
    assert [line.rpartition(":")[0] for line in str(refused.value).splitlines()[1:]] == [
        f"  data/test_sft-00000-of-00001.parquet, row {row}: the conversation is in the training sample "
        f"(data/train_sft-00000-of-00002.parquet, row {place}) too"
        for row, place in ((4, 6), (5, 7))
    ]


def test_a_trained_conversation_under_another_prompt_id_is_refused(tmp_path: Path) -> None:
    source = dataset(tmp_path / "made", rows=20)
    again = [row | {"prompt_id": "another"} for row in conversations(1, 5)]
    write_parquet(source / "data/test_sft-00000-of-00001.parquet", [*conversations(3, 2000), *again])
    with pytest.raises(
        DatasetError, match=r"row 4: the conversation is in the training sample \(.*, row 6\) too: 'another'"
    ):
        sample_all(source, tmp_path / "out", percent=100)


def test_a_scoring_row_that_was_trained_on_is_refused(tmp_path: Path) -> None:
    source = dataset(tmp_path / "made", rows=20)
    write_parquet(source / "data/test_gen-00000-of-00001.parquet", conversations(1, 5))
    with pytest.raises(DatasetError, match=r"row 1: the conversation is in the training sample \(.*, row 6\) too"):
        sample_all(source, tmp_path / "out", percent=100)


def test_generation_splits_may_end_with_the_user_and_others_when_told(tmp_path: Path) -> None:
    source = write_parquet(tmp_path / "rows.parquet", conversations(5, turns=3))
    assert len(rows_of(source, tmp_path / "out", train_split="train_gen")) == 5
    options = {"train_sft": {"ends_with": "user"}}
    assert len(rows_of(source, tmp_path / "out", split_options=options)) == 5
    with pytest.raises(DatasetError, match="the last message is not the assistant's"):
        rows_of(source, tmp_path / "out")
