"""What Azure's quota messages and usage lists say, in numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Shortage:
    """A quota that does not suffice."""

    told: str
    """What is needed and what is free of it, in numbers where Azure has any."""
    reason: str
    """Azure's own sentence."""

    def __str__(self) -> str:
        return self.told


_TEXTS = (
    # Nodes are asked for (HTTP 400 on PUT computes, or the job's own error). Azure writes "accomodate".
    re.compile(
        r"The specified subscription has an? (?:(?P<total>total)|(?P<family>[\w .-]+?) family) vCPU quota of (?P<limit>\d+) and "
        r"(?:cannot accomm?odate for|is less than) .*?which maps to (?P<need>\d+) vCPUs",
        re.IGNORECASE | re.DOTALL,
    ),
    # A deployment is asked for (HTTP 400 on PUT deployments), troubleshooting page #error-outofquota.
    re.compile(
        r"Not enough quota available for (?P<sku>\S+).*?Current usage/limit: (?P<used>\d+)/(?P<limit>\d+)\. "
        r"Additional needed: (?P<need>\d+)",
        re.IGNORECASE | re.DOTALL,
    ),
    # The same as the error of a failed operation; [N/A]: there is no quota of the family at all.
    re.compile(
        r"The amount of (?:additional )?CPU quota requested is (?P<need>\d+)"
        r"(?:, and you are currently using (?P<used>\d+)\. Your amount of maximum quota is"
        r"| and your maximum amount of quota is) (?P<limit>\d+|\[N/A\])",
        re.IGNORECASE,
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
            parts, reason = found.groupdict(), found[0]
            if what := parts.get("what"):
                return Shortage(f"the quota of {what.lower()}s is used up", reason)
            limit = int(parts["limit"]) if parts["limit"].isdecimal() else 0
            free = max(0, limit - int(parts.get("used") or 0))
            of = ""
            if parts.get("total"):
                of = " of all families in the region"
            elif family := parts.get("family"):
                of = f" of family {family}"
            elif sku := parts.get("sku"):
                of = f" for {sku}"
            return Shortage(f"need {parts['need']} vCPUs{of}, have {free}", reason)
    return None


@dataclass(frozen=True)
class Quota:
    """One row of the usage list: vCPUs that are granted, and how many of them are in use.

    `family` None: of all families together, in the region. `workspace`: the share that the subscription's owner gave to it;
    None: of the whole subscription.
    """

    family: str | None
    used: int
    limit: int
    low_priority: bool = False
    workspace: str | None = None
    listed: bool = True
    """False: Azure has no row, and so grants nothing."""

    @property
    def free(self) -> int:
        return max(0, self.limit - self.used)

    @property
    def name(self) -> str:
        """Which row, as Azure's pages call the totals."""
        if self.family is None:
            return f"Total Cluster {'LowPriority' if self.low_priority else 'Dedicated'} Regional vCPUs"
        if self.workspace is not None:
            return f"{self.family} in workspace {self.workspace}"
        return self.family

    def __str__(self) -> str:
        if self.family is None:
            kind = "low-priority" if self.low_priority else "dedicated"
            return f"{kind} vCPUs of the whole region ({self.name})"
        if not self.listed:
            return f"vCPUs of family {self.name}, of which Azure grants this subscription none"
        return f"vCPUs of family {self.name}"

    def given_back(self, vcpus: int, family: str) -> Quota:
        """The row after machines of `family` have given back so many vCPUs; below 0, after they have taken more."""
        if self.family is not None and _family(self.family) != _family(family):
            return self
        return replace(self, used=max(0, self.used - vcpus))


def quotas_of(
    usages: Iterable[Any], family: str, *, group: str, workspace: str, low_priority: bool = False
) -> list[Quota]:
    """The rows of `compute.list_usage()` that bind machines of a VM `family` in this workspace: all of them must have room.

    The list is the subscription's, with rows of every workspace and of their clusters among it, told apart by nothing but
    `id` (azure-rest-api-specs, machinelearningservices, examples/Usage/list.json). Live, a family's `name.value` stands twice,
    for dedicated and for low-priority vCPUs, told apart by `type`; in that example by the name. A limit of -1 is no bound of
    its own: low-priority vCPUs are bound by their total alone. Where other families have dedicated rows and this one has none,
    Azure grants none of it: it refuses the cluster ("not a supported VM size") and the deployment (OutOfQuota, "[N/A]").
    """
    ours = (group.lower(), workspace.lower(), "usages")
    found: list[Quota] = []
    listed, others = False, False
    for usage in usages:
        names, owner = _names(usage), _WORKSPACE_ROW.search(str(usage.id or "").lower())
        if (owner and owner.groups() != ours) or _is_low_priority(usage, names) != low_priority:
            continue
        total, same = _is_total(names), bool(family) and _family(family) in map(_family, names)
        listed = listed or same
        others = others or any("family" in _letters(name) for name in names)
        if (total or same) and usage.limit is not None and int(usage.limit) >= 0:
            used = getattr(usage, "current_value", None) or getattr(usage, "currentValue", None) or 0
            whose = workspace if owner else None
            found.append(Quota(None if total else family, int(used), int(usage.limit), low_priority, whose))
    if family and others and not listed and not low_priority:
        found.append(Quota(family, 0, 0, listed=False))
    return found


_WORKSPACE_ROW = re.compile(r"/resourcegroups/([^/]+)/providers/[^/]+/workspaces/([^/]+)/([^/]+)")
"""What follows the workspace tells its own rows (`usages`) from those of its clusters (`computes`), which are nobody's limit."""


def _names(usage: Any) -> list[str]:
    """Code and text. azure-ai-ml 1.35 leaves the service's JSON in place of the attributes it documents; both are read."""
    name = usage.name
    both = (
        (name.get("value"), name.get("localizedValue"))
        if isinstance(name, dict)
        else (name.value, name.localized_value)
    )
    return [str(text) for text in both if text]


def _is_low_priority(usage: Any, names: list[str]) -> bool:
    return any("lowpriority" in _letters(text) for text in (str(usage.type or ""), *names))


def _is_total(names: list[str]) -> bool:
    """`TotalDedicatedCores`, `Total Cluster Dedicated Regional vCPUs` and the like, and not `TotalClusters`."""
    return any(re.fullmatch(r"total\w*(cores|vcpus)", _letters(name)) for name in names)


def _family(name: str) -> str:
    """What `standardDSv2Family` and `Standard DSv2 Family Cluster Dedicated vCPUs` have in common."""
    return re.sub(r"(family)?(cluster)?(dedicated|lowpriority)?(vcpus|cores)?$", "", _letters(name))


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
