"""An answer is the assistant's, in whatever shape it comes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tasks.answers import Message, answer_text


def user(text: Any) -> Message:
    return {"role": "user", "content": text}


def assistant(text: Any, **more: Any) -> Message:
    return {"role": "assistant", "content": text, **more}


QUESTION = "What is two plus two, please?"
ASKED = [user("Good morning."), assistant("Good morning to you."), user(QUESTION)]


def choices(choice: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "",
        "choices": [{"index": 0, **choice}],
        "usage": {},
    }


def stream(text: str, field: Callable[[str], dict[str, Any]], dumps: Callable[[Any], str] = json.dumps) -> str:
    """As vLLM streams: a chunk with the role, one for each piece, one for the end, and further choices in between."""
    pieces = [text[start : start + 7] for start in range(0, len(text), 7)]
    chunks = [
        {"delta": {"role": "assistant", "content": ""}},
        *map(field, pieces),
        {"delta": {}, "finish_reason": "stop"},
    ]
    events: list[dict[str, Any]] = [
        {"object": "chat.completion.chunk", "choices": [{"index": 0, **chunk}]} for chunk in chunks
    ]
    events.insert(2, {"choices": [{"index": 1, **field("Another choice.")}]})
    events.append({"choices": [], "usage": {"total_tokens": 3}})
    return ": ping\n\n" + "".join(f"data: {dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"


def events(*sent: dict[str, Any]) -> str:
    return "".join(f"event: {event.get('type', 'message')}\ndata: {json.dumps(event)}\n\n" for event in sent)


def json_lines(*sent: dict[str, Any]) -> str:
    return "".join(json.dumps(event) + "\n" for event in sent)


def responses_stream(text: str) -> str:
    whole = {"object": "response", "output": [assistant([{"type": "output_text", "text": text}])]}
    return events(
        {"type": "response.created", "response": {"object": "response", "output": []}},
        {"type": "response.reasoning_text.delta", "delta": "They want 4."},
        {"type": "response.output_text.delta", "delta": text[:3]},
        {"type": "response.output_text.delta", "delta": text[3:]},
        {"type": "response.output_text.done", "text": text},
        {"type": "response.completed", "response": whole},
    )


def anthropic_stream(text: str) -> str:
    return events(
        {"type": "message_start", "message": {"role": "assistant", "content": []}},
        {"type": "content_block_start", "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": "They want 4."}},
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": text[:3]}},
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": text[3:]}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
        {"type": "message_stop"},
    )


PHI_3 = (
    " 1. Eiffel Tower: Visit the iconic symbol of Paris, offering breathtaking views of the city.\n\n2. Louvre Museum"
)
SHAPES: dict[str, Callable[[str], Any]] = {
    "output": lambda text: {"output": text},
    "output of foundation-model-serve": lambda text: {"output": text, "error": None, "finish_reason": "stop", "usage": {}},
    "output in a list": lambda text: [{"output": text}],
    "output with a message": lambda text: {"output": assistant(text)},
    "output with choices": lambda text: {"output": choices({"message": assistant(text)})},
    "choices": lambda text: choices({"message": assistant(text), "finish_reason": "stop", "logprobs": None}),
    "choices without a role": lambda text: choices({"message": {"content": text}}),
    "choices of completions": lambda text: choices({"text": text, "finish_reason": "length"}),
    "choices with reasoning": lambda text: choices(
        {"message": {"role": "assistant", "reasoning_content": "They want 4.", "reasoning": "4.", "content": text}}
    ),
    "content in parts": lambda text: choices(
        {"message": assistant([{"type": "thinking", "text": "Hm."}, {"type": "text", "text": text[:3]}, text[3:]])}
    ),
    "a stream": lambda text: stream(text, lambda piece: {"delta": {"content": piece}}),
    "a stream that escapes nothing": lambda text: stream(
        text, lambda piece: {"delta": {"content": piece}}, lambda event: json.dumps(event, ensure_ascii=False)
    ),
    "a stream with reasoning": lambda text: stream(
        text, lambda piece: {"delta": {"content": piece, "reasoning_content": "Hm."}}
    ),
    "a stream that numbers no choices": lambda text: events(
        {"choices": [{"delta": {"content": text[:3]}}]}, {"choices": [{"delta": {"content": text[3:]}}]}
    ),
    "a stream of completions that numbers no choices": lambda text: events({"choices": [{"text": text}]}),
    "a stream of completions": lambda text: stream(text, lambda piece: {"text": piece}),
    "Responses": lambda text: {
        "object": "response",
        "error": None,
        "output": [
            {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]},
            {"type": "message", **assistant([{"type": "output_text", "text": text, "annotations": []}])},
        ],
    },
    "a list of texts": lambda text: [text],
    "a column": lambda text: [{"0": text}],
    "a column of records": lambda text: [{"0": {"generated_text": text}}],
    "a named column": lambda text: [{"generated_text": text}],
    "a batch of one": lambda text: [[{"generated_text": text}]],
    "a table by columns": lambda text: {"0": {"0": text}},
    "a table by lists": lambda text: {"generated_text": [text]},
    "a split table": lambda text: {"columns": ["prompt", "output"], "index": [0], "data": [[QUESTION, text]]},
    "a split table of numbers": lambda text: {"columns": [0], "data": [[text]]},
    "predictions of texts": lambda text: {"predictions": [text]},
    "predictions of records": lambda text: {"predictions": [{"generated_text": text}]},
    "predictions of messages": lambda text: {"predictions": [[*ASKED, assistant(text)]]},
    "predictions of columns": lambda text: {"predictions": {"columns": ["0"], "data": [[text]]}},
    "candidates": lambda text: {"predictions": [{"candidates": [{"text": text, "metadata": {}}]}]},
    "response": lambda text: {"response": text},
    "result": lambda text: {"result": text},
    "a message": assistant,
    "a message in an object": lambda text: {"model": "m", "message": assistant(text), "done": True},
    "the conversation": lambda text: [*ASKED, assistant(text)],
    "the conversation in output": lambda text: {"output": [*ASKED, assistant(text)]},
    "the conversation in messages": lambda text: {"messages": [*ASKED, assistant(text)]},
    "the conversation of a pipeline": lambda text: [{"generated_text": [*ASKED, assistant(text)]}],
    "the conversation with a tool": lambda text: [
        *ASKED, assistant(None, tool_calls=[{"id": "1"}]), {"role": "tool", "content": "4"}, assistant(text), assistant(""),
    ],
    "messages without roles": lambda text: [
        {"type": "human", "content": QUESTION}, {"type": "ai", "content": text}
    ],
    "only the new messages": lambda text: [assistant(text)],
    "a turn of the model": lambda text: [user(QUESTION), {"role": "model", "content": text}],
    "a turn of the AI": lambda text: [user(QUESTION), {"role": "ai", "content": text}],
    "a text beside a result": lambda text: {"result": "success", "text": text},
    "a message beside a result": lambda text: {"result": "success", "message": assistant(text)},
    "a result beside a message": lambda text: {"message": "done", "result": text},
    "Triton's generate": lambda text: {"model_name": "m", "model_version": "1", "text_output": text},
    "Triton's generate_stream": lambda text: events({"text_output": text[:3]}, {"text_output": text[3:]}),
    "a tensor": lambda text: {"outputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": [text]}]},
    "a tensor among others": lambda text: {
        "outputs": [
            {"name": "logits", "datatype": "FP32", "shape": [1], "data": [0.5]},
            {"name": "text", "datatype": "BYTES", "shape": [1, 1], "data": [[text]]},
        ]
    },
    "generation": lambda text: {"generation": text, "prompt_token_count": 3, "stop_reason": "stop"},
    "completion": lambda text: {"type": "completion", "completion": text, "stop_reason": "stop_sequence"},
    "answer": lambda text: {"answer": text},
    "a stream of answers": lambda text: events({"url": ["https://a"]}, {"answer": text[:3]}, {"answer": text[3:]}),
    "results": lambda text: {"model_id": "m", "results": [{"generated_text": text, "stop_reason": "eos_token"}]},
    "results of Titan": lambda text: {"inputTextTokenCount": 3, "results": [{"tokenCount": 2, "outputText": text}]},
    "Ollama's chat": lambda text: json_lines(
        {"message": assistant("", thinking="They want 4."), "done": False},
        {"message": assistant(text[:3]), "done": False},
        {"message": assistant(text[3:]), "done": False},
        {"message": assistant(""), "done": True},
    ),
    "Ollama's generate": lambda text: json_lines(
        {"response": text[:3], "done": False}, {"response": text[3:], "done": False}, {"response": "", "done": True}
    ),
    "a stream of Responses": responses_stream,
    "a stream of Anthropic": anthropic_stream,
    "a stream of TGI": lambda text: events(
        {"index": 1, "token": {"id": 1, "text": text[:3], "special": False}, "generated_text": None},
        {"index": 2, "token": {"id": 2, "text": text[3:], "special": False}, "generated_text": None},
        {"index": 3, "token": {"id": 3, "text": "</s>", "special": True}, "generated_text": text},
    ),
}  # fmt: skip
BARE: dict[str, Callable[[str], Any]] = {
    "text": str,
    "JSON in JSON": lambda text: json.dumps({"result": text}),
    "a list as JSON in JSON": lambda text: json.dumps([{"0": text}]),
}
EVERY = SHAPES | BARE


def bare(text: str) -> bool:
    """Whether a text, sent by itself, is no more than a text: no JSON, no stream, no web page."""
    return not text.lstrip().startswith(("{", "[", "<")) and ":" not in text


texts = st.text(min_size=1).filter(
    lambda text: any(c.isprintable() and not c.isspace() for c in text) and "<" not in text
)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@settings(max_examples=40, deadline=None)
@given(texts)
@example(PHI_3)
@example('{"output": "A model may answer in JSON."}')
@example("data: {}")
@example("<p>Or in HTML.</p>")
@example("line\u2028separators\x85and\x0cpages")
def test_the_assistants_text_is_found_as_it_is(shape: Callable[[str], Any], text: str) -> None:
    assert answer_text(shape(text)) == text
    assert answer_text(shape(text), ASKED) == text


@pytest.mark.parametrize("shape", BARE.values(), ids=BARE)
@settings(max_examples=40, deadline=None)
@given(texts.filter(bare))
@example(PHI_3.replace(":", ""))
@example("42")
def test_a_bare_text_is_found_too(shape: Callable[[str], Any], text: str) -> None:
    assert answer_text(shape(text), ASKED) == text


@pytest.mark.parametrize("shape", EVERY.values(), ids=EVERY)
@pytest.mark.parametrize(
    "nothing",
    [
        "",
        " \n\t",
        "<|im_end|>",
        "\n<|eot_id|> </s>",
        "<｜end▁of▁sentence｜>",
        "<end_of_turn>",
        "<think>\n\n</think>\n\n",
        "<think>The user asks: What is two plus two, please?",
        "The user asks: What is two plus two, please?\n</think>\n\n",
        "<|channel|>analysis<|message|>User asks: What is two plus two, please?",
        "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>commentary to=functions.add<|message|>{}<|call|>",
        "\u200b",
    ],
)
def test_an_empty_turn_is_no_answer(shape: Callable[[str], Any], nothing: str) -> None:
    assert answer_text(shape(nothing), ASKED) == ""


@pytest.mark.parametrize("shape", EVERY.values(), ids=EVERY)
@settings(max_examples=20, deadline=None)
@given(st.lists(texts.filter(bare), min_size=4, max_size=8).map(" ".join))
@example(QUESTION)
def test_the_users_words_are_no_answer(shape: Callable[[str], Any], words: str) -> None:
    asked = [*ASKED[:2], user(words)]
    assert answer_text(shape(words), asked) == ""
    assert answer_text(shape("It is 4."), asked) == "It is 4."


@pytest.mark.parametrize(
    "body",
    [
        ASKED,
        {"output": ASKED},
        {"output": user(QUESTION)},
        [{"generated_text": ASKED}],
        [*ASKED, assistant("")],
        [*ASKED, assistant(" <|im_end|>")],
        [*ASKED, assistant(None, reasoning_content="They want 4.")],
        [*ASKED, {"role": "tool", "content": "4"}],
        [{"role": "system", "content": "Be short."}],
        choices({"message": user("Something else.")}),
        choices({"message": assistant(None, reasoning_content="They want 4.")}),
        {"choices": []},
        {"prompt": QUESTION},
    ],
)
def test_without_a_turn_of_the_assistant_there_is_no_answer(body: Any) -> None:
    assert answer_text(body, ASKED) == ""
    assert answer_text(body) == ""


@pytest.mark.parametrize(
    "body",
    [
        {"error": "CUDA out of memory"},
        {"error": {"code": 500, "message": "out of memory"}, "output": "The service failed."},
        {"output": None, "error": {"status_code": 424, "body": "out of memory"}},
        {"predictions": [{"error": "out of memory", "generated_text": "none"}]},
        [{"error": "out of memory", "content": "none"}],
        {"detail": "Not Found"},
        {"detail": [{"loc": ["body"], "msg": "field required"}]},
        {"message": "An unexpected error occurred in scoring script."},
        {"object": "error", "message": "The model does not exist.", "text": "none"},
        {"status": "ok"},
        json.dumps({"error": "out of memory"}),
        'data: {"choices": [{"index": 0, "delta": {"content": "It"}}]}\n\ndata: {"error": {"message": "gone"}}\n\ndata: [DONE]\n\n',
        events({"type": "response.output_text.delta", "delta": "It"}, {"type": "response.failed", "response": {}}),
        events({"type": "response.output_text.delta", "delta": "It"}, {"type": "error", "message": "gone"}),
        json_lines({"response": "It", "done": False}, {"error": "gone"}),
        "data: [DONE]\n\n",
        "<!DOCTYPE html>\n<html><body>Sign in</body></html>",
        "\n<html>",
        {}, [], None, True, 3, 1.5, [[]], [None], {"output": None}, {"output": 3}, {"columns": [], "data": []},
    ],
)  # fmt: skip
def test_an_error_or_something_else_is_no_answer(body: Any) -> None:
    assert answer_text(body, ASKED) == ""


ECHOES = {
    "as it was": "{question} It is 4.",
    "on a line of its own": "{question}\nIt is 4.",
    "Phi-3": "<|user|>\n{question}<|end|>\n<|assistant|>\nIt is 4.",
    "Llama-2": "<s>[INST] <<SYS>>\nBe short.\n<</SYS>>\n\n{question} [/INST] It is 4.",
    "Llama-2's end": "\n\n{question} [/INST]\n\nIt is 4.",
    "Llama-3, with a system message of its own": "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n"
    "Cutting Knowledge Date: December 2023\nThe user asks.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n"
    "{question}<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nIt is 4.",
    "SmolLM2, decoded": "system\nYou are a helpful AI assistant named SmolLM\nuser\n{question}\nassistant\nIt is 4.",
    "Gemma": "<bos><start_of_turn>user\n{question}<end_of_turn>\n<start_of_turn>model\nIt is 4.",
    "Vicuna": "USER: {question} ASSISTANT: It is 4.",
    "Vicuna, with its preamble": "A chat between a curious user and an artificial intelligence assistant. The assistant gives "
    "helpful, detailed, and polite answers to the user's questions. USER: {question} ASSISTANT: It is 4.",
    "Alpaca": "### Instruction:\n{question}\n\n### Response:\nIt is 4.",
    "Alpaca, with its preamble": "Below is an instruction that describes a task. Write a response that appropriately completes the "
    "request.\n\n### Instruction:\n{question}\n\n### Response:\nIt is 4.",
    "Guanaco": "### Human: {question}### Assistant: It is 4.",
    "Claude's text completions": "Human: {question}\n\nAssistant: It is 4.",
    "Titan": "User: {question}\nBot: It is 4.",
    "Phi-2": "Instruct: {question}\nOutput: It is 4.",
    "questions and answers": "Answer the question.\n\nQuestion: {question}\nAnswer: It is 4.",
    "gpt-oss": "<|start|>system<|message|>You are ChatGPT.\n# Valid channels: analysis, commentary, final.<|end|>"
    "<|start|>user<|message|>{question}<|end|><|start|>assistant<|channel|>final<|message|>It is 4.",
}


@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES)
@pytest.mark.parametrize("shape", ["output", "a list of texts", "a named column", "choices", "a column of records"])
def test_the_prompt_in_front_is_not_the_answer(echo: str, shape: str) -> None:
    asked = [{"role": "system", "content": "Be short."}, user(QUESTION)] if "<<SYS>>" in echo else [user(QUESTION)]
    sent = echo.format(question=QUESTION)
    assert answer_text(SHAPES[shape](sent), asked).strip() == "It is 4."
    assert answer_text(SHAPES[shape](sent.removesuffix("It is 4.")), asked) == ""
    assert answer_text(SHAPES[shape](sent.removesuffix("It is 4.").rstrip()), asked) == ""


def test_a_whole_conversation_in_front_is_not_the_answer() -> None:
    turns = [(message["role"], message["content"]) for message in ASKED]
    rendered = "".join(f"<|im_start|>{role}\n{text}<|im_end|>\n" for role, text in turns) + "<|im_start|>assistant\n"
    assert answer_text({"output": rendered + "It is 4."}, ASKED) == "It is 4."
    assert answer_text({"output": rendered}, ASKED) == ""
    decoded = "".join(f"{role}\n{text}\n" for role, text in turns) + "assistant\n"
    assert answer_text([decoded + "It is 4."], ASKED) == "It is 4."


@pytest.mark.parametrize("template", [("### Instruction:\n", "\n\n### Response:\n", "\n\n"), ("Human: ", "\n\nAssistant: ", "\n\n"),
                                      ("USER: ", " ASSISTANT: ", "</s>")], ids=["Alpaca", "Claude", "Vicuna"])  # fmt: skip
@pytest.mark.parametrize("preamble", ["", "A chat between a curious user and an artificial intelligence assistant. "])
def test_a_whole_conversation_without_control_tokens_is_not_the_answer(
    template: tuple[str, str, str], preamble: str
) -> None:
    ask, answer, end = template
    rendered = f"{preamble}{ask}Good morning.{answer}Good morning to you.{end}{ask}{QUESTION}{answer}"
    assert answer_text({"output": rendered + "It is 4."}, ASKED) == "It is 4."
    assert answer_text({"output": rendered}, ASKED) == ""


@pytest.mark.parametrize("shape", EVERY.values(), ids=EVERY)
def test_of_channels_only_the_final_one_is_the_answer(shape: Callable[[str], Any]) -> None:
    final = "<|channel|>final<|message|>Paris"
    assert answer_text(shape(final), ASKED) == "Paris"
    thoughts = f"<|channel|>analysis<|message|>User asks: {QUESTION}<|end|><|start|>assistant"
    assert answer_text(shape(f"{thoughts}{final}<|return|>"), ASKED) == "Paris"
    assert answer_text(shape(final.replace("final", "final <|constrain|>json")), ASKED) == "Paris"


@pytest.mark.parametrize("greeting", ["Bye!", "Good night.", "Thank you very"])
def test_a_greeting_may_be_said_back(greeting: str) -> None:
    assert answer_text({"output": greeting}, [user(greeting)]) == greeting
    assert answer_text({"output": f"\n{greeting}"}, [user(greeting)]) == f"\n{greeting}"
    assert answer_text({"output": f"{greeting} It was nice."}, [user(greeting)]) == f"{greeting} It was nice."
    assert answer_text([user(greeting), assistant("")], [user(greeting)]) == ""


def test_a_question_that_the_model_asks_itself_ends_its_answer() -> None:
    goes_on = [*ASKED, assistant("It is 4."), user("What else may I ask?"), assistant("Anything.")]
    assert answer_text(goes_on, ASKED) == "It is 4."
    assert answer_text([*ASKED, *goes_on[-2:]], ASKED) == "", "it asks at once"


def test_a_question_that_was_asked_twice_is_answered_by_what_follows_the_last() -> None:
    asked = [user("Go on."), assistant("One."), user("Go on.")]
    assert answer_text([*asked, assistant("Two.")], asked) == "Two."
    assert answer_text(asked, asked) == ""


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_stream_may_end_its_lines_as_the_standard_allows(end: str) -> None:
    sent = stream("It is 4.", lambda piece: {"delta": {"content": piece}}).replace("\n", end)
    assert answer_text(sent, ASKED) == "It is 4."


@pytest.mark.parametrize("text", ['Send this:\n{"output": "A cat."}', "Events are sent as\ndata: {}", ":-)"])
def test_a_text_that_looks_like_a_stream_in_parts_stays(text: str) -> None:
    assert answer_text(text, ASKED) == text


def test_a_preamble_without_marks_is_not_the_answer() -> None:
    assert answer_text({"output": f"Answer the question that follows.\n\n{QUESTION}\n"}, ASKED) == ""
    assert answer_text({"output": "You may say so too. Bye!"}, [user("Bye!")]) == "You may say so too. Bye!"


@pytest.mark.parametrize("quoting", ["You ask: {question} It is 4.", "I quote the user: {question} It is 4."])
def test_the_question_within_the_answer_stays(quoting: str) -> None:
    text = quoting.format(question=QUESTION)
    assert answer_text({"output": text}, ASKED) == text


@pytest.mark.parametrize(
    "text", ["<think>Two and two.</think>It is 4.", "Two and two.</think>It is 4.", "It is 4.<think>"]
)
def test_an_answer_beside_thoughts_stays(text: str) -> None:
    assert answer_text({"output": text}, ASKED) == text


anything = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["role", "content", "choices", "delta", "message", "output", "0", "columns", "data", "text", "error"]
            )
            | st.text(max_size=2),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=400, deadline=None)
@given(anything)
def test_no_body_is_too_strange(body: Any) -> None:
    for sent in (body, json.dumps(body), f"data: {json.dumps(body)}\n\n"):
        assert isinstance(answer_text(sent, ASKED), str)
