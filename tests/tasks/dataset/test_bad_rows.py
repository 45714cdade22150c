"""Each file of tests/data/bad_rows has a good row and a bad one; this is the refusal that it must get."""

import json
from pathlib import Path

import pytest

from tasks.sampling.errors import InvalidRows
from tasks.sampling.sample import sample
from tests.tasks.dataset.made import only_train, read_jsonl

AS_UTF8 = (
    "Write the file as UTF-8 (of an older Windows: `iconv -f WINDOWS-1252 -t UTF-8`), or name its encoding in the `configs` of a "
    "README.md beside it, with their folder as the source. Dropping such rows would drop those with letters beyond English."
)
FOLDER = Path(__file__).parents[2] / "data" / "bad_rows"

REFUSALS = {
    "content_absent": "a message's content is blank: null",
    "content_blank": "a message's content is blank: ' \\n\\xa0\\t'",
    "content_half_surrogate": "content has half a surrogate pair, which is no character: 'half \\ud83d here'",
    "content_no_text": "content is no text: ['x']",
    "content_null": "a message's content is blank: null",
    "ends_with_user": "the last message is not the assistant's: 'user, assistant, user'",
    "key_twice": "has a key twice: 'prompt, messages, prompt_id, prompt'",
    "message_no_object": "a message is no object: 'hello'",
    "message_null": "a message's role is none of system, user, assistant, tool: 'user, null'",
    "message_unknown_key": "a message has unknown keys: 'name'",
    "messages_absent": "messages are missing: null",
    "messages_empty": "messages are missing: []",
    "messages_no_list": "messages is no list: 'hello'",
    "messages_null": "messages are missing: null",
    "no_object": "is no JSON object: '[\"hello\"]'",
    "not_json": ('is not JSON at character 50 (unterminated string starting): \'.0", "messages": [{"content": "hel\''),
    "not_utf8": 'is not UTF-8: \'{"content": "caf_ ol\\\\xe9", "role": "assistan\'',
    "prompt_differs": "prompt is not the first message: 'something else'",
    "role_absent": "a message's role is none of system, user, assistant, tool: 'user, null'",
    "role_no_text": "role is no text: 1",
    "role_null": "a message's role is none of system, user, assistant, tool: 'user, null'",
    "role_unknown": "a message's role is none of system, user, assistant, tool: 'user, narrator'",
    "roles_repeat": "the roles do not take turns: 'user, user, assistant'",
    "starts_with_assistant": "the first message is not the user's: 'assistant, user, assistant'",
    "unknown_key": "has unknown keys: 'source'",
}


def test_every_bad_file_has_its_refusal() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == set(REFUSALS)


@pytest.mark.parametrize("name", sorted(REFUSALS))
def test_a_bad_row_is_refused_with_its_file_row_rule_and_excerpt(name: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidRows) as refusal:
        sample(only_train(FOLDER / f"{name}.jsonl"), tmp_path)
    remedy = (
        "Set extra_columns to drop to leave such keys out of the sample, or mend the dataset."
        if name.endswith("unknown_key")
        else AS_UTF8
        if name == "not_utf8"
        else "Mend the dataset, or set on_invalid to drop to leave such rows out."
    )
    assert str(refusal.value) == (f"1 row breaks a rule. {remedy}\n  {name}.jsonl, row 2: {REFUSALS[name]}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", sorted(REFUSALS))
def test_a_bad_row_can_be_dropped(name: str, tmp_path: Path) -> None:
    source = FOLDER / f"{name}.jsonl"
    train = sample(only_train(source, on_invalid="drop", max_dropped_percent=50), tmp_path).train
    assert (train.rows, train.dropped) == (1, 1)
    assert read_jsonl(train.path) == [json.loads(source.read_bytes().split(b"\n")[0])]
