"""The distinct Azure calls of a run, read from the emulator's own record."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from tests.resilience.digest import MODULES

Record = Sequence[Mapping[str, Any]]
Key = tuple[str, str, str]
"""Method, glob and comp."""
Stages = Mapping[Key, tuple[str, ...]]
"""Those that may make each call."""

MOST_OCCASIONS = 12
"""What a run asks more often than this it polls."""
OF_A_POLL = (1, 2, 5)
"""The occasions of a poll that stand for the rest; how many there are depends on how fast the machine is."""

EVERY_STAGE = tuple(MODULES)

# What differs from run to run: a name derived from a flow run, a storage account, a GUID, a second, a hash. Each becomes as many
# question marks, so that the glob of an endpoint does not also match the deployments under it.
_OF_ONE_RUN = re.compile(
    r"ft-[a-z2-7]{26}(?:-r\d+)?|chaos-[0-9a-f]{8}|^emulator[0-9a-f]{14}(?=\.blob)"
    r"|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|(?<=/versions/)[0-9]{10}(?=/|$)"
    r"|(?<=/)[a-z2-7]{26}(?=/|$)|(?<=/)[0-9a-f]{64}(?=/|$)|(?<=/)[0-9a-f]{20}(?=/|$)"
)
# The files and tables of the sample go by the same lines of code: they are occasions of one call.
_OF_ONE_SPLIT = ((re.compile(r"(?<=/data/)[^/]+(?=/versions)"), "*"), (re.compile(r"[^/]+\.jsonl$"), "*.jsonl"))


@dataclass(frozen=True, order=True)
class Call:
    """A call, and which of those that its method, glob and comp match it is (from 1): what a rule needs to meet it."""

    method: str
    path: str
    """A glob over host and path, as the emulator's rules take it."""
    comp: str = ""
    """The query's comp, which tells blob operations on one path apart."""
    nth: int = 1

    @property
    def key(self) -> Key:
        """What all occasions of the call share."""
        return self.method, self.path, self.comp

    @property
    def writes(self) -> bool:
        """Whether it changes something, or may."""
        return self.method not in ("GET", "HEAD")

    def __str__(self) -> str:
        shown = re.sub(r"\?{6,}", lambda name: "{id}" if len(name[0]) == 36 else "{}", self.path)  # as a GUID
        shown = re.sub(
            r"/subscriptions/\{id\}(/resourceGroups/[^/]+)?/providers/Microsoft\.MachineLearningServices", "", shown
        )
        query = f"?comp={self.comp}" if self.comp else ""
        return f"{self.method} {shown}{query}" + (f" ({self.nth})" if self.nth > 1 else "")


def occasions(record: Record) -> list[Call]:
    """Every call of a record, in its order."""
    found: list[Call] = []
    earlier: list[Key] = []
    for call in record:
        path, _, query = (call["host"] + call["path"]).partition("?")
        method, comp, glob = call["method"], query.removeprefix("comp="), generalised(path)
        before = sum((method, comp) == (m, c) and fnmatchcase(p, glob.lower()) for m, c, p in earlier)
        found.append(Call(method, glob, comp, before + 1))
        earlier.append((method, comp, path.lower()))
    return found


def attributed(record: Record, times: Sequence[tuple[str, float, float]]) -> Record:
    """The calls, each with the stages that ran when it was made, by their `times`: name, beginning and end. One of them has made
    it, or the flow itself, or the job; where none ran, any may have."""

    at = [{name for name, began, ended in times if began <= call["at"] <= ended} for call in record]
    return [{**call, "stages": stages or {*EVERY_STAGE}} for call, stages in zip(record, at, strict=True)]


def stages_of(*records: Record) -> Stages:
    """Of each call the stages that may make it: of all its occasions in all the records, since how many come before the
    nth depends on how fast the machine is."""
    found: dict[Key, set[str]] = {}
    for record in records:
        for call, made in zip(occasions(record), record, strict=True):
            found.setdefault(call.key, set()).update(made["stages"])
    return {key: tuple(name for name in EVERY_STAGE if name in stages) for key, stages in found.items()}


def distinct(*records: Record) -> list[Call]:
    """The calls that happen in all of the records, with all occasions of each."""
    first, *others = [occasions(record) for record in records]
    common = set(first).intersection(*others)
    return [call for call in first if call in common]


def thinned(calls: Iterable[Call]) -> list[Call]:
    """`calls` without most of the occasions of what is polled."""
    calls = list(calls)
    most = _most(calls)
    return [call for call in calls if most[call.key] <= MOST_OCCASIONS or call.nth in OF_A_POLL]


def beyond(calls: Sequence[Call], known: Sequence[Call]) -> list[Call]:
    """What a run that makes `calls` does more than one that makes `known`: calls that the other does not make at all,
    further writes, and of the reads that are made more often those that stand for a poll."""
    times, most = _most(known), _most(calls)

    def is_new(call: Call) -> bool:
        known_times = times.get(call.key, 0)
        if call.writes or not known_times:
            return call.nth > known_times
        return most[call.key] > known_times and call.nth in OF_A_POLL

    return thinned(call for call in calls if is_new(call))


def from_first_and_last(calls: Sequence[Call]) -> list[Call]:
    """All writes; of each read its first occasion and its last."""
    most = _most(calls)
    return [call for call in calls if call.writes or call.nth in (1, most[call.key])]


def _most(calls: Sequence[Call]) -> dict[Key, int]:
    most: dict[Key, int] = {}
    for call in calls:
        most[call.key] = max(call.nth, most.get(call.key, 0))
    return most


def generalised(path: str) -> str:
    """`path` as a glob that the same call of another run matches."""
    for pattern, glob in _OF_ONE_SPLIT:
        path = pattern.sub(glob, path)
    return _OF_ONE_RUN.sub(lambda name: "?" * len(name[0]), path)
