"""The distinct Azure calls of a run, read from the emulator's own record."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

# What differs from run to run: a name derived from a flow run, a storage account, a GUID, a hash. Each becomes as many
# question marks, so that the glob of an endpoint does not also match the deployments under it.
_OF_ONE_RUN = re.compile(
    r"ft-[a-z2-7]{26}(?:-r\d+)?|chaos-[0-9a-f]{8}|^emulator[0-9a-f]{14}(?=\.blob)"
    r"|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
    r"|(?<=/)[a-z2-7]{26}(?=/|$)|(?<=/)[0-9a-f]{64}(?=/|$)|(?<=/)[0-9a-f]{20}(?=/|$)"
)
# One call for every file or table of the sample, since they are uploaded and registered by the same lines of code.
_OF_ONE_SPLIT = ((re.compile(r"(?<=/data/)[^/]+(?=/versions)"), "*"), (re.compile(r"[^/]+\.jsonl$"), "*.jsonl"))


@dataclass(frozen=True, order=True)
class Call:
    """A call, and which of those that its glob matches it is (from 1)."""

    method: str
    path: str
    """A glob over host and path, as the emulator's rules take it."""
    nth: int = 1

    @property
    def match(self) -> dict[str, Any]:
        """What a rule needs to meet it."""
        return {"method": self.method, "path": self.path, "nth": self.nth}

    def __str__(self) -> str:
        shown = re.sub(r"\?{6,}", "{}", self.path)
        shown = re.sub(
            r"/subscriptions/\{\}(/resourceGroups/[^/]+)?/providers/Microsoft\.MachineLearningServices", "", shown
        )
        return f"{self.method} {shown}" + (f" ({self.nth})" if self.nth > 1 else "")


def distinct(record: Iterable[Mapping[str, Any]]) -> list[Call]:
    """The distinct calls of a record, in the order of their first appearance."""
    found: dict[tuple[str, str], Call] = {}
    earlier: list[tuple[str, str]] = []
    for call in record:
        method, whole = call["method"], call["host"] + call["path"]
        path = whole.partition("?")[0]
        key = (method, generalised(path) + whole[len(path) :])
        if key not in found:
            glob = generalised(path)
            before = sum(method == other and fnmatchcase(seen, glob.lower()) for other, seen in earlier)
            found[key] = Call(method, glob, before + 1)
        earlier.append((method, path.lower()))
    return list(found.values())


def generalised(path: str) -> str:
    """`path` as a glob that the same call of another run matches."""
    for pattern, glob in _OF_ONE_SPLIT:
        path = pattern.sub(glob, path)
    return _OF_ONE_RUN.sub(lambda name: "?" * len(name[0]), path)
