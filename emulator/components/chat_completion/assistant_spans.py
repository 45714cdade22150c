"""Which tokens of a conversation the assistant said.

Chat templates rarely mark it themselves. What a template puts between "everything before this answer, ready to be
answered" and "everything including it" is the answer with its end-of-turn token, whatever the template's syntax.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from emulator.components.chat_completion.conversation import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Span = tuple[int, int]


def render(tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message], for_answer: bool = False) -> str:
    """The conversation as the model's chat template writes it; `for_answer` opens the assistant's next turn."""
    text = tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=for_answer)
    assert isinstance(text, str)
    return text


def assistant_spans(tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message]) -> tuple[str, list[Span]]:
    """The rendered conversation, and the character span of each answer in it (start, end; end-of-turn included)."""
    text = render(tokenizer, messages)
    spans: list[Span] = []
    cursor = 0
    for index, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        before = render(tokenizer, messages[:index], for_answer=True) if index else ""
        through = render(tokenizer, messages[: index + 1])
        if text.startswith(before) and text.startswith(through) and len(before) < len(through):
            span = len(before), len(through.rstrip())
        else:
            # A template that rewrites earlier turns (it may drop reasoning): look for the answer itself.
            content = message["content"].strip()
            start = text.find(content, cursor)
            if start < 0:
                continue
            span = start, start + len(content)
        if span[0] < span[1]:
            spans.append(span)
            cursor = span[1]
    return text, spans


def labelled_tokens(offsets: Sequence[Span], spans: Sequence[Span]) -> list[bool]:
    """For each token (by its character offsets), whether any of it lies in an answer. Spans are in order and disjoint."""
    labels: list[bool] = []
    remaining = iter(spans)
    current = next(remaining, None)
    for start, end in offsets:
        while current and start >= current[1]:
            current = next(remaining, None)
        labels.append(bool(current and start < end and end > current[0]))
    return labels
