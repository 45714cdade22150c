"""Facts about a published model, in every spelling that publishers and registries have for them."""

from __future__ import annotations

import ast
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import date, datetime
from typing import Any, TypeVar

T = TypeVar("T")


class Facts:
    """All that is said of a model, in any of the places where it may be said.

    A name is the same in any spelling: publishers write `a-b`, `a_b` and `aB`. What a group of `systemMetadata` holds is found by
    its own name, as if it lay beside the others.
    """

    def __init__(self, *places: object) -> None:
        """`places`: mappings, the one to be believed first."""
        self._said: defaultdict[str, list[Any]] = defaultdict(list)
        self.unreadable: list[str] = []
        """What is said in no form that is known, each with its name."""
        for place in places:
            if isinstance(place, dict):
                self._take(place)

    def says(self, name: str) -> bool:
        """Whether `name` is anywhere, readable or not."""
        return _key(name) in self._said

    def every(self, read: Callable[[Any], T], *names: str) -> Iterator[T]:
        """What `read` makes of all that has one of `names`; what it cannot read (ValueError) is `unreadable` from then on."""
        for name in names:
            for value in self._said.get(_key(name), []):
                try:
                    yield read(value)
                except (ValueError, OverflowError):
                    self._note(name, value)

    def read(self, read: Callable[[Any], T], *names: str) -> T | None:
        """The first of `every`; None: unknown."""
        return next(self.every(read, *names), None)

    def _take(self, place: dict[Any, Any]) -> None:
        for name, value in place.items():
            if _key(str(name)) in _GROUPS:
                try:
                    self._take(mapping(value))
                except ValueError:
                    self._note(str(name), value)
            else:
                self._said[_key(str(name))].append(value)

    def _note(self, name: str, value: object) -> None:
        text = json.dumps(value, default=str)
        self.unreadable.append(f"{name} is {text if len(text) <= 80 else f'{text[:80]}…'}")


def words(value: object) -> list[str]:
    """A list of names that is one already, or is written as a literal or with commas.

    Raises:
        ValueError: it is none, or empty.
    """
    if isinstance(value, str):
        value = (
            _literal(value) if value.lstrip().startswith(("[", "(")) else [word.strip() for word in value.split(",")]
        )
    if not isinstance(value, list | tuple) or not value:
        raise ValueError(value)
    if not all(isinstance(word, str) and re.fullmatch(r"[\w.-]+", word) for word in value):
        raise ValueError(value)
    return list(value)


def day(value: object) -> date:
    """A date as it is published: of a time, the date that it is written with.

    Raises:
        ValueError: it is none, or one before there were models: .NET writes the year 1 for none.
    """
    if not isinstance(value, str) or (found := datetime.fromisoformat(value.strip())).year < 2000:
        raise ValueError(value)
    return found.date()


def flag(value: object) -> bool:
    """True or false, or the word for it.

    Raises:
        ValueError: it is neither.
    """
    match str(value).strip().lower():
        case "true":
            return True
        case "false":
            return False
    raise ValueError(value)


def mapping(value: object) -> dict[str, Any]:
    """A mapping that is one already, or is written as a Python literal or as JSON.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, str):
        value = _literal(value)
    if not isinstance(value, dict):
        raise ValueError(value)
    return {str(name): its for name, its in value.items()}


def scalars(value: object) -> dict[str, str | int | float | bool]:
    """A `mapping` of strings, numbers and booleans, as they are written.

    Raises:
        ValueError: it is none, or has anything else in it.
    """
    found = mapping(value)
    if not all(isinstance(its, str | int | float) for its in found.values()):
        raise ValueError(value)
    return found


_GROUPS = frozenset({"tasks", "supportedcomputes", "sku", "deprecation"})
"""What `systemMetadata` is divided into."""


def _key(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _literal(text: str) -> object:
    """What a Python literal or JSON says.

    Raises:
        ValueError: it is neither.
    """
    for parse in (ast.literal_eval, json.loads):
        try:
            return parse(text.strip())
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            continue
    raise ValueError(text)
