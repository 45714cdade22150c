"""Where the prompt ends and the answer begins, and where the answer ends and the next turn begins.

Both are found by running the template on the beginning of the conversation, asking for an answer and not:

* **The prompt** is what is written before an answer for the messages before it. What of it stands before the answer in
  the whole conversation is not learnt; what the template adds (gpt-oss's channel, Qwen's empty thoughts) is.
* **The end** is the first end token behind an answer that is written whoever speaks next. What follows it is not
  learnt, be it a line break or a token that ends the conversation; only where an answer has no other end (gpt-oss
  closes the last one by `<|return|>`) is such a token its end.
* **GLM's templates write no end**: the next role's token stops the model. It is learnt where the model's configuration
  names it as an end, since generating it is then how the model stops; else the answer is learnt without an end.
* A template whose ends are no tokens of this tokenizer ends its turns by text; that text is learnt.
"""

import re
from collections.abc import Sequence

import numpy as np

from emulator.components.chat_completion.added_tokens import AddedTokens
from emulator.components.chat_completion.conversation import Message
from emulator.components.chat_completion.provenance import Texts
from emulator.components.chat_completion.template import Refusal, Template

# Most templates write two or three things around answers; to look at as many beginnings as there are turns would take the
# square of the turns.
MOST_BEGINNINGS = 64
NUMBER = re.compile(r"\d+")
PROBE: Message = {"role": "user", "content": "?"}


class Beginnings:
    """What the template writes behind the last text of a conversation's first messages."""

    def __init__(self, template: Template, messages: Sequence[Message], texts: Texts) -> None:
        self.messages = messages
        self._template = template
        self._texts = texts
        self._tails: dict[tuple[int, bool], str | None] = {}

    def tail(self, upto: int, for_answer: bool) -> str | None:
        """What stands behind the last text of the first `upto` messages; None where that cannot be seen.

        The template may not take those messages alone, or enough beginnings have been looked at.
        """
        key = upto, for_answer
        if key not in self._tails:
            if self.exhausted:
                return None
            self._tails[key] = self._written(upto, for_answer)
        return self._tails[key]

    @property
    def exhausted(self) -> bool:
        """Whether enough beginnings have been looked at."""
        return len(self._tails) >= MOST_BEGINNINGS

    def _written(self, upto: int, for_answer: bool) -> str | None:
        try:
            written = self._texts.written(self._template, upto, for_answer)
        except Refusal:
            return None
        at = np.flatnonzero(written.source >= 0)
        return written.text[at[-1] + 1 if len(at) else 0 :]


class TurnBorders:
    """Finds the borders of answers by what the template writes around them.

    What it has found for some surroundings it keeps, for all conversations: so the time grows in line with the turns.
    """

    def __init__(self, template: Template, tokens: AddedTokens) -> None:
        self._template = template
        self._tokens = tokens
        self._openings: dict[tuple[str, str], int] = {}
        self._ends: dict[tuple[str, bool], int | str] = {}
        self._prompts: dict[str, str] = {}
        self._end_ids: set[int] = set()

    def opening(self, beginnings: Beginnings, index: int, before: str) -> int:
        """How many characters of what the template writes before message `index` (from 0) the answer begins with.

        Raises:
            Refusal: the template does not open its answers as it asks for them.
        """
        previous = beginnings.messages[index - 1]["role"] if index else ""
        key = previous, NUMBER.sub("0", before)
        if key in self._openings:
            return min(self._openings[key], len(before))
        found = len(before) - self._prompt_in(beginnings, index, before)
        if not beginnings.exhausted:
            self._openings[key] = found
        return found

    def end(self, beginnings: Beginnings, index: int, behind: str, is_last: bool) -> int:
        """How many characters of what the template writes behind message `index` belong to the answer."""
        key = NUMBER.sub("0", behind), is_last
        found = self._ends.get(key)
        if found is None:
            found = self._end_in(beginnings, index, behind, is_last)
            if not beginnings.exhausted:
                self._ends[key] = found
        if isinstance(found, str):
            return len(found) if behind.startswith(found) else 0
        end = self._tokens.controls_in(behind)[found]
        self._end_ids.add(end.id)
        return end.end

    def _prompt_in(self, beginnings: Beginnings, index: int, before: str) -> int:
        """How many of the characters before an answer are the prompt's."""
        asked = beginnings.tail(index, for_answer=True) if index else None
        if asked is None:
            # It opens the conversation, or what comes before it cannot be seen alone.
            prompt = self._prompt(beginnings.messages[0])
            found = before.rfind(prompt) if prompt else -1
            return found + len(prompt) if found >= 0 else len(before)
        closed = beginnings.tail(index, for_answer=False)
        shared = self._shared(before, asked)
        if asked == closed:
            # The template opens no answer when it is asked to: all that it writes but white space is the role's header.
            return shared if shared == len(asked) and not before[shared:].strip() else len(before)
        turn = self._shared(asked, closed or "")
        if shared > turn or not before.strip():
            return shared
        # A template may end the last turn otherwise than one that others follow.
        found = before.rfind(asked[turn:])
        if found < 0:
            raise Refusal(
                f"the model's chat template writes {before!r} before message {index + 1}, but asks for such an answer by "
                f"{asked!r}, so what is learnt would not fit what is asked. Mend the template's add_generation_prompt"
            )
        return found + len(asked) - turn

    def _prompt(self, first: Message) -> str:
        """What the template writes to ask for an answer."""
        if first["role"] not in self._prompts:
            self._prompts[first["role"]] = self._asked_after([first, PROBE]) or self._asked_after([PROBE])
        return self._prompts[first["role"]]

    def _asked_after(self, messages: Sequence[Message]) -> str:
        try:
            asked, closed = (self._template.write(messages, for_answer=asks) for asks in (True, False))
        except Refusal:
            return ""
        return asked[self._shared(asked, closed) :]

    def _end_in(self, beginnings: Beginnings, index: int, behind: str, is_last: bool) -> int | str:
        """Which of the control tokens behind an answer is its end (their number, from 0), or a text that ends it."""
        controls = self._tokens.controls_in(behind)
        closed = beginnings.tail(index + 1, for_answer=False)
        asked = beginnings.tail(index + 1, for_answer=True)
        if closed is None:
            # The template takes no conversation that ends here: what ended other answers ends this one.
            return next((n for n, mark in enumerate(controls) if mark.id in self._end_ids | self._tokens.stops), "")
        # What is written whoever speaks next belongs to this turn.
        turn = self._shared(behind, closed if asked is None else asked)
        within = [n for n, mark in enumerate(controls) if mark.end <= turn]
        known = [n for n, mark in enumerate(controls) if mark.id in self._tokens.stops]
        if found := [n for n in within if n in known]:
            return found[0]
        if within and (is_last or self._tokens.controls_in(closed)):
            return within[0]
        if controls and is_last:
            return (known or [0])[0]
        if known and known[0] == 0:
            return 0
        return behind[: min(turn, _common(behind, closed))].rstrip()

    def _shared(self, text: str, other: str) -> int:
        """How much of a text another begins with, no added token of it cut."""
        return self._tokens.whole(text, _common(text, other))


def _common(text: str, other: str) -> int:
    """With how many characters both begin."""
    return next(
        (n for n, (one, two) in enumerate(zip(text, other, strict=False)) if one != two), min(len(text), len(other))
    )
