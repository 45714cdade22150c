"""Conversations to tokens, each with whether the model learns to say it."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from emulator.components.chat_completion.added_tokens import AddedTokens, Mark
from emulator.components.chat_completion.assistant_spans import AssistantSpans, Reading
from emulator.components.chat_completion.conversation import Message, fault_of, tools_of
from emulator.components.chat_completion.records import COLUMN, Row
from emulator.components.chat_completion.template import Refusal, Span, Template
from emulator.components.step import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TURNS: list[Message] = [
    {"role": "user", "content": "One?"},
    {"role": "assistant", "content": "One."},
    {"role": "user", "content": "Two?"},
]


@dataclass(frozen=True)
class EncodedRow:
    """One conversation as tokens, not truncated.

    Attributes:
        where: the file and row that it comes from.
        ids: token ids.
        labels: for each token, whether the model learns to say it.
        answers: for each answer that is to be learnt, by its message's number from 1: after how many tokens all of it is
            learnt; None where a part of it is not.
    """

    where: str
    ids: Sequence[int]
    labels: NDArray[np.bool_]
    answers: dict[int, int | None]

    def left_out(self, limit: int) -> list[int]:
        """The messages whose answers are not learnt whole from the first `limit` tokens."""
        return [message for message, tokens in self.answers.items() if tokens is None or tokens > limit]


class Encoder:
    """Encodes rows for one model.

    Args:
        stops: ids that the model's configuration names as ends.

    Raises:
        UserError: the tokenizer does not tell where in a text its tokens are.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", stops: Collection[int] = ()) -> None:
        if not tokenizer.is_fast:
            raise UserError(
                f"The model's tokenizer ({type(tokenizer).__name__}) does not tell which characters a token stands for, so "
                "its answers cannot be found. Use a model with a tokenizer.json."
            )
        self._tokenizer = tokenizer
        own = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
        self._tokens = AddedTokens(tokenizer, {*stops, *own})
        self._added = np.array(sorted(self._tokens.all), np.int64)
        self._control = np.array(sorted(self._tokens.special | self._tokens.stops), np.int64)
        self._spans = AssistantSpans(Template(tokenizer), self._tokens)

    def encode(self, rows: Sequence[tuple[str, Row]]) -> Iterator[EncodedRow]:
        """Encodes rows, each given with where it stands.

        Raises:
            UserError: a row breaks a rule, or cannot be made into tokens; with file and row.
        """
        readings = [self._read(where, row) for where, row in rows]
        # The template has written the special tokens; a second beginning-of-text would be one too many.
        encoding: Any = self._tokenizer(
            [its.text for its in readings], add_special_tokens=False, return_offsets_mapping=True
        )
        for (where, _), reading, ids, spans in zip(
            rows, readings, encoding["input_ids"], encoding["offset_mapping"], strict=True
        ):
            as_text = self._spelt_out(reading)
            if as_text or self._is_forged(reading, ids, spans):
                try:
                    ids, spans = self._tokens.encode(reading.text, as_text)
                except Refusal as refusal:
                    raise UserError(f"{where}: {refusal}.") from refusal
            yield self._labelled(where, reading, ids, spans)

    def _read(self, where: str, row: Row) -> Reading:
        if fault := fault_of(row):
            raise UserError(f"{where}: {fault}.")
        try:
            return self._spans.read(row[COLUMN], tools_of(row))
        except Refusal as refusal:
            raise UserError(f"{where}: {refusal}.") from refusal

    def _is_forged(self, reading: Reading, ids: Sequence[int], spans: Sequence[Span]) -> bool:
        """Whether a text has become a control token, though it spells none: a tokenizer may take one letter for another."""
        control = np.flatnonzero(np.isin(ids, self._control))
        return any(reading.texts[spans[n][0]] for n in control.tolist())

    def _spelt_out(self, reading: Reading) -> list[Mark]:
        """The tokens in somebody's text that must stay text.

        Special tokens and ends steer the model; so do others that the template writes around its turns. What is none of
        these, as `<think>` mostly, is the model's own way to write that very text.
        """
        marks = self._tokens.spelt_in(reading.text)
        in_texts = [mark for mark in marks if reading.texts[mark.start : mark.end].any()]
        if not in_texts:
            return []
        steering = self._tokens.special | self._tokens.stops | self._around_turns
        # Nobody but the assistant has a way of its own to call a tool.
        around = _written_around(reading, marks)
        return [
            mark
            for mark in in_texts
            if mark.id in steering or (mark.id in around and not reading.learnt[mark.start : mark.end].all())
        ]

    @cached_property
    def _around_turns(self) -> set[int]:
        """The added tokens that the template writes around the turns of any conversation."""
        try:
            reading = self._spans.read(TURNS, None)
        except Refusal:
            return set()
        return _written_around(reading, self._tokens.spelt_in(reading.text))

    def _labelled(self, where: str, reading: Reading, ids: Sequence[int], spans: Sequence[Span]) -> EncodedRow:
        starts, ends = np.array(spans, np.int64).reshape(-1, 2).T
        ends = np.maximum(ends, starts + 1)
        # A token that is whole wherever it is spelt may have swallowed white space behind it (Phi-3): its start decides.
        added = np.isin(ids, self._added)
        labels = _any_of(reading.learnt, starts, np.where(added, starts + 1, ends))
        labels &= ~_any_of(reading.texts & ~reading.learnt, starts, ends)
        return EncodedRow(where, ids, labels, _learnt_after(reading, labels, starts, ends))


def _written_around(reading: Reading, marks: Sequence[Mark]) -> set[int]:
    """The tokens that the template writes outside of texts and answers."""
    return {mark.id for mark in marks if not (reading.texts | reading.learnt)[mark.start : mark.end].any()}


def _any_of(characters: NDArray[np.bool_], starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.bool_]:
    """For each stretch, whether it has a character that counts."""
    before = np.concatenate([[0], np.cumsum(characters)])
    last = len(characters)
    return before[np.minimum(ends, last)] > before[np.minimum(starts, last)]


def _learnt_after(
    reading: Reading, labels: NDArray[np.bool_], starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> dict[int, int | None]:
    """For each answer, after how many tokens all of its characters are learnt."""
    tokens_of = np.zeros(len(reading.text) + 1, np.int64)
    found: dict[int, int | None] = {}
    taught = np.zeros(len(reading.text) + 1, np.int64)
    # What a tokenizer drops or joins to the character before it belongs to the token before it.
    upto = np.minimum(np.maximum(ends, np.append(starts[1:], len(reading.text))), len(reading.text))
    np.add.at(taught, starts[labels], 1)
    np.add.at(taught, upto[labels], -1)
    is_taught = np.cumsum(taught) > 0
    np.maximum.at(tokens_of, starts, np.arange(1, len(starts) + 1))
    tokens_of = np.maximum.accumulate(tokens_of)
    for answer in reading.answers:
        places = answer.characters
        whole = len(places) > 0 and bool((places >= 0).all()) and bool(is_taught[places].all())
        found[answer.message] = int(tokens_of[places.max()]) if whole else None
    return found
