"""Questions and answers."""

import json
from pathlib import Path

from tasks.scoring import (
    SHOWN_BODY,
    ScoringParameters,
    _shown,
    question_and_reference,
    request_body,
    sample_conversations,
)

USER, ASSISTANT = {"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Hi."}


def test_the_request_is_the_references() -> None:
    assert request_body([USER], ScoringParameters()) == {
        "input_data": {
            "input_string": [[USER]],
            "parameters": {"temperature": 0.6, "top_p": 0.9, "do_sample": True, "max_new_tokens": 200},
        },
        "params": {},
    }


def test_the_model_is_asked_what_the_assistant_answered_last() -> None:
    assert question_and_reference([USER, ASSISTANT]) == ([USER], "Hi.")
    assert question_and_reference([USER, ASSISTANT, USER]) == ([USER, ASSISTANT, USER], "")


def test_what_only_training_looks_at_is_not_sent() -> None:
    assert question_and_reference([{**USER, "weight": 1}, {**ASSISTANT, "thinking": "Hm."}]) == ([USER], "Hi.")


def test_what_is_shown_of_a_bad_answer_holds_no_key() -> None:
    shown = _shown({"detail": "sent with the-key; " + "x" * 5000}, "the-key")
    assert shown.startswith('{"detail": "sent with ********; xxx')
    assert len(shown) == SHOWN_BODY


def test_the_same_seed_asks_the_same_questions(tmp_path: Path) -> None:
    path = tmp_path / "test_gen.jsonl"
    rows = [
        {"prompt": str(n), "messages": [{"role": "user", "content": str(n)}], "prompt_id": str(n)} for n in range(50)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    first = sample_conversations(path, 3, seed=1)
    assert first == sample_conversations(path, 3, seed=1)
    assert first != sample_conversations(path, 3, seed=2)
    assert len(sample_conversations(path, 100, seed=1)) == 50
