"""Which characters of a written conversation the model learns to say: its answers, each with its end.

An answer is what the model has to say between a prompt and the point where it may stop (`turn_borders`). Where the
template marks what is generated, its marks are followed and completed by the end. Nobody else's text is ever learnt.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emulator.components.chat_completion.added_tokens import AddedTokens
from emulator.components.chat_completion.conversation import Message, is_learnt
from emulator.components.chat_completion.provenance import Texts, Written, trace
from emulator.components.chat_completion.template import Refusal, Span, Template, Tools
from emulator.components.chat_completion.turn_borders import Beginnings, TurnBorders


@dataclass(frozen=True)
class Answer:
    """One message of the assistant that is to be learnt.

    Attributes:
        message: its number in the conversation, from 1.
        characters: where the characters of its text are written; -1 for those that the template leaves out.
    """

    message: int
    characters: NDArray[np.int64]


@dataclass(frozen=True)
class Reading:
    """A written conversation, and what of it is learnt.

    Attributes:
        text: the conversation as the template writes it.
        texts: for each character, whether it comes from a text rather than from the template.
        learnt: for each character, whether the model learns to say it.
        answers: the answers that are to be learnt.
    """

    text: str
    texts: NDArray[np.bool_]
    learnt: NDArray[np.bool_]
    answers: list[Answer]


class AssistantSpans:
    """Finds the answers in conversations, as one tokenizer's chat template writes them."""

    def __init__(self, template: Template, tokens: AddedTokens) -> None:
        self._template = template
        self._tokens = tokens
        self._borders = TurnBorders(template, tokens)
        # A control token in a text has to be told from the template's own, so it cannot be left as it is.
        self._keep = tuple(text for text in template.looked_for if not tokens.controls_in(text))

    def read(self, messages: Sequence[Message], tools: Tools) -> Reading:
        """Writes a conversation and finds its answers.

        Raises:
            Refusal: the template does not take the conversation, or neither its prompts nor its marks show the answers.
        """
        text = self._template.write(messages, tools)
        marks = self._template.marked(messages, tools)
        traced = trace(self._template, messages, tools, text, self._keep)
        if traced is None:
            return self._by_marks_alone(messages, text, marks)
        texts, written = traced
        for name in texts.untouched:
            if self._tokens.controls_in(name) and name in text:
                raise Refusal(f"the name {name!r} spells a control token of the model. Choose another name")
        return self._by_prompts(messages, texts, written, marks)

    def _by_prompts(
        self, messages: Sequence[Message], texts: Texts, written: Written, marks: list[Span] | None
    ) -> Reading:
        beginnings = Beginnings(self._template, messages, texts)
        uses = texts.first_uses(written)
        at = np.flatnonzero(written.source >= 0)
        learnt = np.zeros(len(written.text), np.bool_)
        marked = _within(marks or [], len(written.text))
        answers: list[Answer] = []
        for index, (message, place) in enumerate(zip(messages, texts.places, strict=True)):
            if not is_learnt(message):
                continue
            own = uses[place.start : place.end]
            characters = own[texts.has_stand_in[place.start : place.end]]
            if not (own >= 0).any():
                answers.append(Answer(index + 1, characters))
                continue
            first, last = int(own[own >= 0].min()), int(own.max())
            source = written.source[first : last + 1]
            if ((source >= 0) & ((source < place.start) | (source >= place.end))).any():
                raise Refusal(
                    f"the model's chat template writes other messages into message {index + 1}, so that it cannot be learnt "
                    "alone. Use a model whose template writes one message after the other"
                )
            found = np.searchsorted(at, [first, last + 1])
            before = int(at[found[0] - 1]) + 1 if found[0] else 0
            behind = int(at[found[1]]) if found[1] < len(at) else len(written.text)
            is_last = behind == len(written.text)
            start = first - self._borders.opening(beginnings, index, written.text[before:first])
            end = last + 1 + self._borders.end(beginnings, index, written.text[last + 1 : behind], is_last)
            if not all(_holds(written.text[start:end], text) for text in texts.not_followed(index, uses)):
                characters = np.append(characters, -1)
            answers.append(Answer(index + 1, characters))
            if marks is None:
                learnt[start:end] = True
            else:
                learnt[start : last + 1] = marked[start : last + 1]
                learnt[last + 1 : end] = marked[last]
        return Reading(written.text, written.source >= 0, learnt, answers)

    def _by_marks_alone(self, messages: Sequence[Message], text: str, marks: list[Span] | None) -> Reading:
        """Where the texts cannot be followed: all that is marked, if that is sure to be learnt."""
        if marks is None:
            raise Refusal(
                "the model's chat template changes what the messages say, so that the assistant's words cannot be told "
                "from the others', and it has no {% generation %} marks. Use a model whose template marks its answers"
            )
        if not all(is_learnt(message) for message in messages if message["role"] == "assistant"):
            raise Refusal(
                "the model's chat template changes what the messages say, so that the answers of weight 0 cannot be told "
                "from the others. Leave the weights out"
            )
        if any(self._tokens.controls_in(text) for message in messages for text in map(str, message.values())):
            raise Refusal("it spells control tokens of the model where its chat template hides them. Leave them out")
        learnt = _within(marks, len(text))
        answers, cursor = [], 0
        for number, message in enumerate(messages, start=1):
            if is_learnt(message):
                content = str(message.get("content") or "").strip()
                start = text.find(content, cursor) if content else -1
                cursor = max(cursor, start + len(content))
                characters = np.arange(start, cursor) if start >= 0 else np.full(1, -1)
                answers.append(Answer(number, characters.astype(np.int64)))
        return Reading(text, np.zeros(len(text), np.bool_), learnt, answers)


def _holds(said: str, text: str) -> bool:
    """Whether a text was said, whatever white space the template has put into it; it may have been written as JSON."""
    as_json = json.dumps(text, ensure_ascii=False)[1:-1]
    return any("".join(form.split()) in "".join(said.split()) for form in (text, as_json))


def _within(spans: list[Span], length: int) -> NDArray[np.bool_]:
    found = np.zeros(length, np.bool_)
    for start, end in spans:
        found[start:end] = True
    return found
