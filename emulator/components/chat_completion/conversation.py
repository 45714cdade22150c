"""What a conversation must look like to be trained on."""

from typing import Any

from emulator.components.chat_completion.records import COLUMN, Row

ROLES = frozenset({"system", "user", "assistant", "tool"})

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
        if not isinstance(message.get("content"), str):
            return f"message {number} ({message['role']}) must have a text as `content`"
    return None


def has_an_answer(row: Row) -> bool:
    """Whether there is anything to learn: only what the assistant says is trained on."""
    return any(message["role"] == "assistant" and message["content"].strip() for message in row[COLUMN])
