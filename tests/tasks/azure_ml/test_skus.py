"""Which sizes can train and serve."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from tasks.azure_ml.errors import InvalidConfiguration
from tasks.azure_ml.skus import (
    MinimumSpec,
    Sku,
    find_sku,
    instances_that_count,
    require_can_finetune,
    require_can_serve,
)

A100 = Sku("Standard_NC24ads_A100_v4", "standardNCADSA100v4Family", 24, 1, 220, 64, True)
V100 = Sku("STANDARD_NC6S_V3", "standardNCSv3Family", 6, 1, 112, 336, True)
K80 = Sku("Standard_NC24r", "standardNCFamily", 24, 4, 224, 1440, True)
CPU = Sku("Standard_DS3_v2", "standardDSv2Family", 4, 0, 14, 28, True)
PHI = MinimumSpec(cpus=24, gpus=1, memory=220, disk=64)


def test_sizes_are_compared_without_regard_to_case() -> None:
    assert find_sku([A100, V100], "standard_nc6s_v3", "compute.size") is V100
    assert require_can_finetune(V100, "m", ["Standard_NC6s_v3"], None)
    assert require_can_serve(V100, "m", ["Standard_NC6s_v3"], None)


def test_the_allow_list_decides_before_the_minimum() -> None:
    with pytest.raises(InvalidConfiguration, match="Standard_ND96asr_v4"):
        require_can_finetune(A100, "m", ["Standard_ND96asr_v4"], PHI)


def test_the_minimum_decides_before_the_deny_list() -> None:
    with pytest.raises(InvalidConfiguration, match="24 vCPUs"):
        require_can_finetune(V100, "m", None, PHI)
    assert "minimum" in require_can_finetune(A100, "m", None, PHI)
    assert "minimum" in require_can_finetune(K80, "m", None, MinimumSpec(cpus=6, gpus=1, memory=56, disk=64))


def test_a_k80_is_refused_when_the_model_says_nothing() -> None:
    with pytest.raises(InvalidConfiguration, match="K80"):
        require_can_finetune(K80, "m", None, None)


def test_a_machine_without_gpu_cannot_finetune() -> None:
    with pytest.raises(InvalidConfiguration, match="GPU"):
        require_can_finetune(CPU, "m", ["Standard_DS3_v2"], None)


@pytest.mark.parametrize(
    ("less", "lacks"),
    [
        ({"cpus": 23}, r"24 vCPUs \(has 23\)"),
        ({"gpus": 1}, r"2 GPUs \(has 1\)"),
        ({"memory": 219.5}, r"220 GB of memory \(has 219\.5\)"),
        ({"disk": 63}, r"64 GB of disk \(has 63\)"),
    ],
)
def test_every_part_of_the_minimum_is_needed_and_just_so_much_will_do(less: dict[str, Any], lacks: str) -> None:
    minimum, enough = MinimumSpec(cpus=24, gpus=2, memory=220, disk=64), replace(A100, gpus=2)
    for require in (require_can_finetune, require_can_serve):
        assert "minimum" in require(enough, "m", None, minimum)
        with pytest.raises(InvalidConfiguration, match=f"it needs {lacks}\\. Choose"):
            require(replace(enough, **less), "m", None, minimum)


def test_the_inference_allow_list_is_enforced() -> None:
    with pytest.raises(InvalidConfiguration, match="inference"):
        require_can_serve(CPU, "m", ["Standard_NC6s_v3"], None)
    assert require_can_serve(CPU, "m", None, None)


def test_a_size_that_the_region_does_not_offer_is_refused_with_those_it_does() -> None:
    with pytest.raises(
        InvalidConfiguration,
        match=r"With a GPU it offers Standard_NC24ads_A100_v4\. Correct deployment\.instance_type\.",
    ):
        find_sku([A100, CPU], "Standard_NC6s_v3", "deployment.instance_type")
    many = [replace(A100, name=f"Standard_{number:02}") for number in range(14)]
    with pytest.raises(InvalidConfiguration, match=r"Standard_00, .*, Standard_11 and 2 more\."):
        find_sku(many, "Standard_NC6s_v3", "compute.size")


def test_the_sdks_raw_names_are_read_too() -> None:
    size = SimpleNamespace(name="S", family="f", v_cp_us=None, vCPUs=6, gpus=1, memory_gb=None, memoryGB=112)
    sku = Sku.of(size)
    assert (sku.cpus, sku.memory, sku.disk) == (6, 112, 0)


@pytest.mark.parametrize(
    ("size", "instances", "counted"),
    [
        ("Standard_DS3_v2", 10, 12),  # Microsoft's own example
        ("Standard_F4s_v2", 1, 2),
        ("Standard_NC6s_v3", 4, 5),
        ("Standard_NC6s_v3", 5, 6),
        ("STANDARD_NC16AS_T4_V3", 6, 8),
        ("Standard_NV36ads_A10_v5", 1, 2),
        ("Standard_NC24ads_A100_v4", 1, 1),
        ("STANDARD_NC40ADS_H100_V5", 10, 10),
        ("Standard_ND96isr_H100_v5", 2, 2),
        ("Standard_ND40rs_v2", 3, 3),
    ],
)
def test_an_endpoint_counts_a_fifth_more_instances_but_for_exempt_sizes(
    size: str, instances: int, counted: int
) -> None:
    assert instances_that_count(size, instances) == counted
