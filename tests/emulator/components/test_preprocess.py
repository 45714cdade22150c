"""Which rows are kept and what is told of the others, and how a validation split is cut."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from emulator.components.chat_completion.encoded import EncodedSplit
from emulator.components.chat_completion.import_model import MODEL
from emulator.components.chat_completion.preprocess import stops_of
from emulator.components.step import UserError
from tests.emulator.components.chat_templates import STYLES, Style, tokenizer_of
from tests.emulator.components.steps import Row, chat, encoded, rows, write_jsonl


def weighted(row: Row, weight: int) -> Row:
    """The row with a weight on its answers."""
    return {"messages": [{**m, "weight": weight} if m["role"] == "assistant" else m for m in row["messages"]]}


@dataclass
class Tracked:
    """A tracking store of its own."""

    client: Any
    experiment: str

    def new_run(self) -> str:
        return str(self.client.create_run(self.experiment).info.run_id)


@pytest.fixture
def tracked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tracked:
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    mlflow.set_tracking_uri(None)  # type: ignore[arg-type]
    client = mlflow.MlflowClient()
    return Tracked(client, client.create_experiment("chat", artifact_location=str(tmp_path)))


def test_a_row_whose_answer_lies_beyond_the_limit_is_ignored_and_counted(
    model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content = [*rows(10), chat("word " * 200, "too late")]
    with caplog.at_level(logging.WARNING):
        output = encoded(tmp_path, model, train_file_path=write_jsonl(tmp_path / "t.jsonl", content), max_seq_length=64)
    train = EncodedSplit.load(output / "train.npz")
    validation, test = (EncodedSplit.load(output / f"{name}.npz") for name in ("validation", "test"))
    assert len(train) + len(validation) + len(test) == 10
    assert max(train.lengths) <= 64
    assert "1 of 11 rows left out: 1 have no answer within max_seq_length, 64 tokens" in caplog.text


def test_when_no_row_is_left_a_larger_limit_is_asked_for(model: Path, tmp_path: Path) -> None:
    train = write_jsonl(tmp_path / "t.jsonl", [chat("word " * 50, "too late")] * 3)
    with pytest.raises(
        UserError, match=r"None of the 3 rows of the train data .* 3 have no .*, 16 tokens. Give a larger"
    ):
        encoded(tmp_path, model, train_file_path=train, max_seq_length=16)


def test_a_row_as_long_as_the_limit_is_not_truncated(
    model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train = write_jsonl(tmp_path / "t.jsonl", [chat("Hi", "Hello")] * 3)
    whole = EncodedSplit.load(encoded(tmp_path / "whole", model, train_file_path=train) / "train.npz")
    length = int(whole.lengths[0])
    for limit, truncated in ((length, 0), (length - 1, 3)):
        caplog.clear()
        with caplog.at_level(logging.INFO):
            encoded(tmp_path / "cut", model, train_file_path=train, max_seq_length=limit)
        assert f"; {truncated} rows truncated;" in caplog.text


def test_an_answer_that_is_a_row_s_first_token_alone_teaches_nothing(model: Path, tmp_path: Path) -> None:
    bare = tmp_path / "model"
    shutil.copytree(model, bare)
    style = Style("{% for m in messages %}{{ m.content }}{% endfor %}", ("<|end|>",), "", "")
    tokenizer_of(style, model / MODEL).save_pretrained(bare / MODEL)
    row = {"messages": [{"role": "assistant", "content": "x"}, {"role": "user", "content": "y"}]}
    train = write_jsonl(tmp_path / "t.jsonl", [row] * 4)
    with pytest.raises(UserError, match="4 have nothing to learn"):
        encoded(tmp_path, bare, train_file_path=train)


def test_when_all_answers_have_weight_0_answers_are_asked_for(model: Path, tmp_path: Path) -> None:
    train = write_jsonl(tmp_path / "t.jsonl", [weighted(chat("Hi", "Hello"), 0)] * 4)
    with pytest.raises(UserError, match=r"None of the 4 rows .* 4 have nothing to learn .* Give rows with an answer"):
        encoded(tmp_path, model, train_file_path=train)


@pytest.mark.parametrize("root", ["root", None])
def test_the_figures_of_each_split_are_metrics_of_the_job(
    root: str | None, model: Path, tmp_path: Path, tracked: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, pipeline = tracked.new_run(), tracked.new_run()
    monkeypatch.setenv("MLFLOW_RUN_ID", step)
    monkeypatch.setenv("AZUREML_ROOT_RUN_ID", pipeline if root else step)
    too_long, cut, nothing = chat("word " * 200, "late"), chat("Hi", "word " * 200), weighted(chat("Hi", "Hello"), 0)
    train = write_jsonl(tmp_path / "t.jsonl", [*rows(5), too_long, too_long, cut, nothing, nothing, nothing])
    validation = write_jsonl(tmp_path / "v.jsonl", rows(2))
    output = encoded(tmp_path, model, train_file_path=train, validation_file_path=validation, max_seq_length=64)
    kept = EncodedSplit.load(output / "train.npz")
    for run in (step, pipeline) if root else (step,):
        metrics = tracked.client.get_run(run).data.metrics
        assert {name: value for name, value in metrics.items() if name.startswith("train")} == {
            "train_rows_used": 6,
            "train_rows_left_out": 5,
            "train_rows_left_out_too_long": 2,
            "train_rows_left_out_nothing_to_learn": 3,
            "train_rows_truncated": 1,
            "train_answers_left_out": 3,
            "train_tokens": len(kept.tokens),
            "train_tokens_with_loss": kept.labelled.sum(),
        }
        assert metrics["validation_rows_used"] == 2 and metrics["validation_rows_left_out"] == 0


def test_thoughts_that_the_template_forgets_are_told_of_with_a_row(
    model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    forgetful = tmp_path / "model"
    shutil.copytree(model, forgetful)
    tokenizer = tokenizer_of(STYLES["qwen-thinking"], model / MODEL)
    tokenizer.save_pretrained(forgetful / MODEL)
    train = write_jsonl(
        tmp_path / "t.jsonl",
        [
            chat("2+2?", "four"),
            chat("2+2?", *["<think>easy</think>four", "3+3?"] * 2, "six"),
            chat("2+2?", "<think>easy</think>four", "3+3?", "six"),
        ],
    )
    with caplog.at_level(logging.WARNING):
        encoded(tmp_path, forgetful, train_file_path=train, validation_file_path=train)
    assert "train: the chat template leaves out 3 answers or a part of them" in caplog.text
    assert "The first: t.jsonl, row 2, message 2" in caplog.text


def test_a_row_that_the_template_refuses_is_named(model: Path, tmp_path: Path) -> None:
    picky = tmp_path / "model"
    shutil.copytree(model, picky)
    tokenizer_of(STYLES["mistral"], model / MODEL).save_pretrained(picky / MODEL)
    bad = {"messages": [{"role": "user", "content": text} for text in "ab"] + [{"role": "assistant", "content": "c"}]}
    train = write_jsonl(tmp_path / "t.jsonl", [chat("Hi", "Hello"), bad])
    with pytest.raises(UserError, match=r"t\.jsonl, row 2: .* \(Roles must take turns: user, assistant\)"):
        encoded(tmp_path, picky, train_file_path=train)


@pytest.mark.parametrize(
    ("with_test", "sizes"),
    [(True, {"train": 40, "validation": 10}), (False, {"train": 40, "validation": 5, "test": 5})],
)
def test_without_validation_data_a_fifth_of_the_training_rows_is_cut_off(
    with_test: bool, sizes: dict[str, int], model: Path, tmp_path: Path
) -> None:
    given = {"train_file_path": write_jsonl(tmp_path / "t.jsonl", rows(50))}
    if with_test:
        given["test_file_path"] = write_jsonl(tmp_path / "test.jsonl", rows(3))
    output = encoded(tmp_path, model, **given)
    assert {name: len(EncodedSplit.load(output / f"{name}.npz")) for name in sizes} == sizes


def test_validation_data_that_is_given_leaves_the_training_rows_whole(data: Path) -> None:
    assert [len(EncodedSplit.load(data / f"{name}.npz")) for name in ("train", "validation")] == [48, 12]


def test_too_few_rows_to_cut_from_are_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Give validation_file_path, or more rows"):
        encoded(tmp_path, model, train_file_path=write_jsonl(tmp_path / "t.jsonl", rows(2)))


def test_minus_one_means_the_models_own_limit(model: Path, tmp_path: Path) -> None:
    long = chat("Tell me more", "word " * 3000)
    output = encoded(tmp_path, model, train_file_path=write_jsonl(tmp_path / "t.jsonl", [long] * 3))
    assert EncodedSplit.load(output / "train.npz").lengths.tolist() == [4096]


def test_more_than_the_model_takes_means_the_models_own_limit(model: Path, tmp_path: Path) -> None:
    train = write_jsonl(tmp_path / "t.jsonl", [chat("Tell me more", "word " * 3000)] * 3)
    output = encoded(tmp_path, model, train_file_path=train, max_seq_length=5000)
    assert EncodedSplit.load(output / "train.npz").lengths.tolist() == [4096]


def test_ends_are_those_that_either_configuration_names(tmp_path: Path) -> None:
    assert stops_of(tmp_path) == set()
    for generation, config, stops in (([1, 2], 7, {1, 2, 7}), (3, None, {3}), (None, [4], {4})):
        for name, named in (("generation_config", generation), ("config", config)):
            (tmp_path / f"{name}.json").write_text(json.dumps({"eos_token_id": named}))
        assert stops_of(tmp_path) == stops


def test_a_split_survives_being_written(tmp_path: Path) -> None:
    split = EncodedSplit.of([([1, 2, 3], [False, True, True]), ([4], [False])])
    split.save(tmp_path / "split.npz")
    found = EncodedSplit.load(tmp_path / "split.npz")
    assert found.row(0)[0].tolist() == [1, 2, 3] and found.row(1)[1].tolist() == [False]
    assert found.part(1, 2).tokens.tolist() == [4]
