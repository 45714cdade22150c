"""Finds what the assistant said in the answer of a scoring endpoint.

Promise: only the assistant's words are an answer. Not the user's, sent back; no error that came with status 200; no empty turn.

Azure's own score script answers whatever the model's `predict` returns, a table as a list of its rows (mlflow_score_script.py,
https://github.com/Azure/azureml-assets). So the shapes are as many as the models' authors:

| shape | where it is published |
|---|---|
| `{"output": text}` | model cards of Llama-2-7b-chat and Phi-3 in azureml-assets |
| `{"output": null, "error": {...}}` | azureml-assets' foundation-model-serve, when it fails |
| `{"choices": [{"message": {...}}]}`, `{"choices": [{"text": text}]}` | OpenAI, vLLM; langchain-community's azureml_endpoint.py |
| the same as a stream, `data: {...}`; `reasoning_content` or `reasoning` beside `content` | docs.vllm.ai, Reasoning Outputs |
| a stream of `response.output_text.delta` | OpenAI's Responses (developers.openai.com, streaming-responses) |
| a stream of `content_block_delta` | Anthropic's Messages (platform.claude.com, build-with-claude/streaming) |
| a stream of `{"token": {"text": text}}`, at last with `generated_text` | TGI (@huggingface/tasks, stream_output.json) |
| JSON lines of `{"message": {...}, "done": false}` or `{"response": text, "done": false}` | ollama/ollama, docs/api.md |
| `content` as a list of parts | OpenAI; the Phi-3-vision notebook of azureml-examples |
| `{"output": [{"type": "reasoning"}, {"type": "message", "role": ..., "content": [...]}]}` | OpenAI's Responses, vLLM |
| `[text]` | model card of gpt2 in azureml-assets; it begins with the prompt |
| `[{"0": text}]` | model card of dolly-v2-12b in azureml-assets |
| `[{"0": {"generated_text": text}}]`, `[{"generated_text": text}]` | langchain-community; transformers' text-generation pipeline |
| `[{"generated_text": [messages]}]` | the same pipeline, asked with messages: the conversation comes back, longer by the answer |
| `{"predictions": [...]}`, in it `{"candidates": [{"text": text}]}` | MLflow's own server |
| `{"text_output": text}`, also as a stream | triton-inference-server/server, docs/protocol/extension_generate.md |
| `{"outputs": [{"name": ..., "datatype": "BYTES", "shape": [1], "data": [text]}]}` | KServe's Open Inference Protocol V2; Triton |
| `{"answer": text}`, also as a stream | prompt flow on online endpoints (microsoft/promptflow, enable-streaming-mode.md) |
| `{"generation": text}`; `{"results": [{"outputText": text}]}` | Bedrock's Llama and Titan (model-parameters-meta, -titan-text) |
| `{"results": [{"generated_text": text}]}` | watsonx.ai (watsonx-ai-node-sdk, TextGenResponse) |
| `{"completion": text}` | Anthropic's Text Completions (docs.anthropic.com, complete_post) |
| a turn of the role `model` or `ai` | Gemini and Gemma; langchain-core's messages/utils.py |
| `<|channel|>final<|message|>text`, thoughts in other channels | gpt-oss (openai-cookbook, articles/openai-harmony.md) |
| `{"columns": [...], "data": [[...]]}` | pandas and MLflow, orient "split" |
| text in `response`, `result`, `text` | what public clients try after `output` |
| JSON within a JSON string | a score script that ends with `json.dumps` (MicrosoftDocs/azure-docs, how-to-build-deploy-onnx) |
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

Message = dict[str, Any]

KEYS = (
    "choices", "predictions", "output", "outputs", "generated_text", "text_output", "outputText", "0", "generation", "completion",
    "answer", "response", "text", "results", "candidates", "messages", "message", "result",
)  # fmt: skip
"""Where an answer may be, the surest first: the first that is there decides. A result may be only "success"."""
ASSISTANT = ("assistant", "model", "ai")
ANSWERING = (*ASSISTANT, "tool")
"""Roles that follow the last question."""
TEXT_PARTS = ("text", "output_text")
SAID_BACK = 3
"""So many words one may say back by chance: hello, good night, thank you."""

CONTROL = r"<[|｜][^<>|｜]{1,40}[|｜]>|</?s>|<(?:bos|eos|pad|unk|(?:start|end)_of_turn)>|\[/?INST\]|<</?SYS>>"
"""Control tokens, as chat templates spell them."""
# Some templates open the thoughts in the prompt; a model that is cut off does not close them.
_NOTHING = re.compile(rf"\A.*?</think>|<think>.*?(?:</think>|\Z)|{CONTROL}", re.DOTALL)
_CHANNEL = "<|channel|>"
_FINAL = re.compile(
    r"<\|channel\|>final\b(?:[^<]|<\|constrain\|>)*<\|message\|>(.*?)(?:<\|(?:end|return|start)\|>|\Z)", re.DOTALL
)
# Names as templates write them: FastChat's conversation.py; the prompts of Alpaca, Claude, Titan and Phi-2.
_NAME = (
    r"(?i:(?:###\s*)?(?:system|user|human|assistant|model|ai|bot|instruct|output|question|answer)|"
    r"###\s*(?:instruction|input|response))\s*:"
)
_MARK = rf"(?:(?!<\|channel){CONTROL}|{_NAME}|(?i:system|user|assistant|model)(?=\s*(?:\n|<|$)))"
_MARKS = rf"(?:\s|{_MARK})*"
# The system's words are the template's own where the conversation has none.
_BEFORE = rf"{_MARKS}(?:(?<=\bsystem)\W.*?\buser\b{_MARKS})?"
_PAGE = re.compile(r"\s*<(?:!doctype|html)\b", re.IGNORECASE)


def answer_text(body: Any, asked: Sequence[Message] = ()) -> str:
    """What the assistant said, as it was sent; empty if nothing is found that is surely the assistant's.

    Args:
        body: the answer's JSON, or its text where it is none.
        asked: the messages that were sent, to tell what was sent back from what was answered.
    """
    words = [text for message in asked if (text := _content(message.get("content")).strip())]
    text = _final(_after_prompt(_said(_decoded(body), words[-1] if words else None), words))
    return text if _says_something(text) else ""


def _decoded(body: Any) -> Any:
    """What a top-level text holds: a stream of events, an object or a list. A web page is nobody's answer."""
    if not isinstance(body, str):
        return body
    if _PAGE.match(body):
        return None
    try:
        decoded = json.loads(body)
    except ValueError:
        streamed = _joined(body)
        return body if streamed is None else streamed
    return decoded if isinstance(decoded, dict | list) else body


