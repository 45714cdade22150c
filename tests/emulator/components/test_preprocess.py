"""Which tokens are learnt, which rows are kept, and how a validation split is cut."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from emulator.components.chat_completion.encoded import EncodedSplit
from emulator.components.chat_completion.import_model import MODEL
from emulator.components.chat_completion.preprocess import encode
from emulator.components.step import UserError
from tests.emulator.components.steps import Row, chat, encoded, rows, write_jsonl

# As SmolLM2's own: a system turn of the template's making, no mark of what the assistant says.
CHATML = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou help.<|im_end|>\n' }}{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
# As reasoning models have it: what an earlier turn holds in <think> is dropped once there is a later one.
FORGETFUL = (
    "{% for message in messages %}{{ '[' + message['role'] + '] ' }}"
    "{% if message['role'] == 'assistant' and not loop.last %}{{ message['content'].split('</think>')[-1] }}"
    "{% else %}{{ message['content'] }}{% endif %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '[assistant] ' }}{% endif %}"
)


@pytest.fixture
def tokenizer(model: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(model / MODEL)


def learnt(tokenizer: Any, row: Row) -> list[str]:
    """The stretches of text that a row teaches."""
    ids, labels = next(iter(encode(tokenizer, [row])))
    stretches: list[list[int]] = []
    for position, (token, label) in enumerate(zip(ids, labels, strict=True)):
        if label and position and labels[position - 1]:
            stretches[-1].append(token)
        elif label:
            stretches.append([token])
    return [tokenizer.decode(stretch) for stretch in stretches]


CONVERSATION = chat("Hi there", "Hello! How are you?", "Fine. You?", " Me too,\n\nthanks – merci  ")


def test_only_what_the_assistant_says_is_learnt_with_its_end_of_turn(tokenizer: Any) -> None:
    assert learnt(tokenizer, CONVERSATION) == ["Hello! How are you?<|end|>", " Me too,\n\nthanks – merci  <|end|>"]


def test_the_assistant_is_found_in_a_template_that_marks_nothing_and_adds_a_system_turn(tokenizer: Any) -> None:
    tokenizer.chat_template = CHATML
    assert learnt(tokenizer, CONVERSATION) == [
        "Hello! How are you?<|im_end|>",
        " Me too,\n\nthanks – merci  <|im_end|>",
    ]


def test_the_assistant_is_found_in_a_template_that_rewrites_earlier_turns(tokenizer: Any) -> None:
    tokenizer.chat_template = FORGETFUL
    conversation = chat("2+2?", "<think>easy</think>four", "3+3?", "six")
    assert learnt(tokenizer, conversation)[-1].strip() == "six"
    assert not any("3+3" in stretch or "user" in stretch for stretch in learnt(tokenizer, conversation))


def test_an_answer_that_repeats_the_question_is_learnt_once(tokenizer: Any) -> None:
    assert learnt(tokenizer, chat("Hello", "Hello")) == ["Hello<|end|>"]


def test_a_conversation_that_ends_with_the_user_teaches_its_earlier_answers(tokenizer: Any) -> None:
    assert learnt(tokenizer, chat("Hi", "Hello", "And?")) == ["Hello<|end|>"]


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
    assert "1 of 11 rows ignored: no assistant token within 64 tokens" in caplog.text


def test_when_no_row_is_left_a_larger_limit_is_asked_for(model: Path, tmp_path: Path) -> None:
    train = write_jsonl(tmp_path / "t.jsonl", [chat("word " * 50, "too late")] * 3)
    with pytest.raises(UserError, match=r"None of the 3 rows of the train data .* Give a larger max_seq_length"):
        encoded(tmp_path, model, train_file_path=train, max_seq_length=16)


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


def test_a_split_survives_being_written(tmp_path: Path) -> None:
    split = EncodedSplit.of([([1, 2, 3], [False, True, True]), ([4], [False])])
    split.save(tmp_path / "split.npz")
    found = EncodedSplit.load(tmp_path / "split.npz")
    assert found.row(0)[0].tolist() == [1, 2, 3] and found.row(1)[1].tolist() == [False]
    assert found.part(1, 2).tokens.tolist() == [4]
