"""The book of faults: the rules in force, what each has hit, and the effect that the current call is under.

Behaviour asks `under(kind)` where it can go wrong. It sees a rule's effect only while it works on the call that the rule hit, and
in what that call started.
"""

from __future__ import annotations

import logging
import random
import uuid
from contextvars import ContextVar
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, TypeVar

from emulator.faults.rules import Effect, Rule
from emulator.store import Document, Store

log = logging.getLogger("emulator.faults")

TYPE = "fault"

E = TypeVar("E")


@dataclass(frozen=True)
class Hit:
    """A call was hit: by which rule, with what effect."""

    rule: str
    effect: Effect


_current: ContextVar[Hit | None] = ContextVar("fault", default=None)


def under(kind: type[E]) -> E | None:
    """The effect of that kind which the current call is under, or None."""
    hit = _current.get()
    return hit.effect if hit is not None and isinstance(hit.effect, kind) else None


def rule_under(kind: type[E]) -> str | None:
    """The id of the rule whose effect `under` gives: for what lasts until that rule is cleared."""
    hit = _current.get()
    return hit.rule if hit is not None and isinstance(hit.effect, kind) else None


def is_in_force(store: Store, rule: str | None) -> bool:
    """Whether the rule of that id has not been cleared."""
    return rule is not None and store.get(TYPE, rule) is not None


class Faults:
    """The rules, kept in the store so that they outlive a restart. The oldest rule that matches a call decides."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, rule: Rule) -> str:
        """Puts a rule in force; returns its id."""
        id = uuid.uuid4().hex[:8]
        self._store.put(TYPE, id, {"id": id, "rule": rule.model_dump(), "seen": 0, "hits": 0})
        return id

    def all(self) -> list[Document]:
        """Every rule: id, match, effect, the calls seen and hit."""
        return [_shown(document) for document in self._store.list(TYPE)]

    def clear(self, id: str | None = None) -> int:
        """Takes one rule, or all, out of force; returns how many."""
        ids = [document["id"] for document in self._store.list(TYPE) if id in (None, document["id"])]
        for found in ids:
            self._store.delete(TYPE, found)
        return len(ids)

    def meet(self, method: str, host: str, path: str, operation: str, comp: str = "") -> Effect | None:
        """Counts the call and puts it under the effect of the rule that hits it, if one does."""
        _current.set(None)
        hit: Hit | None = None
        for document in self._store.list(TYPE):
            rule = Rule.model_validate(document["rule"])
            if not _matches(rule, method, host, path, operation, comp):
                continue
            counts = [document]
            if rule.match.each_path:
                paths = document.setdefault("paths", {})
                counts.append(paths.setdefault(f"{method} {host}{path}?{comp}", {"seen": 0, "hits": 0}))
            for count in counts:
                count["seen"] += 1
            if hit is None and _hits(rule, document["seen"], counts[-1]):
                for count in counts:
                    count["hits"] += 1
                hit = Hit(document["id"], rule.effect)
                log.warning("rule %s (%s) hit %s %s%s", hit.rule, hit.effect.kind, method, host, path)
            self._store.put(TYPE, document["id"], document)
        _current.set(hit)
        return None if hit is None else hit.effect


def _matches(rule: Rule, method: str, host: str, path: str, operation: str, comp: str) -> bool:
    wanted = rule.match
    return (
        wanted.method.upper() in ("*", method)
        and fnmatchcase((host + path).lower(), wanted.path.lower())
        and fnmatchcase(operation.lower(), wanted.operation.lower())
        and fnmatchcase(comp.lower(), wanted.comp.lower())
    )


def _hits(rule: Rule, seen: int, counted: Document) -> bool:
    """Whether the call, the rule's number `seen`, is hit; `counted`: the calls seen and hit that count with it."""
    match = rule.match
    if counted["seen"] < match.nth or (match.times and counted["hits"] >= match.times):
        return False
    return match.probability >= 1 or random.Random(f"{rule.seed}:{seen}").random() < match.probability


def _shown(document: Document) -> dict[str, Any]:
    rule = document["rule"]
    return {
        "id": document["id"],
        "match": rule["match"],
        "effect": rule["effect"],
        "seen": document["seen"],
        "hits": document["hits"],
    }