def _joined(body: str) -> Any:
    """The whole answer in a body of server-sent events (HTML standard, 9.2) or of JSON lines; None if it is none."""
    # Not splitlines: its further line ends may be in a text.
    lines = [line for line in re.split(r"\r\n|\n|\r", body) if line.strip()]
    if not all(re.match(r"(data|event|id|retry)?:|\{", line) for line in lines):
        return None
    data = [line.removeprefix("data:").strip() for line in lines if line.startswith(("data:", "{"))]
    try:
        events = [json.loads(event) for event in data if event != "[DONE]"]
    except ValueError:
        return None
    if not data or not all(isinstance(event, dict) for event in events):
        return None
    # A stream that breaks off has begun with status 200.
    return next(filter(_is_error, events), None) or "".join(map(_piece, events))


def _piece(event: dict[str, Any]) -> str:
    match event:
        case {"choices": [{"delta": {"content": content}, **choice}, *_]}:
            return _content(content) if choice.get("index", 0) == 0 else ""
        case {"choices": [{"text": str(text), **choice}, *_]}:
            return text if choice.get("index", 0) == 0 else ""
        case {"token": {"text": str(text), **token}}:
            return "" if token.get("special") else text
        case {"type": "response.output_text.delta", "delta": str(text)}:
            return text
        case {"type": "content_block_delta", "delta": {"text": str(text)}}:
            return text
        case {"type": _}:
            # Responses repeat the whole text at the end.
            return ""
        case _:
            return _said(event, None)


