"""The stage as Prefect runs it, and what people see of it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from prefect.blocks.system import Secret
from prefect.client.orchestration import get_client

from tasks.dataset import SHOWN_CHARACTERS, sample_dataset
from tasks.sampling.errors import InvalidRows
from tasks.sampling.parameters import DatasetParameters
from tasks.sampling.results import SampledDataset
from tests.prefect_server import prefect_server
from tests.tasks.dataset.made import conversation, conversations, dataset, only_train, write_jsonl


@pytest.fixture(scope="module", autouse=True)
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A Prefect server of the tests' own."""
    with prefect_server(tmp_path_factory.mktemp("prefect")):
        yield


@flow
def sampling(params: DatasetParameters, directory: Path) -> SampledDataset:
    """One stage."""
    return sample_dataset(params, directory)


def test_the_stage_gives_the_sample_and_shows_it(tmp_path: Path) -> None:
    made = dataset(tmp_path / "made", rows=30)
    sampled = sampling(DatasetParameters(source=str(made), percent=50), tmp_path / "out")
    assert (sampled.train.rows, sampled.reused) == (27, False)

    progress = _artifact("dataset-sampling")
    assert progress == 100.0

    table = _artifact("dataset-rows")
    shown = json.loads(table)
    assert len(shown) == 10
    written = _first_conversations(sampled.train.path, len(shown))
    assert [row["begins"] for row in shown] == [f"user: {messages[0]['content']}" for messages in written]
    assert [row["ends"] for row in shown] == [f"assistant: {messages[-1]['content']}" for messages in written]
    assert [row["messages"] for row in shown] == [len(messages) for messages in written]

    summary = _artifact("dataset")
    assert sampled.sha256 in summary
    assert f"| train | train_sft | 27 | 60 | 0 | {sampled.train.bytes} |" in summary


def test_long_texts_are_shown_in_short_with_their_length(tmp_path: Path) -> None:
    rows = [conversation(1, text="word " * 1000), *conversations(2, 5)]
    sampling(only_train(write_jsonl(tmp_path / "rows.jsonl", rows)), tmp_path / "out")
    table = _artifact("dataset-rows")
    shown = json.loads(table)
    assert shown[0]["characters"] >= 5000
    assert shown[0]["begins"].startswith("user: ") and shown[0]["begins"].endswith(" ...")
    assert len(shown[0]["begins"]) <= SHOWN_CHARACTERS


def test_a_refusal_fails_the_run_with_its_own_words(tmp_path: Path) -> None:
    rows = [*conversations(3), conversation(9) | {"prompt": "other"}]
    source = write_jsonl(tmp_path / "rows.jsonl", rows)
    with pytest.raises(InvalidRows, match=r"rows\.jsonl, row 4: prompt is not the first message: 'other'"):
        sampling(only_train(source), tmp_path / "out")


def test_what_was_dropped_is_told_by_rule_with_its_first_row(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    others = [conversation(9), conversation(9), conversation(9)]
    rows = [*conversations(8), conversation(90, text="x" * 99), *others, conversation(91, text="y" * 99)]
    source = write_jsonl(tmp_path / "rows.jsonl", rows)
    params = only_train(source, on_invalid="drop", max_dropped_percent=50, max_characters=99)
    sampled = sampling(params, tmp_path / "out")
    told = [(its.rule, its.rows, its.first) for its in sampled.train.dropped_for]
    assert (sampled.train.rows, sampled.train.dropped) == (9, 4)
    assert told == [
        ("more than 99 characters (max_characters)", 2, "rows.jsonl, row 9: 208"),
        ("the conversation is in the training sample too", 2, f"rows.jsonl, row 11: '{conversation(9)['prompt_id']}'"),
    ]
    assert (
        "train: 2 rows were left out: more than 99 characters (max_characters); the first: rows.jsonl, row 9"
        in caplog.text
    )
    assert "| train | more than 99 characters (max_characters) | 2 | rows.jsonl, row 9: 208 |" in _artifact("dataset")
    assert json.loads((sampled.train.path.parent / "sample.json").read_text())["train"]["dropped_for"][1]["rows"] == 2


def test_what_the_sample_keeps_is_shown_and_where_it_was_read_from_once(tmp_path: Path) -> None:
    call = {"id": "a", "type": "function", "function": {"name": "now", "arguments": "{}"}}
    calling = {"role": "assistant", "content": "", "tool_calls": [call]}
    asking = {"role": "user", "content": "What time is it?"}
    source = write_jsonl(tmp_path / "rows.jsonl", [{"messages": [asking, calling]}, *conversations(3)])
    sampled = sampling(only_train(source, validation_percent=1), tmp_path / "out")
    assert sampled.train.kept == {"tool_calls": 1} and sampled.validation is not None
    summary = _artifact("dataset")
    assert "| train | `tool_calls` | 1 |" in summary
    assert summary.count(f"| train_sft | `rows.jsonl` | {source.stat().st_size} |") == 1
    assert json.loads(_artifact("dataset-rows"))[0]["ends"].startswith('assistant: [{"id": "a"')


def test_the_hub_s_token_comes_from_a_block_and_is_not_shown(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Secret(value="hf_secret").save("hub-token", overwrite=True)
    source = write_jsonl(tmp_path / "rows.jsonl", conversations(3))
    sampled = sampling(only_train(source, hub_token_block="hub-token"), tmp_path / "out")
    assert sampled.train.rows == 3
    assert "hf_secret" not in caplog.text
    with pytest.raises(ValueError, match="no-such-block"):
        sampling(only_train(source, hub_token_block="no-such-block"), tmp_path / "out")


def _artifact(key: str) -> Any:
    """What the server holds under `key`."""
    with get_client(sync_client=True) as client:
        found = client.request("POST", "/artifacts/latest/filter", json={"artifacts": {"key": {"any_": [key]}}})
    return found.json()[0]["data"]


def _first_conversations(path: Path, count: int) -> list[list[dict[str, str]]]:
    return [json.loads(line)["messages"] for line in path.read_text().split("\n")[:count]]
