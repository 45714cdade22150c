"""Limits of vCPUs that are set for a subscription, in a file that people write."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emulator.arm import skus

EXAMPLE = """\
dedicated: 100        # vCPUs of all families together
low_priority: 50      # the same, of low-priority nodes; their families have no limits of their own
families:             # dedicated vCPUs of one family, by either name that usages have for it
  standardNCSv3Family: 24
  Standard NCADS_A100_v4 Family: 0
"""


class LimitsError(Exception):
    """The file sets no limits; the message says why, naming the file."""


@dataclass(frozen=True)
class Limits:
    """Limits in vCPUs, in the place of the emulator's own. What is not named keeps its own."""

    dedicated: int | None = None
    low_priority: int | None = None
    families: dict[str, int] = field(default_factory=dict)
    """By the family's name (`skus.Family.name`)."""

    def of(self, family: skus.Family) -> int:
        """The family's dedicated vCPUs."""
        return self.families.get(family.name, family.limit)


def read_limits(path: Path) -> Limits:
    """Reads a file of limits, YAML or JSON, as `EXAMPLE` is one.

    Raises:
        LimitsError: it cannot be read, or has anything else in it.
    """
    import yaml

    try:
        document = yaml.safe_load(path.read_text("utf-8"))
    except OSError as problem:
        raise LimitsError(f"The quota file {path} cannot be read: {problem.strerror}.") from problem
    except (yaml.YAMLError, UnicodeDecodeError) as problem:
        raise LimitsError(f"The quota file {path} is neither YAML nor JSON.") from problem
    fields = ("dedicated", "low_priority", "families")
    if not isinstance(document, dict) or set(document) - set(fields):
        raise LimitsError(f"The quota file {path} may hold {', '.join(fields)} and nothing else.")
    families = document.get("families") or {}
    if not isinstance(families, dict):
        raise LimitsError(f"`families` of the quota file {path} is no mapping of names to vCPUs.")
    totals = {name: _vcpus(path, name, document[name]) for name in fields[:2] if name in document}
    return Limits(**totals, families={_family(path, name): _vcpus(path, name, its) for name, its in families.items()})


def _family(path: Path, name: Any) -> str:
    for family in skus.FAMILIES:
        if str(name).lower() in (family.name.lower(), family.label.lower()):
            return family.name
    known = ", ".join(family.name for family in skus.FAMILIES)
    raise LimitsError(f"The quota file {path} names a family {name!r}, and there are only: {known}.")


def _vcpus(path: Path, name: Any, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise LimitsError(
            f"{name} of the quota file {path} is {value!r}, and must be a whole number of vCPUs, 0 or more."
        )
    return value
