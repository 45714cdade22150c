"""What a row of a chat dataset must be. Every check holds against nulls at every level."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from tasks.sampling.errors import Finding, excerpt
from tasks.sampling.leakage import TrainingRows
from tasks.sampling.parameters import EndsWith
from tasks.sampling.reading import Batch

ROLES = ["user", "assistant"]
REPEATED, LEAKED, HELD_OUT, TOKENS = "repeated", "leaked", "held_out", "tokens"

Row = dict[str, Any]


@dataclass(frozen=True)
class Rules:
    """The rules of one split."""

    ends_with: EndsWith
    has_prompt: bool
    min_characters: int
    max_characters: int
    max_tokens: int | None = None
    count_tokens: Callable[[pl.DataFrame], pl.Series] | None = None


@dataclass(frozen=True)
class Rule:
    """What breaks it, in words and as an expression, and what of the row shows that."""

    text: str
    broken: pl.Expr
    shown: Callable[[Row], object]


class Checker:
    """Holds the rows of one split to its rules."""

    def __init__(self, rules: Rules, training: TrainingRows | None = None) -> None:
        """Args:
        rules: the split's.
        training: rows that must not be in the split.
        """
        self._count_tokens = rules.count_tokens
        self._training = training
        self._rules = _rules(rules)
        places = enumerate(self._rules)
        self._broken = pl.coalesce(pl.when(rule.broken.fill_null(True)).then(place) for place, rule in places)

    def check(self, batch: Batch) -> tuple[pl.DataFrame, list[Finding]]:
        """Splits a batch into what may be written and what breaks a rule.

        Its frame has columns that only the whole split can tell: `repeated` and `leaked`.

        Returns:
            The good rows with columns `turns`, `characters` and `fingerprint`, and for each bad row its first broken rule.
        """
        frame = batch.frame.hstack(_conversations(batch.frame))
        if self._training is not None:
            leaked = pl.Series(self._training.have_fingerprints(frame["fingerprint"].to_numpy()))
            frame = frame.with_columns(pl.col(LEAKED) | leaked)
        if self._count_tokens is not None:
            frame = frame.with_columns(self._count_tokens(frame).alias(TOKENS))
        broken = frame.select(self._broken).to_series()
        if broken.null_count() == len(frame):
            return frame, batch.unreadable
        findings = list(batch.unreadable)
        for number, place, row in zip(batch.numbers, broken, frame.iter_rows(named=True), strict=True):
            if place is not None:
                rule = self._rules[place]
                findings.append(Finding(batch.file, int(number), rule.text, excerpt(rule.shown(row))))
        return frame.filter(broken.is_null()), sorted(findings, key=lambda finding: finding.row)


_content, _role, _row = pl.col("content"), pl.col("role"), pl.col("row")

_OF_A_MESSAGE = [
    _role.is_in(ROLES).fill_null(False).alias("known"),
    (_content.str.strip_chars() == "").fill_null(True).alias("blank"),
    ((_role == _role.shift(1)) & (_row == _row.shift(1))).fill_null(False).alias("repeats"),
    _content.str.len_chars().fill_null(0).alias("characters"),
    _content.hash().alias("fingerprint"),
]

_OF_A_CONVERSATION = [
    pl.len().alias("turns"),
    pl.col("known").all(),
    pl.col("blank").any(),
    pl.col("repeats").any(),
    _role.first().alias("first_role"),
    _role.last().alias("last_role"),
    _content.first().alias("first_content"),
    pl.col("characters").sum(),
    pl.col("fingerprint").sum(),
]


def _conversations(frame: pl.DataFrame) -> pl.DataFrame:
    """What the messages of each row say together. A row without messages counts as one message of nulls."""
    return (
        frame.lazy()
        .select(pl.int_range(pl.len()).alias("row"), "messages")
        .explode("messages", empty_as_null=True, keep_nulls=True)
        .unnest("messages")
        .with_columns(_OF_A_MESSAGE)
        .group_by("row", maintain_order=True)
        .agg(_OF_A_CONVERSATION)
        .drop("row")
        .collect()
    )


def _rules(rules: Rules) -> list[Rule]:
    """In the order they are applied: later ones may rely on earlier ones."""
    characters = pl.col("characters")
    every = [
        Rule("prompt_id is missing", pl.col("prompt_id").str.strip_chars() == "", lambda row: row["prompt_id"]),
        Rule("messages are missing", pl.col("messages").list.len() == 0, lambda row: row["messages"]),
        Rule("a message's role is neither user nor assistant", ~pl.col("known"), _roles),
        Rule("a message's content is blank", pl.col("blank"), _blank),
        Rule("the first message is not the user's", pl.col("first_role") != "user", _roles),
        Rule("user and assistant do not take turns", pl.col("repeats"), _roles),
    ]
    if rules.ends_with != "any":
        text = f"the last message is not the {rules.ends_with}'s"
        every.append(Rule(text, pl.col("last_role") != rules.ends_with, _roles))
    if rules.has_prompt:
        every.append(
            Rule("prompt is not the first message", pl.col("prompt").ne_missing(pl.col("first_content")), _prompt)
        )
    every += [
        Rule(
            f"fewer than {rules.min_characters} characters",
            characters < rules.min_characters,
            lambda row: row["characters"],
        ),
        Rule(
            f"more than {rules.max_characters} characters",
            characters > rules.max_characters,
            lambda row: row["characters"],
        ),
        Rule("prompt_id is in the sample twice", pl.col(REPEATED), lambda row: row["prompt_id"]),
        Rule("the conversation is in the training sample too", pl.col(LEAKED), lambda row: row["prompt_id"]),
    ]
    if rules.count_tokens is not None:
        every.append(
            Rule(f"more than {rules.max_tokens} tokens", pl.col(TOKENS) > rules.max_tokens, lambda row: row[TOKENS])
        )
    return every


def _roles(row: Row) -> object:
    return ", ".join((message or {}).get("role") or "null" for message in row["messages"])


def _blank(row: Row) -> object:
    contents: Sequence[str | None] = [message["content"] for message in row["messages"]]
    return next((content for content in contents if content is None or not content.strip()), None)


def _prompt(row: Row) -> object:
    return row["prompt"]
