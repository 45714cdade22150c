"""Chat data as teams keep it, made into the one form that is checked and written: `messages` of role and content.

Known are ultrachat's and OpenAI's and Foundry's `messages`, ShareGPT's `conversations`, and a prompt and a response in columns
of their own. What a message carries beside its role and text (tool calls, thoughts, a weight) is kept as it is.
"""

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import polars as pl

from tasks.sampling.errors import UNKNOWN_KEYS, Finding, UnreadableFile, listed
from tasks.sampling.parameters import DatasetParameters

Format = Literal["messages", "sharegpt", "prompt_response"]
Row = dict[str, Any]

MESSAGE = pl.Struct({"content": pl.String, "role": pl.String})
SCHEMA = {
    "prompt": pl.String(), "messages": pl.List(MESSAGE), "prompt_id": pl.String(), "extras": pl.String(),
    "left_out": pl.List(pl.String()),
}  # fmt: skip
"""A batch of conversations. `prompt` and `prompt_id` are null where they are to be made; `extras` is the row's messages and
tools as JSON where they hold more than roles and texts, and null elsewhere; `left_out` names what of the row is not kept."""

SHAREGPT_COLUMNS = ("conversations", "conversation")
PAIRS = (
    ("prompt", "response"), ("prompt", "completion"), ("instruction", "output"), ("instruction", "response"),
    ("question", "answer"), ("question", "response"), ("query", "response"), ("input", "output"),
)  # fmt: skip
"""Columns of a prompt and a response, as public instruction data names them."""

SYSTEMS = ("system", "system_prompt")
"""A column of the system's text, beside any form."""
MATERIALS = ("input", "context")
"""A column of what the prompt is about: it follows the prompt."""

MEANINGS = {
    **dict.fromkeys(("image", "images", "video", "videos", "audio", "audios"), "what is talked about beside the text"),
    **dict.fromkeys(
        ("label", "kto_tag", "chosen", "rejected", "rejected_response", "rating"), "which answers are good ones"
    ),
    **dict.fromkeys(("instruction", "question", "query", "messages", "conversations"), "what was said"),
    **dict.fromkeys(("weight", "train", "loss", "train_detail", "loss_scale"), "what of the row is to be learnt"),
}
"""Columns, and fields of messages, that change what a row means, and what of it they tell."""

SPEAKERS = {
    "human": "user", "user": "user", "gpt": "assistant", "chatgpt": "assistant", "assistant": "assistant", "bing": "assistant",
    "bard": "assistant", "model": "assistant", "system": "system", "tool": "tool", "observation": "tool",
}  # fmt: skip
"""ShareGPT's `from`, of the exports in circulation."""

ROLE_NAMES = {"developer": "system", "function": "tool"}
"""Older and newer words of OpenAI's."""

THOUGHTS = ("thinking", "reasoning_content", "reasoning")
MASKS = ("weight", "train", "loss")
"""Which says that an answer is not to be learnt: OpenAI's word, Axolotl's, ms-swift's."""
TEXT_PARTS = ("text", "input_text", "output_text")
BESIDE_TEXT = ("type", "text", "annotations", "cache_control", "logprobs")
"""What a part of text has beside it that nobody would miss."""


WANTED: dict[Format | None, str] = {
    "messages": "messages nor anything like it",
    "sharegpt": "conversations nor conversation",
    "prompt_response": "prompt and response nor another known pair",
    None: "messages, nor conversations, nor columns of a prompt and a response",
}


class BadRow(Exception):
    """A row from which no conversation can be made."""

    def __init__(self, rule: str, value: object) -> None:
        self.rule, self.value = rule, value


@dataclass(frozen=True, slots=True)
class RawRow:
    """A row as a file holds it, or what is wrong with it."""

    index: int
    number: int
    """From 1: of its line, or in its file."""
    size: int
    """In bytes, or an estimate of it."""
    row: Row | None = None
    finding: Finding | None = None


@dataclass(frozen=True)
class Columns:
    """Where a file keeps its conversations."""

    format: Format
    messages: str | None = None
    prompt: str | None = None
    response: str | None = None
    others: frozenset[str] = frozenset()
    """Further columns with a meaning, if they are there: an id, tools, a system text."""
    found: frozenset[str] = frozenset()
    """All columns of the file."""
    may_have_more: bool = False
    """Whether columns, and fields of messages, that are not known are left out; else they are refused."""

    @property
    def known(self) -> frozenset[str]:
        """All that are read."""
        return self.others | {name for name in (self.messages, self.prompt, self.response) if name is not None}


