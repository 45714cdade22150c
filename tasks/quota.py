"""What Azure's quota messages and usage lists say, in numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Shortage:
    """A quota that does not suffice. `have` is what is free of it; None where Azure does not say."""

    need: int | None
    have: int | None
    what: str

    def __str__(self) -> str:
        if self.need is None:
            return f"the quota of {self.what} is used up"
        return (
            f"need {self.need} {self.what}, have {self.have}"
            if self.have is not None
            else f"need {self.need} {self.what}"
        )


_TEXTS = (
    # A cluster is asked for (HTTP 400 on PUT computes).
    re.compile(
        r"has an? (?P<family>[\w .-]+?) family vCPU quota of (?P<limit>\d+) and cannot accommodate for at least "
        r"(?P<nodes>\d+) requested managed compute nodes? which maps to (?P<need>\d+) vCPUs",
        re.IGNORECASE,
    ),
    # A deployment is asked for (HTTP 400 on PUT deployments), troubleshooting page #error-outofquota.
    re.compile(
        r"Not enough quota available for (?P<sku>\S+).*?Current usage/limit: (?P<used>\d+)/(?P<limit>\d+)\. "
        r"Additional needed: (?P<need>\d+)",
        re.IGNORECASE | re.DOTALL,
    ),
    re.compile(
        r"(?P<what>Endpoint|Deployment) Quota reached.*?usage/limit: (?P<used>\d+)/(?P<limit>\d+)",
        re.IGNORECASE | re.DOTALL,
    ),
)  # fmt: skip


def shortage_in(message: str) -> Shortage | None:
    """The shortage that one of Azure's error messages tells of; None if it names none."""
    for pattern in _TEXTS:
        if found := pattern.search(message):
            parts = found.groupdict()
            free = int(parts["limit"]) - int(parts.get("used") or 0)
            if family := parts.get("family"):
                return Shortage(int(parts["need"]), free, f"vCPUs of family {family}")
            if sku := parts.get("sku"):
                return Shortage(int(parts["need"]), free, f"vCPUs for {sku}")
            return Shortage(1, free, f"{parts['what'].lower()}s")
    return None


@dataclass(frozen=True)
class Quota:
    """vCPUs of one family: how many are granted and how many are in use."""

    family: str
    used: int
    limit: int

    @property
    def free(self) -> int:
        return max(0, self.limit - self.used)


def quota_of(usages: Iterable[Any], family: str, *, low_priority: bool = False) -> Quota | None:
    """The quota for a VM `family` among the entries of `compute.list_usage()`; None where Azure lists none or it is unlimited (-1).

    Low-priority vCPUs are one total per region, not one per family. Azure writes family names in several ways
    (`standardDSv2Family`, `Standard DSv2 Family Cluster Dedicated vCPUs`); letters and digits decide.
    """
    wanted = _letters(family)
    for usage in usages:
        name = _letters(_name(usage))
        of_family = bool(wanted) and name.startswith(wanted) and not low_priority
        matches = low_priority if "lowpriority" in name else of_family
        if matches and usage.limit is not None and usage.limit >= 0:
            used = getattr(usage, "current_value", None) or getattr(usage, "currentValue", None) or 0
            return Quota("low-priority vCPUs" if low_priority else family, int(used), int(usage.limit))
    return None


def _name(usage: Any) -> str:
    """azure-ai-ml 1.35 leaves the service's JSON in place of the attributes it documents; both are read."""
    return str(usage.name.get("value") if isinstance(usage.name, dict) else usage.name.value)


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
