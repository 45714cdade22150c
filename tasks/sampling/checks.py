"""What a conversation must be. Every check holds against nulls at every level."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from tasks.sampling.errors import Finding, excerpt, too_long
from tasks.sampling.parameters import DatasetParameters
from tasks.sampling.reading import Batch
from tasks.sampling.sameness import ROLES, Seen

TURNS = [
    ">system", ">user", "system>user", "assistant>user", "user>assistant", "tool>assistant", "assistant>tool", "tool>tool",
]  # fmt: skip
"""Who may speak behind whom; behind nobody is the first."""

SYSTEM, USER = ROLES.index("system"), ROLES.index("user")
UNKNOWN, NOBODY = len(ROLES), len(ROLES) + 1
IN_TURN = np.array([[f"{before}>{role}" in TURNS for role in [*ROLES, None]] for before in [*ROLES, None, ""]])
"""`TURNS` by the places of two roles."""

TOKENS = "tokens"

Row = dict[str, Any]


@dataclass(frozen=True)
class Rule:
    """What breaks it, in words and as an expression, and what of the row shows that."""

    text: str
    broken: pl.Expr
    shown: Callable[[Row], object]


class Checker:
    """Holds the rows of one split to its rules."""

    def __init__(
        self,
        params: DatasetParameters,
        split: str,
        purpose: str,
        seen: Seen,
        count_tokens: Callable[[pl.DataFrame], pl.Series] | None,
    ) -> None:
        """Args:
        params: hold the rules.
        purpose: what the split is for.
        seen: the conversations that were sampled before, of this split and of others.
        count_tokens: needed where tokens are bounded.
        """
        self._count_tokens = count_tokens
        self._purpose = purpose
        self._seen = seen
        self._rules = _rules(params, split)
        places = enumerate(self._rules)
        self._broken = pl.coalesce(pl.when(rule.broken.fill_null(True)).then(place) for place, rule in places)

    def check(self, batch: Batch, file: str) -> tuple[pl.DataFrame, list[Finding]]:
        """Splits a batch into what may be written and what breaks a rule.

        Returns:
            The good rows with prompt and prompt_id made where they are missing, and with columns `turns` and `characters`;
            and for each bad row its first broken rule.
        """
        findings = [finding for _, finding in batch.unreadable]
        content = pl.Series("fingerprint", batch.fingerprints, pl.UInt64)
        frame = batch.frame.hstack([*_conversations(batch.frame["messages"]), content])
        if self._count_tokens is not None:
            frame = frame.with_columns(self._count_tokens(frame).alias(TOKENS))
        broken = frame.select(self._broken).to_series()
        numbers = pl.Series(batch.numbers)
        if broken.null_count() < len(frame):
            for number, place, row in zip(batch.numbers, broken, frame.iter_rows(named=True), strict=True):
                if place is not None:
                    rule = self._rules[place]
                    findings.append(Finding(file, int(number), rule.text, excerpt(rule.shown(row))))
            frame, numbers = frame.filter(broken.is_null()), numbers.filter(broken.is_null())
        before = self._seen.meet(frame["fingerprint"].to_numpy(), self._purpose, file, numbers.to_numpy())
        if self._purpose == "score":
            # Nothing is measured with the scoring rows, so they may be the test's, too.
            before = [None if place and place.purpose == "test" else place for place in before]
        if any(before):
            for number, place, label in zip(numbers, before, frame["prompt_id"], strict=True):
                if place is not None:
                    text = f"the conversation is in {place} too"
                    findings.append(Finding(file, int(number), text, excerpt(label)))
            frame = frame.filter(pl.Series([place is None for place in before], dtype=pl.Boolean))
        return _completed(frame), sorted(findings, key=lambda finding: finding.row)


_OF_A_MESSAGE = [
    pl.col("role").cast(pl.Enum(list(ROLES)), strict=False).to_physical().fill_null(UNKNOWN),
    (~pl.col("content").str.contains(r"\S")).fill_null(True).alias("blank"),
    pl.col("content").str.len_chars().fill_null(0).cast(pl.Int64).alias("characters"),
]


def _conversations(rows: pl.Series) -> pl.DataFrame:
    """What the messages of each row say together. A row without messages counts as one message of nulls."""
    messages, cuts = _one_below_the_other(rows)
    starts, ends = cuts[:-1], cuts[1:]
    roles, blank, characters = (its.to_numpy() for its in messages.select(_OF_A_MESSAGE))
    before = np.roll(roles, 1)
    before[starts] = NOBODY
    places = np.arange(len(roles))
    first_of_talk, first_of_user = (
        np.minimum.reduceat(np.where(its, places, len(places)), starts) for its in (roles != SYSTEM, roles == USER)
    )
    return pl.DataFrame(
        {
            "turns": ends - starts,
            "known": np.logical_and.reduceat(roles != UNKNOWN, starts),
            "blank": np.logical_or.reduceat(blank, starts),
            "in_turn": np.logical_and.reduceat(IN_TURN[before, roles], starts),
            "asks_first": np.append(roles, NOBODY)[first_of_talk] == USER,
            "last_role": roles[ends - 1],
            "first_asked": messages["content"].extend_constant(None, 1).gather(first_of_user),
            "characters": np.add.reduceat(characters, starts),
        }
    )


def _one_below_the_other(rows: pl.Series) -> tuple[pl.DataFrame, np.ndarray]:
    """All messages, and the place of each row's first with the number of all behind them."""
    lists: Any = rows.to_arrow(compat_level=pl.CompatLevel.newest())
    counts = lists.value_lengths().fill_null(0).to_numpy()
    # Where every row has some they lie so already.
    lie_so = len(counts) and counts.all()
    said = pl.Series(lists.flatten()) if lie_so else rows.explode(empty_as_null=True, keep_nulls=True)
    return said.struct.unnest(), np.concatenate([[0], np.cumsum(counts.clip(min=1), dtype=np.int64)])


