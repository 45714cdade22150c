"""A model's chat template: what it writes for a conversation, and why it refuses one."""

import re
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from emulator.components.chat_completion.conversation import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Span = tuple[int, int]
Tools = list[dict[Any, Any]] | None

GENERATION_MARK = re.compile(r"\{%-?\+?\s*generation\b")


class Refusal(Exception):
    """A conversation cannot be made into tokens; the message completes "<file>, row 7: "."""


class Template:
    """The chat template of a tokenizer."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        self._tokenizer = tokenizer

    def write(self, messages: Sequence[Message], tools: Tools = None, for_answer: bool = False) -> str:
        """The conversation as text; `for_answer` opens the assistant's next turn.

        Raises:
            Refusal: the template does not take the conversation.
        """
        return str(self._apply(messages, tools, tokenize=False, add_generation_prompt=for_answer))

    def marked(self, messages: Sequence[Message], tools: Tools) -> list[Span] | None:
        """The stretches (start, end, in characters) that the template itself marks as generated; None where it marks nothing."""
        if not GENERATION_MARK.search(self._source(tools)):
            return None
        encoding = self._apply(
            messages, tools, tokenize=True, return_dict=True, return_assistant_tokens_mask=True,
            tokenizer_kwargs={"return_offsets_mapping": True},
        )  # fmt: skip
        spans: list[Span] = []
        for (start, end), generated in zip(encoding["offset_mapping"], encoding["assistant_masks"], strict=True):
            if generated and spans and start <= spans[-1][1]:
                spans[-1] = spans[-1][0], max(end, spans[-1][1])
            elif generated:
                spans.append((start, end))
        return spans

    @cached_property
    def looked_for(self) -> tuple[str, ...]:
        """The strings in the template's code, the longest first: what it may compare a text with, split it at, replace in it."""
        from jinja2 import TemplateError, nodes
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        # The tags of generation marks are no Jinja; what stands between them is.
        try:
            source = re.sub(r"\{%-?\+?\s*(end)?generation\s*[-+]?%\}", "", self._source(None))
            tree = ImmutableSandboxedEnvironment(extensions=["jinja2.ext.loopcontrols"]).parse(source)
        except (TemplateError, Refusal):
            return ()
        found = {const.value for const in tree.find_all(nodes.Const) if isinstance(const.value, str)}
        return tuple(sorted(filter(str.strip, found), key=len, reverse=True))

    def _apply(self, messages: Sequence[Message], tools: Tools, **how: Any) -> Any:
        try:
            return self._tokenizer.apply_chat_template(list(messages), tools=list(tools) if tools else None, **how)
        # A template is a program: what it meets in a conversation may end it in any way.
        except Exception as error:
            raise Refusal(
                f"the model's chat template does not take this conversation ({error}). Mend the row or leave it out"
            ) from error

    def _source(self, tools: Tools) -> str:
        try:
            return str(self._tokenizer.get_chat_template(tools=tools))
        except ValueError as error:
            raise Refusal(f"the model has several chat templates and none for this conversation ({error})") from error
