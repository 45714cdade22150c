"""Which VM sizes can fine-tune or serve a model: the rules, without any call."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from tasks.azure_ml.errors import InvalidConfiguration

UNSUPPORTED_FOR_FINETUNING = frozenset({"standard_nc6", "standard_nc12", "standard_nc24", "standard_nc24r"})
"""K80 machines: the reference notebook's list for models that say nothing about the sizes they need."""

UPGRADE_RESERVE = "https://learn.microsoft.com/azure/machine-learning/how-to-manage-quotas#virtual-machine-quota-allocation-for-deployment"
NO_UPGRADE_RESERVE = frozenset(
    {
        "standard_nc24ads_a100_v4",
        "standard_nc48ads_a100_v4",
        "standard_nc96ads_a100_v4",
        "standard_nc40ads_h100_v5",
        "standard_nc80adis_h100_v5",
        "standard_nd96amsr_a100_v4",
        "standard_nd96asr_v4",
        "standard_nd40rs_v2",
        "standard_nd96is_h100_v5",
        "standard_nd96isr_h100_v5",
    }
)
"""Sizes with "Skip 20% Reservation" in
https://learn.microsoft.com/azure/machine-learning/reference-managed-online-endpoints-vm-sku-list."""


class MinimumSpec(BaseModel):
    """The smallest machine a model's publisher vouches for. Memory and disk in GB."""

    cpus: int
    gpus: int
    memory: float
    disk: float

    @classmethod
    def parse(cls, text: object) -> MinimumSpec:
        """Reads `cpus|gpus|memory|disk`, as the registry writes it.

        Raises:
            ValueError: `text` is not that.
        """
        cpus, gpus, memory, disk = (float(part) for part in str(text).split("|"))
        if not all(0 <= part < math.inf for part in (cpus, gpus, memory, disk)):
            raise ValueError(text)
        return cls(cpus=int(cpus), gpus=int(gpus), memory=memory, disk=disk)

    def __str__(self) -> str:
        """For people."""
        return f"{self.cpus} vCPUs, {self.gpus} GPU, {self.memory:g} GB of memory, {self.disk:g} GB of disk"


@dataclass(frozen=True)
class Sku:
    """A VM size as the workspace's region offers it. Memory and disk in GB; 0 where Azure does not say."""

    name: str
    family: str
    cpus: int
    gpus: int
    memory: float
    disk: float
    low_priority: bool

    @classmethod
    def of(cls, size: Any) -> Sku:
        """From an entry of `compute.list_sizes()`.

        azure-ai-ml 1.35 leaves the attributes it documents empty and puts the service's own names beside them
        (`vCPUs` beside `v_cp_us`): whichever is filled counts.
        """
        return cls(
            name=str(size.name),
            family=str(size.family or ""),
            cpus=int(_either(size, "v_cp_us", "vCPUs")),
            gpus=int(size.gpus or 0),
            memory=float(_either(size, "memory_gb", "memoryGB")),
            disk=float(_either(size, "max_resource_volume_mb", "maxResourceVolumeMB")) / 1024,
            low_priority=bool(_either(size, "low_priority_capable", "lowPriorityCapable")),
        )


def find_sku(skus: list[Sku], name: str, parameter: str) -> Sku:
    """The size called `name`, in any spelling of case; `parameter` asks for it.

    Raises:
        InvalidConfiguration: the region does not offer it.
    """
    for sku in skus:
        if sku.name.lower() == name.lower():
            return sku
    offered = sorted(sku.name for sku in skus if sku.gpus)
    listed = ", ".join(offered[:12]) or "none"
    more = f" and {len(offered) - 12} more" if len(offered) > 12 else ""
    raise InvalidConfiguration(
        f"VM size {name} is not offered in the workspace's region. With a GPU it offers {listed}{more}. Correct {parameter}."
    )


def require_can_finetune(sku: Sku, model: str, allow_list: list[str] | None, minimum: MinimumSpec | None) -> str:
    """Checks `sku` against what `model` needs and returns the rule that decided.

    In this order: the publisher's allow-list; else the minimum specification; else the list of sizes known not to work.

    Raises:
        InvalidConfiguration: the size does not do, with those that would where they are known.
    """
    if sku.gpus == 0:
        raise InvalidConfiguration(
            f"VM size {sku.name} has no GPU, and fine-tuning works only with one. Choose another compute.size."
        )
    if allow_list is not None:
        if not _contains(allow_list, sku.name):
            raise InvalidConfiguration(
                f"VM size {sku.name} is not on {model}'s list of sizes for fine-tuning. Choose one of: {', '.join(allow_list)}."
            )
        return "allow-list of the model"
    if minimum is not None:
        _require_minimum(sku, model, minimum, "fine-tuning")
        return "minimum specification of the model"
    if sku.name.lower() in UNSUPPORTED_FOR_FINETUNING:
        raise InvalidConfiguration(
            f"VM size {sku.name} (K80) is not supported for fine-tuning. Choose another compute.size."
        )
    return "not on the list of unsupported sizes"


def require_can_serve(sku: Sku, model: str, allow_list: list[str] | None, minimum: MinimumSpec | None) -> str:
    """Like `require_can_finetune`, for the endpoint's instance type. A model that says nothing may be served by any."""
    if allow_list is not None:
        if not _contains(allow_list, sku.name):
            raise InvalidConfiguration(
                f"Instance type {sku.name} is not on {model}'s list of sizes for inference. Choose deployment.instance_type "
                f"from: {', '.join(allow_list)}."
            )
        return "allow-list of the model"
    if minimum is not None:
        _require_minimum(sku, model, minimum, "inference")
        return "minimum specification of the model"
    return "the model names no requirement"


def instances_that_count(size: str, instances: int) -> int:
    """For how many instances of `size` a managed online deployment of `instances` needs quota: of most sizes Azure reserves 20 %
    more for upgrades, so `ceil(1.2 * instances)` (UPGRADE_RESERVE). In whole numbers, since 1.2 is no binary fraction."""
    return instances if size.lower() in NO_UPGRADE_RESERVE else -(-instances * 6 // 5)


def _contains(allow_list: list[str], name: str) -> bool:
    return name.lower() in {allowed.lower() for allowed in allow_list}


def _require_minimum(sku: Sku, model: str, minimum: MinimumSpec, purpose: str) -> None:
    short = [
        f"{needed:g} {unit} (has {has:g})"
        for needed, has, unit in (
            (minimum.cpus, sku.cpus, "vCPUs"),
            (minimum.gpus, sku.gpus, "GPUs"),
            (minimum.memory, sku.memory, "GB of memory"),
            (minimum.disk, sku.disk, "GB of disk"),
        )
        if 0 < has < needed or (unit == "GPUs" and has < needed)
    ]
    if short:
        raise InvalidConfiguration(
            f"VM size {sku.name} is too small for {purpose} of {model}: it needs {', '.join(short)}. Choose a larger one."
        )


def _either(size: Any, documented: str, wire: str) -> Any:
    return getattr(size, documented, None) or getattr(size, wire, None) or 0
