"""The demo's data: real conversations in the schema and layout of ultrachat_200k."""

from pathlib import Path

import pytest

from demo import chitchat
from tasks.sampling.parameters import DatasetParameters
from tasks.sampling.sample import sample
from tests.tasks.dataset.made import Row, read_jsonl


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The converted package."""
    out = tmp_path_factory.mktemp("chitchat")
    chitchat.convert(out)
    return out


@pytest.fixture(scope="module")
def splits(converted: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Row]]:
    """All rows of all splits, which pass every check of the sampler."""
    params = DatasetParameters(source=str(converted), percent=100, validation_split="train_gen")
    sampled = sample(params, tmp_path_factory.mktemp("sample"))
    return {split.split: read_jsonl(split.path) for split in sampled.splits().values()}


def test_every_split_is_accepted_as_a_chat_dataset(splits: dict[str, list[Row]]) -> None:
    assert {split: len(rows) > 200 for split, rows in splits.items()} == dict.fromkeys(chitchat.SPLITS, True)
    assert len(splits["train_sft"]) > 1000


def test_no_prompt_is_in_two_rows(splits: dict[str, list[Row]]) -> None:
    prompts = [row["prompt"] for rows in splits.values() for row in rows]
    assert len(set(prompts)) == len(prompts)


def test_generation_splits_end_with_the_user_and_the_others_with_the_assistant(splits: dict[str, list[Row]]) -> None:
    last = {split: {row["messages"][-1]["role"] for row in rows} for split, rows in splits.items()}
    assert last == {
        "train_sft": {"assistant"},
        "test_sft": {"assistant"},
        "train_gen": {"user"},
        "test_gen": {"user"},
    }


def test_a_conversation_fits_a_small_model(splits: dict[str, list[Row]]) -> None:
    every = [row["messages"] for rows in splits.values() for row in rows]
    assert max(len(messages) for messages in every) == chitchat.MAX_MESSAGES
    assert max(sum(len(message["content"]) for message in messages) for messages in every) <= chitchat.MAX_CHARACTERS


def test_the_same_package_gives_the_same_bytes(converted: Path, tmp_path: Path) -> None:
    chitchat.convert(tmp_path)
    files = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.parquet"))
    assert [str(path) for path in files] == sorted(f"data/{split}-00000-of-00001.parquet" for split in chitchat.SPLITS)
    assert all((tmp_path / path).read_bytes() == (converted / path).read_bytes() for path in files)