def _is_error(value: dict[str, Any]) -> bool:
    """vLLM's errors were once objects of that name; those of Responses are events."""
    return (
        bool(value.get("error")) or value.get("object") == "error" or value.get("type") in ("error", "response.failed")
    )


def _said(value: Any, question: str | None) -> str:
    """The text in one of the shapes; empty if it is in none."""
    match value:
        case str():
            return value
        case [*items] if turns := [
            item for item in items if isinstance(item, dict) and item.keys() & {"role", "content"}
        ]:
            return _last_turn(turns, question)
        case [first, *_]:
            # One conversation was sent; what is further is no answer to it.
            return _said(first, question)
        case dict() if _is_error(value):
            return ""
        case {"columns": [*columns], "data": [[*row], *_]}:
            return _said(dict(zip(map(str, columns), row, strict=False)), question)
        case {"role": _} | {"content": _}:
            return _of_assistant(value)
        case {"outputs": [{"datatype": _}, *_] as tensors}:
            texts = [tensor for tensor in tensors if isinstance(tensor, dict) and tensor.get("datatype") == "BYTES"]
            return _said(texts[0].get("data") if texts else None, question)
        case dict():
            # A bare message is what errors and health checks have.
            there = (key for key in KEYS if value.get(key) is not None)
            key = next((key for key in there if key != "message" or not isinstance(value[key], str)), None)
            return "" if key is None else _said(value[key], question)
        case _:
            return ""


def _last_turn(messages: list[Message], question: str | None) -> str:
    """The assistant's last words after our last question: a model may go on with questions of its own, and answer them."""
    asking = [number for number, message in enumerate(messages) if _role(message) not in ANSWERING]
    ours = [number for number in asking if _content(messages[number].get("content")).strip() == question]
    begin = (ours or asking or [-1])[-1] + 1
    end = next((number for number in asking if number >= begin), len(messages))
    return next(filter(_says_something, map(_of_assistant, reversed(messages[begin:end]))), "")


def _of_assistant(message: Message) -> str:
    return _content(message.get("content")) if _role(message) in ASSISTANT and not _is_error(message) else ""


def _role(message: Message) -> str:
    """In lower case; a message that names none is the model's."""
    return str(message.get("role") or "assistant").lower()


def _content(content: Any) -> str:
    """A message's text; its pictures and thoughts are left out."""
    if isinstance(content, str):
        return content
    parts = [{"text": part} if isinstance(part, str) else part for part in content] if isinstance(content, list) else []
    return "".join(
        str(part.get("text") or "")
        for part in parts
        if isinstance(part, dict) and part.get("type", "text") in TEXT_PARTS
    )


def _after_prompt(text: str, words: list[str]) -> str:
    """`text` without our own `words` in front, which transformers' pipelines send back (`return_full_text`): the whole
    conversation as a template writes it, or only its last message. The template's own preamble may stand before them, where
    its marks stand at both their sides or nothing follows; what an answer quotes has neither."""
    for echoed in filter(None, (words, words[-1:])):
        by_chance = len(" ".join(echoed).split()) <= SAID_BACK
        ours = _MARKS.join(map(re.escape, echoed))
        found = re.match(_BEFORE + ours + _MARKS, text, re.DOTALL)
        if found and by_chance and text.lstrip().startswith(echoed[0]):
            continue
        found = found or re.search(rf"{_MARK}\s*{ours}\s*(?:{_MARK}|\Z){_MARKS}", text)
        if found := found or (None if by_chance else re.search(rf"{ours}{_MARKS}\Z", text)):
            return text[found.end() :]
    return text


def _final(text: str) -> str:
    """The text of gpt-oss' final channel, where there are channels: the others hold thoughts and calls of tools."""
    if _CHANNEL not in text:
        return text
    found = _FINAL.search(text)
    return found[1] if found else ""


def _says_something(text: str) -> bool:
    """Whether anything to be seen is left without control tokens and thoughts."""
    return any(character.isprintable() and not character.isspace() for character in _NOTHING.sub("", text))
