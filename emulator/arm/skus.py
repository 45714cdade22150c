"""Virtual machine sizes and the quota of their families.

The sizes are Azure's, from its published size tables (vCPUs, GPUs, memory and disk of one node); the quotas are what this emulator
grants, so that "enough" and "not enough" can both be met. Which sizes an endpoint reserves nothing of for upgrades is Azure's, too:
https://learn.microsoft.com/azure/machine-learning/reference-managed-online-endpoints-vm-sku-list, "Skip 20% Reservation".
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sku:
    """One node of a size. Memory in GB, disks in MB."""

    name: str
    family: str
    vcpus: int
    gpus: int
    memory_gb: float
    disk_mb: int
    low_priority: bool = True
    reserved: bool = True
    """Whether a managed online deployment needs quota for 20 % more instances."""

    def vcpus_served(self, instances: int) -> int:
        """The quota that a deployment of so many instances takes: `ceil(1.2 * instances)` of the size, or just the instances
        (https://learn.microsoft.com/azure/machine-learning/how-to-manage-quotas#virtual-machine-quota-allocation-for-deployment).
        """
        return self.vcpus * (-(-instances * 6 // 5) if self.reserved else instances)


@dataclass(frozen=True)
class Family:
    """A family's quota of dedicated vCPUs in the subscription."""

    name: str
    label: str
    limit: int


FAMILIES = (
    Family("standardDSv2Family", "Standard DSv2 Family", 100),
    Family("standardESv3Family", "Standard ESv3 Family", 100),
    Family("standardFSv2Family", "Standard FSv2 Family", 100),
    Family("standardNCFamily", "Standard NC Family", 48),
    Family("standardNCSv3Family", "Standard NCSv3 Family", 200),
    Family("Standard NCASv3_T4 Family", "Standard NCASv3_T4 Family", 128),
    Family("StandardNCADSA100v4Family", "Standard NCADS_A100_v4 Family", 192),
    Family("standardNDSv2Family", "Standard NDSv2 Family", 0),
    Family("standardNDASv4_A100Family", "Standard NDASv4_A100 Family", 96),
    Family("Standard NDAMSv4_A100Family", "Standard NDAMSv4_A100 Family", 0),
)

SKUS = (
    Sku("Standard_DS2_v2", "standardDSv2Family", 2, 0, 7.0, 14336),
    Sku("Standard_DS3_v2", "standardDSv2Family", 4, 0, 14.0, 28672),
    Sku("Standard_DS4_v2", "standardDSv2Family", 8, 0, 28.0, 57344),
    Sku("Standard_DS12_v2", "standardDSv2Family", 4, 0, 28.0, 57344),
    Sku("Standard_E4s_v3", "standardESv3Family", 4, 0, 32.0, 65536),
    Sku("Standard_F4s_v2", "standardFSv2Family", 4, 0, 8.0, 32768),
    Sku("Standard_NC6", "standardNCFamily", 6, 1, 56.0, 389120),
    Sku("Standard_NC12", "standardNCFamily", 12, 2, 112.0, 696320),
    Sku("Standard_NC24", "standardNCFamily", 24, 4, 224.0, 1474560),
    Sku("Standard_NC24r", "standardNCFamily", 24, 4, 224.0, 1474560),
    Sku("Standard_NC6s_v3", "standardNCSv3Family", 6, 1, 112.0, 344064),
    Sku("Standard_NC12s_v3", "standardNCSv3Family", 12, 2, 224.0, 688128),
    Sku("Standard_NC24s_v3", "standardNCSv3Family", 24, 4, 448.0, 1376256),
    Sku("Standard_NC24rs_v3", "standardNCSv3Family", 24, 4, 448.0, 1376256),
    Sku("Standard_NC4as_T4_v3", "Standard NCASv3_T4 Family", 4, 1, 28.0, 180224),
    Sku("Standard_NC8as_T4_v3", "Standard NCASv3_T4 Family", 8, 1, 56.0, 360448),
    Sku("Standard_NC16as_T4_v3", "Standard NCASv3_T4 Family", 16, 1, 110.0, 360448),
    Sku("Standard_NC64as_T4_v3", "Standard NCASv3_T4 Family", 64, 4, 440.0, 2883584),
    Sku("Standard_NC24ads_A100_v4", "StandardNCADSA100v4Family", 24, 1, 220.0, 65536, reserved=False),
    Sku("Standard_NC48ads_A100_v4", "StandardNCADSA100v4Family", 48, 2, 440.0, 131072, reserved=False),
    Sku("Standard_NC96ads_A100_v4", "StandardNCADSA100v4Family", 96, 4, 880.0, 262144, reserved=False),
    Sku("Standard_ND40rs_v2", "standardNDSv2Family", 40, 8, 672.0, 2969600, reserved=False),
    Sku("Standard_ND96asr_v4", "standardNDASv4_A100Family", 96, 8, 900.0, 6144000, reserved=False),
    Sku("Standard_ND96amsr_A100_v4", "Standard NDAMSv4_A100Family", 96, 8, 1900.0, 6553600, reserved=False),
)

_BY_NAME = {sku.name.lower(): sku for sku in SKUS}
_FAMILY = {family.name: family for family in FAMILIES}


def find(name: str) -> Sku | None:
    """The size of that name, in any case."""
    return _BY_NAME.get(name.lower())


def family_of(sku: Sku) -> Family:
    """The quota family that a size counts against."""
    return _FAMILY[sku.family]