def columns_of(file: str, found: Collection[str], params: DatasetParameters) -> Columns:
    """Tells by the columns that were `found` in a file, and by what the person said, how it keeps conversations.

    Raises:
        UnreadableFile: with the columns' names.
    """
    chosen = _choose(file, set(found), params)
    chosen = replace(chosen, found=frozenset(found), may_have_more=params.extra_columns == "drop")
    extra = sorted(set(found) - chosen.known)
    if extra and not chosen.may_have_more:
        raise UnreadableFile(
            f"{file} has columns that are not of a conversation: {listed(extra)}. "
            f"Set extra_columns to drop to leave them out of the sample{but_for(extra)}."
        )
    return chosen


def but_for(names: Iterable[str]) -> str:
    """What would be lost with `names`, as a sentence goes on with it; empty if it is nothing that is known."""
    lost = "; ".join(f"{name} tells {MEANINGS[name]}" for name in names if name in MEANINGS)
    return f", but {lost}" if lost else ""


def _choose(file: str, found: set[str], params: DatasetParameters) -> Columns:
    format: Format | None = None if params.format == "auto" else params.format
    prompt, response = params.prompt_column, params.response_column
    if prompt or response:
        pairs: Sequence[tuple[str, str]] = [(prompt or "prompt", response or "response")]
        format = "prompt_response"
    else:
        pairs = PAIRS
    # Whether they are in the file's first rows or not: in JSON a row may leave them out.
    others = frozenset({"prompt_id", "tools", "functions", "schemaVersion", *SYSTEMS})
    if format in (None, "messages") and "messages" in found:
        return Columns("messages", "messages", others=others | {"prompt"})
    if format in (None, "sharegpt"):
        for name in SHAREGPT_COLUMNS:
            if name in found:
                return Columns("sharegpt", name, others=others | {"id"})
    if format in (None, "prompt_response"):
        for asked, answered in pairs:
            if {asked, answered} <= found:
                others |= {"id", "history", *MATERIALS}
                return Columns("prompt_response", prompt=asked, response=answered, others=others - {asked, answered})
    told = f"Its columns are {listed(sorted(found))}"
    if prompt or response:
        missing = [name for name in pairs[0] if name not in found]
        raise UnreadableFile(
            f"{file} has no column {' and no column '.join(missing)}: prompt_column is {pairs[0][0]}, response_column is "
            f"{pairs[0][1]}{'' if prompt and response else ', since only the other is named'}. {told}. Name both by what it has."
        )
    if {"role", "content"} <= found:
        raise UnreadableFile(
            f"{file} has a message in each row, not a conversation. {told}. Write each conversation as one row, its messages as a "
            "list in the column messages."
        )
    raise UnreadableFile(
        f"{file} has no conversations{f' of the format {format}' if format else ' that are known'}: neither {WANTED[format]}. "
        f"{told}. {'Set format to auto, or name' if format else 'Name'} the columns of the prompt and the response in "
        "prompt_column and response_column, or write the rows as messages."
    )


@dataclass
class Conversation:
    """One row in its normal form."""

    messages: list[Row]
    prompt: str | None = None
    prompt_id: str | None = None
    tools: list[Row] = field(default_factory=list)
    left_out: set[str] = field(default_factory=set)
    """What of the row is not kept."""

    def as_row(self) -> Row:
        """The row of a batch, by `SCHEMA`."""
        plain = not self.tools and all(message.keys() <= {"role", "content"} for message in self.messages)
        return {
            "prompt": self.prompt,
            "messages": [{"content": _said(message), "role": message["role"]} for message in self.messages],
            "prompt_id": self.prompt_id,
            "extras": None
            if plain
            else json.dumps({"messages": self.messages, "tools": self.tools}, ensure_ascii=False),
            "left_out": sorted(name.encode(errors="replace").decode() for name in self.left_out) or None,
        }


def conversation(row: Row, columns: Columns) -> Conversation:
    """The conversation of a row.

    Raises:
        BadRow: the row does not hold one, or holds more than is known and may not.
    """
    if columns.messages is not None and row.get(columns.messages) is None:
        raise BadRow(f"{columns.messages} are missing", None)
    extra = {name for name, value in row.items() if name not in columns.known and value is not None}
    if extra and not columns.may_have_more:
        raise BadRow(f"has {UNKNOWN_KEYS}", ", ".join(name for name in row if name in extra))
    made = Conversation([], left_out=extra)
    if columns.format == "prompt_response":
        made.messages = _pair(row, columns, made.left_out)
    else:
        column = str(columns.messages)
        made.messages = _messages(column, row.get(column), made.left_out, columns.may_have_more)
        made.prompt = _text("prompt", row.get("prompt")) if columns.format == "messages" else None
    for name in SYSTEMS:
        if name in columns.others and (system := _content(row.get(name), name)) and system.strip():
            if made.messages and made.messages[0]["role"] == "system":
                raise BadRow(f"has a system message and a text in {name} beside it", system)
            made.messages.insert(0, {"role": "system", "content": system})
    named = row.get("prompt_id")
    made.prompt_id = _label(row.get("id") if named is None and "id" in columns.others else named)
    made.tools = _tools(row.get("tools"), row.get("functions"))
    _require_sense(made.messages)
    return made