_UNNAMED = pl.col("prompt_id").str.strip_chars().fill_null("") == ""


def _completed(frame: pl.DataFrame) -> pl.DataFrame:
    """The rows with a prompt and a prompt_id each: the first words of the user, and the content's fingerprint."""
    unnamed = frame.select(_UNNAMED).to_series()
    if unnamed.any():
        made = pl.Series("prompt_id", [f"{its:016x}" for its in frame["fingerprint"]], pl.String)
        frame = frame.with_columns(made.zip_with(unnamed, frame["prompt_id"]))
    if frame["prompt"].null_count():
        frame = frame.with_columns(pl.coalesce("prompt", "first_asked").alias("prompt"))
    return frame


def _rules(params: DatasetParameters, split: str) -> list[Rule]:
    """In the order they are applied: later ones may rely on earlier ones."""
    characters, prompt = pl.col("characters"), pl.col("prompt")
    ends_with = params.ends_with(split)
    every = [
        Rule("messages are missing", pl.col("messages").list.len() == 0, lambda row: row["messages"]),
        Rule(f"a message's role is none of {', '.join(ROLES)}", ~pl.col("known"), _roles),
        Rule("a message's content is blank", pl.col("blank"), _blank),
        Rule("the first message is not the user's", ~pl.col("asks_first"), _roles),
        Rule("the roles do not take turns", ~pl.col("in_turn"), _roles),
    ]
    if ends_with != "any":
        text = f"the last message is not the {ends_with}'s"
        every.append(Rule(text, pl.col("last_role") != ROLES.index(ends_with), _roles))
    every += [
        Rule("prompt is not the first message", (prompt != pl.col("first_asked")) & prompt.is_not_null(), _prompt),
        Rule(
            f"fewer than {params.min_characters} characters (min_characters)",
            characters < params.min_characters,
            lambda row: row["characters"],
        ),
        Rule(too_long(params.max_characters), characters > params.max_characters, lambda row: row["characters"]),
    ]
    if params.max_tokens is not None:
        text = f"more than {params.max_tokens} tokens (max_tokens)"
        every.append(Rule(text, pl.col(TOKENS) > params.max_tokens, lambda row: row[TOKENS]))
    return every


def _roles(row: Row) -> object:
    return ", ".join((message or {}).get("role") or "null" for message in row["messages"])


def _blank(row: Row) -> object:
    contents: Sequence[str | None] = [message["content"] for message in row["messages"]]
    return next((content for content in contents if content is None or not content.strip()), None)


def _prompt(row: Row) -> object:
    return row["prompt"]
