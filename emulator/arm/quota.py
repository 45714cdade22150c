"""Quota: how many vCPUs the subscription may use, shared by training clusters and deployments."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from emulator import errors
from emulator.arm import skus
from emulator.conditions import Conditions
from emulator.faults.book import under
from emulator.faults.rules import QuotaExhausted
from emulator.installation import PROVIDER, Installation
from emulator.store import Document

DEDICATED, LOW_PRIORITY = "Dedicated", "LowPriority"
TOTALS = {DEDICATED: 500, LOW_PRIORITY: 200}  # vCPUs of all families together; the only bound of low-priority ones

Usage = Callable[[], Mapping[tuple[str, str], int]]


class Quota:
    """The sizes that the region offers and the limits of the subscription, under `conditions`. Who uses vCPUs tells so through
    `count`."""

    def __init__(self, installation: Installation, conditions: Conditions) -> None:
        self._installation = installation
        self._conditions = conditions
        limits = self._conditions.limits
        self._totals = {
            DEDICATED: TOTALS[DEDICATED] if limits.dedicated is None else limits.dedicated,
            LOW_PRIORITY: TOTALS[LOW_PRIORITY] if limits.low_priority is None else limits.low_priority,
        }
        self._users: list[Usage] = []

    def count(self, usage: Usage) -> None:
        """From now on counts what `usage` returns: vCPUs by family's name and priority."""
        self._users.append(usage)

    def used(self, priority: str, family: str | None = None) -> int:
        """vCPUs in use, of one family or of all."""
        return sum(
            vcpus
            for usage in self._users
            for (name, of), vcpus in usage().items()
            if of == priority and family in (None, name)
        )

    def usages(self) -> list[Document]:
        """Usage and limit as `compute.list_usage` reads them: of each priority its total, then each family, by the same name
        for both. Low-priority families have no limit of their own: -1."""
        rows = []
        for priority, total in self._totals.items():
            kind = f"{priority[0].lower()}{priority[1:]}Cores"
            name, label = f"Total{priority}Cores", f"Total Cluster {priority} Regional vCPUs"
            rows.append(self._row("", f"total{kind[0].upper()}{kind[1:]}", name, label, self.used(priority), total))
            for family in skus.FAMILIES:
                label = f"{family.label} Cluster {priority} vCPUs"
                limit = self._conditions.limits.of(family) if priority == DEDICATED else -1
                used = self.used(priority, family.name)
                rows.append(self._row(f"/{label.replace(' ', '_')}", kind, family.name, label, used, limit))
        return rows

    def sizes(self) -> list[skus.Sku]:
        """The sizes that there are on the day."""
        today = self._conditions.today()
        return [sku for sku in skus.SKUS if not sku.is_retired(today)]

    def require_size(self, size: str) -> skus.Sku:
        """The virtual machine size of that name.

        Raises:
            AzureError: 400, the region has no such size, or has it no more.
        """
        sku = skus.find(size)
        if sku is None or sku.is_retired(self._conditions.today()):
            region = self._installation.region
            raise errors.bad_request(f"The specified VM size {size[:64]} is not supported in region {region}.")
        return sku

    def require_nodes(self, sku: skus.Sku, priority: str, nodes: int, held: int) -> None:
        """Refuses a cluster of which not `nodes` nodes fit, `held` of which it has already.

        Raises:
            AzureError: 400 with Azure's sentence.
        """
        needed = sku.vcpus * (nodes - held)
        for label, used, limit in self._bounds(sku, priority):
            if used + needed > limit:
                raise errors.compute_quota(label, limit, nodes, sku.vcpus * nodes)

    def require_serving(self, size: str, instances: int, held: int) -> None:
        """Refuses a deployment of `instances` of `size` that do not fit, with what is reserved for upgrades; `held` of them it
        has already.

        Raises:
            AzureError: 400, an unknown size or Azure's out-of-quota sentence.
        """
        sku = self.require_size(size)
        needed = sku.vcpus_served(instances) - sku.vcpus_served(held)
        for _, used, limit in self._bounds(sku, DEDICATED):
            if needed > 0 and used + needed > limit:
                raise errors.deployment_quota(sku.name, self._installation.subscription_id, used, limit, needed)

    def _bounds(self, sku: skus.Sku, priority: str) -> list[tuple[str, int, int]]:
        """What binds machines of a size: what Azure calls it, what is used of it, its limit."""
        rows = [("total", self.used(priority), self._totals[priority])]
        if priority == DEDICATED:
            family = skus.family_of(sku)
            label, limit = f"{family.label.removesuffix(' Family')} family", self._conditions.limits.of(family)
            rows.insert(0, (label, self.used(priority, family.name), limit))
        return [(label, used, used if under(QuotaExhausted) else limit) for label, used, limit in rows]

    def _row(self, tail: str, kind: str, name: str, label: str, used: int, limit: int) -> Document:
        return {
            "id": f"{self._installation.subscription_path}/usages{tail}",
            "type": f"{PROVIDER}/{kind}/usages",
            "unit": "Count",
            "currentValue": used,
            "limit": used if under(QuotaExhausted) and limit >= 0 else limit,
            "name": {"value": name, "localizedValue": label},
        }