def _pair(row: Row, columns: Columns, left_out: set[str]) -> list[Row]:
    """The messages of a prompt and a response; each may be a list of messages already."""
    messages = _earlier(row.get("history")) if "history" in columns.others else []
    for name, role in ((str(columns.prompt), "user"), (str(columns.response), "assistant")):
        value = row.get(name)
        if not isinstance(value, list):
            messages.append({"role": role, "content": _text(name, value)})
        elif role == "assistant":
            messages += _messages(name, value, left_out, columns.may_have_more)
        else:
            # Of a prompt that is a conversation nothing is learnt, as TRL has it.
            asked = _messages(name, value, left_out, columns.may_have_more)
            messages += [its | {"weight": 0} if its["role"] == "assistant" else its for its in asked]
        if role == "user":
            _add_material(messages, row, columns)
    return messages


def _add_material(messages: list[Row], row: Row, columns: Columns) -> None:
    """What the prompt is about follows its last words."""
    for name in MATERIALS:
        more = _text(name, row.get(name)) if name in columns.others else None
        asked = messages[-1] if messages and messages[-1]["role"] == "user" else None
        if more and more.strip():
            if asked is None or not asked["content"]:
                raise BadRow(f"has {name} beside a prompt that does not end with the user's words", more)
            asked["content"] += f"\n\n{more}"


def _earlier(history: object) -> list[Row]:
    """The messages of earlier turns, as LLaMA-Factory keeps them: pairs of what was asked and answered."""
    turns = _parsed(history, history) if isinstance(history, str) and history.strip() else history or []
    if not isinstance(turns, list) or not all(isinstance(turn, list) and len(turn) == 2 for turn in turns):
        raise BadRow("history is no list of pairs of a prompt and a response", history)
    roles = ("user", "assistant")
    return [
        {"role": role, "content": _text("history", text)}
        for turn in turns
        for role, text in zip(roles, turn, strict=True)
    ]


def _messages(column: str, value: object, left_out: set[str], may_have_more: bool) -> list[Row]:
    if value is None:
        raise BadRow(f"{column} are missing", None)
    if isinstance(value, str):
        value = _parsed(value, value)
    if not isinstance(value, list):
        raise BadRow(f"{column} is no list", value)
    return [_message(message, left_out, may_have_more) for message in value]


def _parsed(text: str, otherwise: object) -> object:
    """What a text holds as JSON, or `otherwise`."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return otherwise


def _message(message: object, left_out: set[str], may_have_more: bool) -> Row:
    if message is None:
        return {"role": None, "content": None}
    if not isinstance(message, dict):
        raise BadRow("a message is no object", message)
    given = {name: value for name, value in message.items() if value is not None}
    if "role" not in given and "from" in given:
        given = _from_sharegpt(given)
    role = _text("role", given.pop("role", None))
    role = ROLE_NAMES.get(role or "", role)
    made: Row = {"role": role, "content": _content(given.pop("content", None))}
    if role == "assistant" and (
        calls := given.pop("tool_calls", None) or _older_call(given.pop("function_call", None))
    ):
        made["tool_calls"] = _calls(calls)
        # Templates add the text to their own; what calls without a word has none.
        made["content"] = made["content"] or ""
    for name in ("tool_call_id", "name") if role == "tool" else ():
        if name in given:
            made[name] = _text(name, given.pop(name))
    if role == "assistant":
        for name in THOUGHTS:
            if name in given:
                made[name] = _text(name, given.pop(name))
        masks = [_learnt(name, given.pop(name)) for name in MASKS if name in given]
        if not all(masks):
            made["weight"] = 0
    else:
        # What nobody but the assistant says is learnt anyway.
        given = {name: value for name, value in given.items() if name not in MASKS or value != 0}
    if unknown := [name for name, value in given.items() if value not in ([], {}, "")]:
        if role is None or (made["content"] is None and "tool_calls" not in made):
            raise BadRow("a message has no role or no content", ", ".join(message))
        if not may_have_more:
            raise BadRow(f"a message has {UNKNOWN_KEYS}", ", ".join(unknown))
        left_out.update(f"messages.{name}" for name in unknown)
    return made


def _from_sharegpt(given: Row) -> Row:
    speaker, value = given.pop("from"), given.pop("value", None)
    if speaker == "function_call":
        call = _parsed(value, None) if isinstance(value, str) else None
        if not isinstance(call, dict):
            raise BadRow("a function_call is no JSON object", value)
        return {**given, "role": "assistant", "tool_calls": [{"type": "function", "function": call}]}
    return {**given, "role": SPEAKERS.get(speaker, speaker) if isinstance(speaker, str) else speaker, "content": value}


def _content(value: object, name: str = "content") -> str | None:
    """A message's text; of a list of parts, each on a line of its own."""
    if isinstance(value, list) and value and all(isinstance(part, dict) for part in value):
        for part in value:
            beside = [key for key, more in part.items() if key not in BESIDE_TEXT and more not in (None, [], {})]
            # A column of Parquet has the type of every part, as null where a part names none.
            kind = part.get("type") or "text"
            if kind not in TEXT_PARTS or not isinstance(part.get("text"), str) or beside:
                shown = kind if kind not in TEXT_PARTS else ", ".join(map(str, part))
                raise BadRow(f"{name} has a part that is no text", shown)
        value = "\n".join(part["text"] for part in value)
    return _text(name, value)


