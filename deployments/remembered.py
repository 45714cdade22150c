"""What was deployed last, remembered on the server: what a person changed since stays, and what was left alone follows the files.

Of each field two digests are kept in Prefect's variable `finetune_deployed`: of the value in the files and of what the server then
said. A field that the server tells otherwise today was changed by a person, in the UI or by the API.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

VARIABLE = "finetune_deployed"
MOST_CHARACTERS = 300
"""Of a value in a remark: a schedule with all its fields, and whether it is active, fits."""


@dataclass
class Settled:
    """What is to become of a thing's fields."""

    wanted: dict[str, Any] = field(default_factory=dict)
    """By field, what the files say and the server does not have yet."""
    kept: dict[str, Any] = field(default_factory=dict)
    """By field, what a person has made of it."""

    def remark(self) -> str:
        """What a person changed, in words; empty if nothing."""
        return "; ".join(f"{name} stays as it was changed: {_brief(value)}" for name, value in self.kept.items())


class Remembered:
    """The memory of a server. `reset`: what a person changed is told apart no longer, and becomes what the files say."""

    def __init__(self, *, reset: bool = False) -> None:
        from prefect.variables import Variable

        self.reset = reset
        self._digests: dict[str, dict[str, list[str]]] = Variable.get(VARIABLE, default={}) or {}

    def settle(
        self, thing: str, files: Mapping[str, Any], server: Mapping[str, Any], always_theirs: Iterable[str] = ()
    ) -> Settled:
        """What is to become of the fields of `thing`, which is there.

        Args:
            files: what the files say; None where they say nothing of what the server has.
            server: what the server says now.
            always_theirs: fields that stay as they are where nothing is remembered of them.
        """
        settled, known = Settled(), self._digests.get(thing, {})
        for name, value in files.items():
            by_file, by_server = known.get(name, ("", ""))
            unknown_theirs = name in always_theirs or value is None
            theirs = _digest(server.get(name)) != by_server if name in known else unknown_theirs
            if theirs and not self.reset:
                if server.get(name) != value:
                    settled.kept[name] = server.get(name)
            elif self.reset or _digest(value) != by_file:
                settled.wanted[name] = value
        return settled

    def knows(self, thing: str) -> bool:
        """Whether it was deployed before: if it is missing, a person has deleted it. Never with `reset`."""
        return thing in self._digests and not self.reset

    def note(self, thing: str, files: Mapping[str, Any], server: Mapping[str, Any], kept: Iterable[str] = ()) -> None:
        """Remembers the fields of `thing` as they have just been deployed, but for those that a person has changed (`kept`)."""
        known = self._digests.get(thing, {})
        now = {name: [_digest(value), _digest(server.get(name))] for name, value in files.items() if name not in kept}
        self._digests[thing] = {**{name: known[name] for name in kept if name in known}, **now}

    def save(self) -> None:
        """Writes the memory to the server."""
        from prefect.variables import Variable

        Variable.set(VARIABLE, self._digests, overwrite=True)


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _brief(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]} ..."
