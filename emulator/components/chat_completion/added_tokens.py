"""The tokens that a tokenizer reads as a whole wherever they are spelt: marks of roles and ends of turns, among others.

Spelt out in what somebody says they are no such marks, and must not become one: a question could forge an answer.
"""

import json
import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from emulator.components.chat_completion.template import Refusal, Span

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Mark:
    """An added token, spelt at a place of a text."""

    start: int
    end: int
    id: int


class AddedTokens:
    """The added tokens of a tokenizer.

    Args:
        stops: ids that the model is known to end an answer with.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", stops: Collection[int]) -> None:
        self._tokenizer = tokenizer
        # White space that is a token of its own belongs to text.
        added = {token.content: (id, token.special) for id, token in tokenizer.added_tokens_decoder.items()}
        self._ids = {content: id for content, (id, _) in added.items() if content.strip()}
        self._blank = {content: id for content, (id, _) in added.items() if not content.strip()}
        # Nobody must be able to spell the names that `encode` gives to tokens; U+F8FF is for private use.
        self._secret = f"\uf8ff{secrets.token_hex(8)}\uf8ff"
        self.all = frozenset(id for id, _ in added.values())
        self.stops = frozenset(stops)
        self.special = frozenset(id for id, special in added.values() if special)
        longest_first = sorted(self._ids, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)) or "(?!)")

    def spelt_in(self, text: str) -> list[Mark]:
        """The added tokens in a text, in order."""
        return [Mark(found.start(), found.end(), self._ids[found[0]]) for found in self._pattern.finditer(text)]

    def controls_in(self, text: str) -> list[Mark]:
        """Those of them that steer the model, whatever the template: special tokens and known ends."""
        return [mark for mark in self.spelt_in(text) if mark.id in self.special or mark.id in self.stops]

    def whole(self, text: str, length: int) -> int:
        """The longest part of a text, `length` at most, that ends within no added token."""
        return next((mark.start for mark in self.spelt_in(text) if mark.start < length < mark.end), length)

    def encode(self, text: str, as_text: Collection[Mark]) -> tuple[list[int], list[Span]]:
        """Token ids and their spans, in which the added tokens `as_text` are encoded as what is spelt.

        Raises:
            Refusal: the tokenizer makes the token out of its spelling alone.
        """
        pieces: list[str] = []
        spans: list[Span] = []
        for start, mark in self._stretches(text, as_text):
            end = mark.start if mark else len(text)
            pieces.append(text[start:end])
            spans += [(n, n + 1) for n in range(start, end)]
            if mark:
                pieces.append(self._name(mark.id))
                spans += [(mark.start, mark.end)] * len(pieces[-1])
        encoding = self._renamed.encode("".join(pieces), add_special_tokens=False)
        ids = [self._own_ids.get(id, id) for id in encoding.ids]
        forbidden = {mark.id for mark in as_text}
        for id, renamed in zip(ids, encoding.ids, strict=True):
            if id in forbidden and renamed not in self._own_ids:
                token = self._tokenizer.convert_ids_to_tokens(id)
                raise Refusal(f"a text spells {token!r}, which the tokenizer cannot write as text; change the spelling")
        return ids, [(spans[start][0], spans[max(start, end - 1)][1]) for start, end in encoding.offsets]

    def _stretches(self, text: str, as_text: Collection[Mark]) -> list[tuple[int, Mark | None]]:
        text_alone = frozenset(as_text)
        marks = [mark for mark in self.spelt_in(text) if mark not in text_alone]
        return list(zip([0, *(mark.end for mark in marks)], [*marks, None], strict=True))

    def _name(self, id: int) -> str:
        return f"{self._secret}{id}\uf8ff"

    @cached_property
    def _renamed(self):  # type: ignore[no-untyped-def]
        """The same tokenizer, its added tokens under names that nobody spells."""
        from tokenizers import Tokenizer

        document = json.loads(self._tokenizer.backend_tokenizer.to_str())  # type: ignore[attr-defined]
        for token in document["added_tokens"]:
            if token["content"].strip():
                token["content"] = self._name(token["id"])
        return Tokenizer.from_str(json.dumps(document))

    @cached_property
    def _own_ids(self) -> dict[int, int]:
        """From the ids of the renamed tokenizer's added tokens to those of this one's."""
        names = {self._name(id): id for id in self._ids.values()} | self._blank
        return {self._renamed.token_to_id(name): id for name, id in names.items()}