def _calls(value: object) -> list[Row]:
    calls = _objects("tool_calls", value)
    for call in calls:
        called = call.get("function", call)
        if not isinstance(called, dict) or not isinstance(called.get("name"), str):
            raise BadRow("a tool call has no name", json.dumps(call, ensure_ascii=False))
    return calls


def _older_call(call: object) -> list[Row] | None:
    """OpenAI's older form of a call, in its newer one."""
    return [{"type": "function", "function": call}] if call else None


def _tools(tools: object, functions: object) -> list[Row]:
    if functions and tools:
        raise BadRow("has tools and functions", ", ".join(map(str, (tools, functions))))
    if functions:
        return [{"type": "function", "function": its} for its in _objects("functions", functions)]
    return _objects("tools", tools) if tools else []


def _objects(name: str, value: object) -> list[Row]:
    value = _parsed(value, value) if isinstance(value, str) else value
    if not isinstance(value, list) or not all(isinstance(inner, dict) for inner in value):
        raise BadRow(f"{name} is no list of objects", value)
    try:
        _text(name, json.dumps(value, ensure_ascii=False, allow_nan=False))
    except ValueError as error:
        raise BadRow(f"{name} has a number that JSON has not", str(value)) from error
    except TypeError as error:
        raise BadRow(f"{name} has a value that is neither text, number nor truth", str(value)) from error
    return value


def without_nulls(value: Any) -> Any:
    """`value` without nulls: in a columnar file every row has every key."""
    if isinstance(value, dict):
        return {name: without_nulls(inner) for name, inner in value.items() if inner is not None}
    return [without_nulls(inner) for inner in value] if isinstance(value, list) else value


def _learnt(name: str, value: object) -> bool:
    if value not in (0, 1) or (name == "weight" and isinstance(value, bool)):
        raise BadRow(f"{name} is neither 0 nor 1" if name == "weight" else f"{name} is neither true nor false", value)
    return value == 1


def _label(value: object) -> str | None:
    """An id: text, or a number."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    text = _text("prompt_id", value)
    return text if text and text.strip() else None


def _text(name: str, value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise BadRow(f"{name} is no text", value)
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise BadRow(
            f"{name} has half a surrogate pair, which is no character", value[max(0, error.start - 20) :]
        ) from error
    return value


def _require_sense(messages: list[Row]) -> None:
    """What roles and texts alone do not tell."""
    called: set[str] = set()
    for message in messages:
        if message["role"] == "tool" and called and message.get("tool_call_id", next(iter(called))) not in called:
            raise BadRow("a tool answers a call that was not made", message["tool_call_id"])
        called |= {str(call["id"]) for call in message.get("tool_calls", ()) if "id" in call}
    answers = [message for message in messages if message["role"] == "assistant"]
    if answers and all(message.get("weight") == 0 for message in answers):
        raise BadRow("every answer has weight 0, so there is nothing to learn", len(answers))


def _said(message: Row) -> str | None:
    """A message's text with what it calls: two conversations that call differently are not the same."""
    text: str | None = message["content"]
    if "tool_calls" not in message:
        return text
    calls = [call.get("function", call) for call in message["tool_calls"]]
    return f"{text or ''}\n{json.dumps(calls, sort_keys=True, ensure_ascii=False)}".strip()
