"""Which characters of a written conversation come from which text.

A template may move, trim, split or repeat what a message says. To follow it, every character of every text is swapped
for one that stands for its place ("the 57th"), and the template is run on those. Where the stand-ins come out, their
text has gone. The result is trusted only if putting the texts back gives, character by character, what the template
writes for the conversation itself.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emulator.components.chat_completion.conversation import THOUGHTS, Message, strings_in
from emulator.components.chat_completion.template import Refusal, Template, Tools

# Stand-ins are code points above all that templates are written in. None of them is white space, a letter or a surrogate.
FIRST_STAND_IN, STAND_INS = 0x20000, 0x110000 - 0x20000
# White space, which templates trim, and what JSON escapes stand for themselves. None of it is beyond U+3000.
BLANK = np.array([chr(code).isspace() or code < 0x20 for code in range(0x3002)])
THEMSELVES = BLANK | np.isin(np.arange(len(BLANK)), [ord('"'), ord("\\")])
# Fields that say what something is rather than something.
LABELS = frozenset({"type", "id"})
TEMPLATE = -1

Codes = NDArray[np.uint32]
Places = NDArray[np.int64]


@dataclass(frozen=True)
class Written:
    """A conversation as the template writes it.

    Attributes:
        text: what it writes.
        source: for each character of it, its place in the texts; `TEMPLATE` for the template's own.
    """

    text: str
    source: Places


@dataclass(frozen=True)
class Place:
    """Where the texts of one message stand among all texts, end exclusive."""

    start: int
    end: int


class Texts:
    """The texts of one conversation, and the conversation with stand-ins in their place.

    Args:
        messages: role, name and the like stay as they are; content, thoughts and calls of tools are texts.
        tools: their descriptions are texts too.
        keep: strings that templates look for in a text; they stay, so that the template finds them.
    """

    def __init__(self, messages: Sequence[Message], tools: Tools, keep: Sequence[str] = ()) -> None:
        self._keep = re.compile("|".join(map(re.escape, keep))) if keep else None
        self._parts: list[Codes] = []
        self._stand_in_parts: list[NDArray[np.bool_]] = []
        self._length = 0
        self.places: list[Place] = []
        self.untouched: list[str] = []
        """Strings that are written as they are: names, labels, keys."""
        self.tools = self._swap(tools)
        self.messages = [self._swap_message(message) for message in messages]
        self.characters: Codes = np.concatenate([np.empty(0, np.uint32), *self._parts])
        self.has_stand_in: NDArray[np.bool_] = np.concatenate([np.empty(0, np.bool_), *self._stand_in_parts])
        self._ends = np.cumsum([0, *map(len, self._parts)])

    def written(self, template: Template, upto: int, for_answer: bool) -> Written:
        """What the template writes for the first `upto` messages."""
        return self._trace(_codes(template.write(self.messages[:upto], self.tools, for_answer)))

    def trace(self, template: Template, expected: str) -> Written | None:
        """What the template writes for the whole conversation; None unless that is `expected`."""
        try:
            found = self.written(template, len(self.messages), for_answer=False)
        except Refusal:
            return None
        return found if found.text == expected else None

    def first_uses(self, written: Written) -> Places:
        """For each place in the texts where it is written first; -1 where it is not."""
        return self._uses(written.source)

    def not_followed(self, message: int, uses: Places) -> list[str]:
        """The texts of a message (from 0) of which something visible stands for itself and was not found again."""
        place = self.places[message]
        lost = ~self.has_stand_in & (uses < 0) & ~_blank(self.characters)
        lost[: place.start], lost[place.end :] = False, False
        parts = np.unique(np.searchsorted(self._ends, np.flatnonzero(lost), side="right"))
        return [_text(self.characters[self._ends[part - 1] : self._ends[part]]) for part in parts]

    def _uses(self, source: Places) -> Places:
        uses = np.full(len(self.characters), -1, np.int64)
        (at,) = np.nonzero(source >= 0)
        # Of several assignments to one place the last stays, so they are made from the end.
        uses[source[at[::-1]]] = at[::-1]
        return uses

    def _trace(self, codes: Codes) -> Written:
        (at,) = np.nonzero(codes >= FIRST_STAND_IN)
        places = codes[at].astype(np.int64) - FIRST_STAND_IN
        if len(self.characters) > STAND_INS:
            # There are more places than stand-ins; a template that goes on goes on to the nearest.
            places = np.unwrap(places, period=STAND_INS).astype(np.int64)
        known = (places >= 0) & (places < len(self.characters))
        at, places = at[known], places[known]
        source = np.full(len(codes), TEMPLATE, np.int64)
        source[at] = places
        restored = codes.copy()
        restored[at] = self.characters[places]
        self._join(restored, source, at, places)
        self._run_out(restored, source)
        return Written(_text(restored), source)

    def _join(self, codes: Codes, source: Places, at: Places, places: Places) -> None:
        """Gives a text what stands for itself between two stand-ins that are as far apart as in the text."""
        if len(at) < 2:
            return
        whole = (np.diff(at) == np.diff(places)) & (np.diff(at) > 1)
        (between,) = np.nonzero(source == TEMPLATE)
        gap = np.searchsorted(at, between) - 1
        inside = (gap >= 0) & (gap < len(whole))
        between, gap = between[inside], gap[inside]
        between, gap = between[whole[gap]], gap[whole[gap]]
        candidates = places[gap] + between - at[gap]
        same = (self.characters[candidates] == codes[between]) & ~self.has_stand_in[candidates]
        # A gap is the text's as a whole or not at all: between two texts, letters may be the same by chance.
        same &= ~np.isin(gap, gap[~same])
        source[between[same]] = candidates[same]

    def _run_out(self, codes: Codes, source: Places) -> None:
        """Gives a text what stands for itself before its first stand-in and behind its last."""
        uses = self._uses(source)
        for begin, end in zip(self._ends, self._ends[1:], strict=False):
            if self.has_stand_in[begin] and self.has_stand_in[end - 1]:
                continue
            stand_ins = begin + np.flatnonzero(self.has_stand_in[begin:end])
            if not len(stand_ins):
                continue
            place, position = stand_ins[-1] + 1, uses[stand_ins[-1]] + 1
            while 0 < position < len(codes) and place < end and codes[position] == self.characters[place]:
                source[position] = place
                place, position = place + 1, position + 1
            # White space before it may as well be the template's.
            place, position = stand_ins[0], uses[stand_ins[0]]
            visible = begin + np.flatnonzero(~_blank(self.characters[begin:place]))
            if len(visible) and position >= (length := place - visible[0]):
                lead = slice(position - length, position)
                if (codes[lead] == self.characters[visible[0] : place]).all() and (source[lead] == TEMPLATE).all():
                    source[lead] = np.arange(visible[0], place)

    def _swap_message(self, message: Message) -> Message:
        start = self._length
        swapped: Message = {}
        same: dict[str, str] = {}
        for name, value in message.items():
            if isinstance(value, str) and name in THOUGHTS:
                # Some formats hold the same thoughts under two names.
                swapped[name] = same[value] if value in same else same.setdefault(value, self._swap(value))
            elif name in ("content", "tool_calls"):
                swapped[name] = self._swap(value)
            else:
                swapped[name] = value
                self.untouched += strings_in(value)
        self.places.append(Place(start, self._length))
        return swapped

    def _swap(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._stand_in(value)
        if isinstance(value, list):
            return [self._swap(item) for item in value]
        if isinstance(value, dict):
            labels = {name: item for name, item in value.items() if name in LABELS and isinstance(item, str)}
            self.untouched += [*value, *labels.values()]
            return {name: item if name in labels else self._swap(item) for name, item in value.items()}
        return value

    def _stand_in(self, text: str) -> str:
        if not text:
            return text
        codes = _codes(text)
        themselves = THEMSELVES[np.minimum(codes, len(THEMSELVES) - 1)]
        if themselves.all():
            # A text of nothing but quotes has nothing else to follow it by.
            themselves = _blank(codes)
        if self._keep:
            for match in self._keep.finditer(text):
                themselves[match.start() : match.end()] = True
        places = self._length + np.arange(len(codes), dtype=np.int64)
        self._length += len(codes)
        self._parts.append(codes)
        self._stand_in_parts.append(~themselves)
        return _text(np.where(themselves, codes, FIRST_STAND_IN + places % STAND_INS))


def trace(
    template: Template, messages: Sequence[Message], tools: Tools, expected: str, keep: Sequence[str]
) -> tuple[Texts, Written] | None:
    """Follows a conversation's texts through the template; None where it does something to them that cannot be followed.

    `keep`: what the template looks for in texts. Few texts hold any of it, and those that do are followed less closely.
    """
    for kept in ((), keep) if keep else ((),):
        texts = Texts(messages, tools, kept)
        if found := texts.trace(template, expected):
            return texts, found
    return None


def _blank(codes: Codes) -> NDArray[np.bool_]:
    return BLANK[np.minimum(codes, len(BLANK) - 1)]


def _codes(text: str) -> Codes:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4").astype(np.uint32)


def _text(codes: NDArray[Any]) -> str:
    return codes.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")
