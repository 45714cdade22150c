"""Quota: how many vCPUs the subscription may use, shared by training clusters and deployments."""

from __future__ import annotations

from collections.abc import Callable

from emulator import errors
from emulator.arm import skus
from emulator.faults.book import under
from emulator.faults.rules import QuotaExhausted
from emulator.installation import PROVIDER, Installation
from emulator.store import Document

LOW_PRIORITY = "LowPriorityCores"
LOW_PRIORITY_LIMIT = 200  # vCPUs, one pool for all families

Usage = Callable[[], dict[str, int]]


class Quota:
    """The limits of the subscription. Who uses vCPUs tells so through `count`."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._users: list[Usage] = []

    def count(self, usage: Usage) -> None:
        """From now on counts what `usage` returns: vCPUs by pool, a family's name or LOW_PRIORITY."""
        self._users.append(usage)

    def used(self, pool: str) -> int:
        """vCPUs in use of a pool."""
        return sum(usage().get(pool, 0) for usage in self._users)

    def usages(self) -> list[Document]:
        """Usage and limit as `compute.list_usage` reads them: one entry a family, one for all low-priority nodes."""
        rows = [(f.name, f"{f.label} Cluster Dedicated vCPUs", f.limit) for f in skus.FAMILIES]
        rows.append((LOW_PRIORITY, "Total Cluster LowPriority Regional vCPUs", LOW_PRIORITY_LIMIT))
        return [
            {
                "id": f"{self._installation.location_id}/usages/{pool}",
                "type": f"{PROVIDER}/dedicatedCores/usages",
                "unit": "Count",
                "currentValue": self.used(pool),
                "limit": self._limit(pool, limit),
                "name": {"value": pool, "localizedValue": label},
            }
            for pool, label, limit in rows
        ]

    def require_size(self, size: str) -> skus.Sku:
        """The virtual machine size of that name.

        Raises:
            AzureError: 400, the region has no such size.
        """
        sku = skus.find(size)
        if sku is None:
            region = self._installation.region
            raise errors.bad_request(f"The specified VM size {size[:64]} is not supported in region {region}.")
        return sku

    def require_node(self, sku: skus.Sku, priority: str) -> None:
        """Refuses a cluster of which not one node fits.

        Raises:
            AzureError: 400 with Azure's sentence.
        """
        family = skus.family_of(sku)
        pool, label, limit = family.name, family.label, family.limit
        if priority == "LowPriority":
            pool, label, limit = LOW_PRIORITY, "LowPriority", LOW_PRIORITY_LIMIT
        limit = self._limit(pool, limit)
        if self.used(pool) + sku.vcpus > limit:
            raise errors.compute_quota(label, limit, sku.vcpus)

    def require_serving(self, size: str, instances: int) -> None:
        """Refuses a deployment of `instances` nodes of `size` that do not fit.

        Raises:
            AzureError: 400, an unknown size or Azure's out-of-quota sentence.
        """
        sku = self.require_size(size)
        limit = self._limit(sku.family, skus.family_of(sku).limit)
        used, needed = self.used(sku.family), sku.vcpus * instances
        if used + needed > limit:
            raise errors.deployment_quota(sku.name, self._installation.subscription_id, used, limit, needed)

    def _limit(self, pool: str, limit: int) -> int:
        """The pool's limit, which is what is used of it where quota was asked to be exhausted."""
        return self.used(pool) if under(QuotaExhausted) else limit
