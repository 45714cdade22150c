"""The emulator's quota: what it lists, and what it refuses in Azure's words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from azure.ai.ml.entities import AmlCompute
from azure.core.exceptions import HttpResponseError

from emulator.arm import skus
from emulator.arm.quota import DEDICATED, LOW_PRIORITY, Quota
from emulator.conditions import Conditions
from emulator.errors import AzureError
from emulator.installation import Installation
from tests.emulated import AS_OF, Emulator

NCSV3, T4, A100 = "standardNCSv3Family", "Standard NCASv3_T4 Family", "StandardNCADSA100v4Family"


@pytest.fixture
def quota(tmp_path: Path) -> Quota:
    """192 of NCSv3's 200 vCPUs are in use, 296 elsewhere: 12 of the total's 500 are free. 190 of 200 at low priority."""
    made = Quota(Installation.open(tmp_path), Conditions().changed(as_of=AS_OF))
    made.count(lambda: {(NCSV3, DEDICATED): 192, (T4, DEDICATED): 128})
    made.count(lambda: Counter({(A100, DEDICATED): 168, (NCSV3, LOW_PRIORITY): 190}))
    return made


def size(name: str) -> skus.Sku:
    found = skus.find(name)
    assert found is not None
    return found


def refusal(call: Callable[[], None]) -> str:
    with pytest.raises(AzureError) as refused:
        call()
    assert refused.value.status == 400
    return str(refused.value.body)


def test_usages_have_the_form_of_a_live_subscription(quota: Quota) -> None:
    rows = {(row["type"].split("/")[1], row["name"]["value"]): row for row in quota.usages()}
    assert len(rows) == len(quota.usages()) == 2 + 2 * len(skus.FAMILIES)
    seen = {key: (row["currentValue"], row["limit"]) for key, row in rows.items()}
    assert seen["totalDedicatedCores", "TotalDedicatedCores"] == (488, 500)
    assert seen["dedicatedCores", NCSV3] == (192, 200)
    assert seen["totalLowPriorityCores", "TotalLowPriorityCores"] == (190, 200)
    assert seen["lowPriorityCores", NCSV3] == (190, -1)
    row = rows["dedicatedCores", NCSV3]
    assert row["name"]["localizedValue"] == "Standard NCSv3 Family Cluster Dedicated vCPUs"
    assert row["id"].endswith("/usages/Standard_NCSv3_Family_Cluster_Dedicated_vCPUs")


def test_nodes_are_bound_by_their_family_and_by_the_total(quota: Quota) -> None:
    quota.require_nodes(size("Standard_NC6s_v3"), DEDICATED, 1, 0)
    family = refusal(lambda: quota.require_nodes(size("Standard_NC24s_v3"), DEDICATED, 1, 0))
    assert "has a Standard NCSv3 family vCPU quota of 200 and cannot accomodate for at least 1 " in family
    assert "managed compute node which maps to 24 vCPUs" in family
    total = refusal(lambda: quota.require_nodes(size("Standard_NC24ads_A100_v4"), DEDICATED, 1, 0))
    assert "has a total vCPU quota of 500" in total, "24 are free of the family, 12 of all together"


def test_low_priority_nodes_are_bound_by_their_total_alone(quota: Quota) -> None:
    quota.require_nodes(size("Standard_NC6s_v3"), LOW_PRIORITY, 1, 0)
    assert "has a total vCPU quota of 200" in refusal(
        lambda: quota.require_nodes(size("Standard_NC24s_v3"), LOW_PRIORITY, 1, 0)
    )


def test_nodes_that_a_cluster_has_are_not_counted_again(quota: Quota) -> None:
    quota.require_nodes(size("Standard_NC24s_v3"), DEDICATED, 8, 8)
    assert "at least 9 requested managed compute nodes which maps to 216 vCPUs" in refusal(
        lambda: quota.require_nodes(size("Standard_NC24s_v3"), DEDICATED, 9, 8)
    )


@pytest.mark.parametrize(
    ("name", "instances", "vcpus"),
    [
        ("Standard_NC6s_v3", 1, 12),
        ("Standard_NC6s_v3", 5, 36),
        ("Standard_NC6s_v3", 6, 48),
        ("Standard_DS3_v2", 10, 48),
        ("Standard_F4s_v2", 1, 8),
        ("Standard_NC24ads_A100_v4", 1, 24),
        ("Standard_ND96asr_v4", 2, 192),
        ("Standard_NC4as_T4_v3", 1, 8),
    ],
)
def test_a_deployment_takes_a_fifth_more_in_whole_instances_of_most_sizes(
    name: str, instances: int, vcpus: int
) -> None:
    assert size(name).vcpus_served(instances) == vcpus


def test_a_deployment_is_refused_for_its_reserve(quota: Quota) -> None:
    text = refusal(lambda: quota.require_serving("Standard_NC6s_v3", 1, 0))
    assert "Not enough quota available for Standard_NC6s_v3" in text
    assert "Current usage/limit: 192/200. Additional needed: 12 " in text
    text = refusal(lambda: quota.require_serving("Standard_NC24ads_A100_v4", 1, 0))
    assert "Current usage/limit: 488/500. Additional needed: 24 " in text, "the total binds deployments, too"
    quota.require_serving("Standard_F4s_v2", 1, 0)


def test_a_deployment_that_grows_needs_what_it_adds(quota: Quota) -> None:
    quota.require_serving("Standard_NC6s_v3", 5, 4)  # five count as six, four as five
    assert "Additional needed: 12 " in refusal(lambda: quota.require_serving("Standard_NC6s_v3", 6, 5))
    quota.require_serving("Standard_NC24s_v3", 3, 3)


def test_a_cluster_holds_the_nodes_that_are_up(own_emulator: Emulator) -> None:
    client = own_emulator.client()

    def cluster(name: str, least: int, **more: Any) -> AmlCompute:
        asked = AmlCompute(name=name, size="Standard_NC24s_v3", min_instances=least, max_instances=9, **more)
        return client.compute.begin_create_or_update(asked).result()

    cluster("full", 8)
    cluster("full", 8, tags={"a": "b"})
    nodes = list(client.compute.list_nodes("full"))
    assert [vars(node)["nodeState"] for node in nodes] == ["idle"] * 8
    assert len({vars(node)["nodeId"] for node in nodes}) == 8
    with pytest.raises(HttpResponseError, match="a Standard NCSv3 family vCPU quota of 200"):
        cluster("full", 9)
    with pytest.raises(HttpResponseError, match="a Standard NCSv3 family vCPU quota of 200"):
        cluster("another", 0)
    assert cluster("cheap", 0, tier="low_priority").tier == "low_priority"
    assert list(client.compute.list_nodes("cheap")) == []
