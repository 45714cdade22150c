"""Virtual machine sizes and the quota of their families.

The sizes are Azure's (vCPUs, GPUs, memory and disk of one node, retirement); the quotas are what this emulator grants where no file
says otherwise (limits.py), so that "enough" and "not enough" can both be met. Which sizes an endpoint reserves nothing of for
upgrades is Azure's, too:
https://learn.microsoft.com/azure/machine-learning/reference-managed-online-endpoints-vm-sku-list, "Skip 20% Reservation".
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True)
class Sku:
    """One node of a size. Memory and disk in GiB."""

    name: str
    vcpus: int
    gpus: int
    memory_gib: float
    disk_gib: int
    family: str
    low_priority: bool = True
    retired: date | None = None
    """From which day on there is none; None: no such day is in the table."""
    reserved: bool = True
    """Whether a managed online deployment needs quota for 20 % more instances."""

    def is_retired(self, today: date) -> bool:
        """Whether Azure has none any more."""
        return self.retired is not None and self.retired <= today

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


# Names as `az vm list-usage` has them.
FAMILIES = (
    Family("standardDSv2Family", "Standard DSv2 Family", 100),
    Family("standardESv3Family", "Standard ESv3 Family", 100),
    Family("standardFSv2Family", "Standard FSv2 Family", 100),
    Family("standardNCFamily", "Standard NC Family", 48),
    Family("standardNCSv2Family", "Standard NCSv2 Family", 0),
    Family("standardNCSv3Family", "Standard NCSv3 Family", 200),
    Family("Standard NCASv3_T4 Family", "Standard NCASv3_T4 Family", 128),
    Family("StandardNCADSA100v4Family", "Standard NCADS_A100_v4 Family", 192),
    Family("StandardNCadsH100v5Family", "Standard NCadsH100v5 Family", 80),
    Family("standardNDSFamily", "Standard NDS Family", 0),
    Family("standardNDSv2Family", "Standard NDSv2 Family", 0),
    Family("standardNDASv4_A100Family", "Standard NDASv4_A100 Family", 96),
    Family("Standard NDAMSv4_A100Family", "Standard NDAMSv4_A100 Family", 0),
    Family("standardNDSH100v5Family", "Standard NDSH100v5 Family", 96),
    Family("standardNDISRH200V5Family", "Standard NDISRH200V5 Family", 0),
    Family("standardNDISv5MI300XFamily", "Standard NDISv5MI300X Family", 0),
    Family("StandardNVADSA10v5Family", "Standard NVADSA10v5 Family", 36),
)

# https://learn.microsoft.com/azure/virtual-machines/n-series-migration
K80_P100_P40 = date(2023, 8, 31)
# https://learn.microsoft.com/azure/virtual-machines/ncv3-nc24rs-retirement and .../ncv3-nc6s-nc12s-nc24s-retirement
V100_RDMA, V100 = date(2025, 3, 31), date(2025, 9, 30)

# https://learn.microsoft.com/azure/virtual-machines/sizes/overview, and the page of each series under it.
SKUS = (
    #   name, vCPUs, GPUs, memory, disk, family, low priority, retired
    Sku("Standard_DS2_v2", 2, 0, 7, 14, "standardDSv2Family", True, None),
    Sku("Standard_DS3_v2", 4, 0, 14, 28, "standardDSv2Family", True, None),
    Sku("Standard_DS4_v2", 8, 0, 28, 56, "standardDSv2Family", True, None),
    Sku("Standard_DS12_v2", 4, 0, 28, 56, "standardDSv2Family", True, None),
    Sku("Standard_E4s_v3", 4, 0, 32, 64, "standardESv3Family", True, None),
    Sku("Standard_F2s_v2", 2, 0, 4, 16, "standardFSv2Family", True, None),
    Sku("Standard_F4s_v2", 4, 0, 8, 32, "standardFSv2Family", True, None),
    Sku("Standard_NC6", 6, 1, 56, 380, "standardNCFamily", True, K80_P100_P40),
    Sku("Standard_NC12", 12, 2, 112, 680, "standardNCFamily", True, K80_P100_P40),
    Sku("Standard_NC24", 24, 4, 224, 1440, "standardNCFamily", True, K80_P100_P40),
    Sku("Standard_NC24r", 24, 4, 224, 1440, "standardNCFamily", True, K80_P100_P40),
    Sku("Standard_NC6s_v2", 6, 1, 112, 736, "standardNCSv2Family", True, K80_P100_P40),
    Sku("Standard_NC12s_v2", 12, 2, 224, 1474, "standardNCSv2Family", True, K80_P100_P40),
    Sku("Standard_NC24s_v2", 24, 4, 448, 2948, "standardNCSv2Family", True, K80_P100_P40),
    Sku("Standard_NC24rs_v2", 24, 4, 448, 2948, "standardNCSv2Family", True, K80_P100_P40),
    Sku("Standard_NC6s_v3", 6, 1, 112, 336, "standardNCSv3Family", True, V100),
    Sku("Standard_NC12s_v3", 12, 2, 224, 672, "standardNCSv3Family", True, V100),
    Sku("Standard_NC24s_v3", 24, 4, 448, 1344, "standardNCSv3Family", True, V100),
    Sku("Standard_NC24rs_v3", 24, 4, 448, 1344, "standardNCSv3Family", True, V100_RDMA),
    Sku("Standard_NC4as_T4_v3", 4, 1, 28, 176, "Standard NCASv3_T4 Family", True, None),
    Sku("Standard_NC8as_T4_v3", 8, 1, 56, 352, "Standard NCASv3_T4 Family", True, None),
    Sku("Standard_NC16as_T4_v3", 16, 1, 110, 352, "Standard NCASv3_T4 Family", True, None),
    Sku("Standard_NC64as_T4_v3", 64, 4, 440, 2816, "Standard NCASv3_T4 Family", True, None),
    Sku("Standard_NC24ads_A100_v4", 24, 1, 220, 64, "StandardNCADSA100v4Family", True, None, reserved=False),
    Sku("Standard_NC48ads_A100_v4", 48, 2, 440, 128, "StandardNCADSA100v4Family", True, None, reserved=False),
    Sku("Standard_NC96ads_A100_v4", 96, 4, 880, 256, "StandardNCADSA100v4Family", True, None, reserved=False),
    Sku("Standard_NC40ads_H100_v5", 40, 1, 320, 128, "StandardNCadsH100v5Family", True, None, reserved=False),
    Sku("Standard_NC80adis_H100_v5", 80, 2, 640, 256, "StandardNCadsH100v5Family", True, None, reserved=False),
    Sku("Standard_ND6s", 6, 1, 112, 736, "standardNDSFamily", True, K80_P100_P40),
    Sku("Standard_ND12s", 12, 2, 224, 1474, "standardNDSFamily", True, K80_P100_P40),
    Sku("Standard_ND24s", 24, 4, 448, 2948, "standardNDSFamily", True, K80_P100_P40),
    Sku("Standard_ND24rs", 24, 4, 448, 2948, "standardNDSFamily", True, K80_P100_P40),
    Sku("Standard_ND40rs_v2", 40, 8, 672, 2900, "standardNDSv2Family", True, None, reserved=False),
    Sku("Standard_ND96asr_v4", 96, 8, 900, 6000, "standardNDASv4_A100Family", True, None, reserved=False),
    Sku("Standard_ND96amsr_A100_v4", 96, 8, 1900, 6400, "Standard NDAMSv4_A100Family", True, None, reserved=False),
    Sku("Standard_ND96isr_H100_v5", 96, 8, 1900, 1000, "standardNDSH100v5Family", True, None, reserved=False),
    Sku("Standard_ND96isr_H200_v5", 96, 8, 1850, 1000, "standardNDISRH200V5Family", True, None),
    Sku("Standard_ND96isr_MI300X_v5", 96, 8, 1850, 1000, "standardNDISv5MI300XFamily", True, None),
    Sku("Standard_NV36ads_A10_v5", 36, 1, 440, 720, "StandardNVADSA10v5Family", True, None),
)

_BY_NAME = {sku.name.lower(): sku for sku in SKUS}
_FAMILY = {family.name: family for family in FAMILIES}


def find(name: str) -> Sku | None:
    """The size of that name, in any case."""
    return _BY_NAME.get(name.lower())


def family_of(sku: Sku) -> Family:
    """The quota family that a size counts against."""
    return _FAMILY[sku.family]
