"""What a conversation must look like to be trained on, and what of it is the assistant's.

Messages are those of the chat formats that are in use: `role` and `content`, on the assistant's also `tool_calls`, its
thoughts and a `weight`; beside them a row may have a column `tools`. A field that is null counts as absent, since a
table of rows (parquet) writes every field of every message.
"""

import json
from collections.abc import Iterator
from typing import Any

from emulator.components.chat_completion.records import COLUMN, TOOLS, Row

ROLES = frozenset({"system", "developer", "user", "assistant", "tool"})
# Names of the assistant's thoughts beside its answer; chat templates read one or another.
THOUGHTS = ("reasoning_content", "thinking", "reasoning")

Message = dict[str, Any]


def fault_of(row: Row) -> str | None:
    """The first rule that a row breaks, as a sentence; None for a good row."""
    if COLUMN not in row:
        return f"there is no column {COLUMN!r} (columns: {', '.join(map(str, row)) or 'none'})"
    messages = row[COLUMN]
    if not isinstance(messages, list) or not messages:
        return f"{COLUMN!r} must be a non-empty list of messages"
    for number, message in enumerate(messages, start=1):
        if not isinstance(message, dict):
            return f"message {number} must be an object with `role` and `content`"
        if message.get("role") not in ROLES:
            return f"message {number} has the role {message.get('role')!r}; known are {', '.join(sorted(ROLES))}"
        if fault := _fault_of_message(message) or _half_a_character(message):
            return f"message {number} ({message['role']}) {fault}"
    try:
        tools = tools_of(row)
    except ValueError as error:
        return f"the column {TOOLS!r} {error}"
    if fault := _half_a_character(tools):
        return f"the column {TOOLS!r} {fault}"
    return None


def tools_of(row: Row) -> list[dict[str, Any]] | None:
    """The functions that the assistant may call, as the row describes them: a list of objects, or that list as JSON.

    Raises:
        ValueError: the column holds something else; the message completes "the column ...".
    """
    tools = row.get(TOOLS)
    if isinstance(tools, str):
        try:
            tools = json.loads(tools) if tools.strip() else None
        except json.JSONDecodeError as error:
            raise ValueError(f"is not valid JSON ({error.msg} at column {error.colno})") from error
    if tools is None or tools == []:
        return None
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        raise ValueError("must hold a list of objects, one a function")
    return tools


def is_learnt(message: Message) -> bool:
    """Whether a message is an answer to learn: the assistant's, with something in it, and not of weight 0."""
    return message["role"] == "assistant" and message.get("weight") != 0 and any(map(str.strip, texts_of(message)))


def texts_of(message: Message) -> Iterator[str]:
    """Yields what is said in a message: its content, its thoughts, its calls of tools."""
    for name in ("content", *THOUGHTS):
        if isinstance(text := message.get(name), str):
            yield text
    yield from strings_in(message.get("tool_calls"), keys=False)


def strings_in(value: Any, keys: bool = True) -> Iterator[str]:
    """Yields every string in a value of JSON; `keys`: the names in its objects too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            if keys:
                yield key
            yield from strings_in(item, keys)
    elif isinstance(value, list):
        for item in value:
            yield from strings_in(item, keys)


def has_an_answer(row: Row) -> bool:
    """Whether there is anything to learn: only what the assistant says is trained on."""
    return any(map(is_learnt, row[COLUMN]))


def _fault_of_message(message: Message) -> str | None:
    """The first rule that a message breaks, as the end of a sentence about it."""
    calls, weight = message.get("tool_calls"), message.get("weight")
    by_assistant = message["role"] == "assistant"
    if calls is not None and not (isinstance(calls, list) and all(isinstance(call, dict) for call in calls)):
        return "must have a list of objects as `tool_calls`"
    if calls and not by_assistant:
        return "has `tool_calls`; only the assistant calls tools"
    for name in THOUGHTS:
        if not isinstance(message.get(name), str | None):
            return f"must have a text as `{name}`"
    if not isinstance(message.get("content"), str) and not (message.get("content") is None and calls):
        return "must have a text as `content`"
    if by_assistant and (isinstance(weight, bool) or weight not in (None, 0, 1)):
        return f"has the weight {weight!r}; known are 0 (not learnt) and 1"
    return None


def _half_a_character(value: Any) -> str | None:
    """A text cannot be encoded that was cut between the two halves of a character (a surrogate pair in UTF-16)."""
    for text in strings_in(value):
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            half = ord(text[error.start])
            return f"holds half a character (U+{half:04X}, half of a surrogate pair); mend or leave out the text"
    return None
