"""Which rows of a usage list bind this workspace, and what Azure's refusals say in numbers."""

from types import SimpleNamespace
from typing import Any

import pytest
from azure.ai.ml.entities import AmlCompute, Usage, UsageName

from tasks.azure_ml.demand import Demand
from tasks.azure_ml.errors import InvalidConfiguration
from tasks.azure_ml.quota import Quota, quotas_of, shortage_in
from tasks.azure_ml.skus import Sku
from tasks.compute import ComputeParameters, _serving, _tiers

SUBSCRIPTION = "/subscriptions/00000000-0000-0000-0000-000000000000"
PROVIDER = "Microsoft.MachineLearningServices"
OURS = f"{SUBSCRIPTION}/resourceGroups/rg/providers/{PROVIDER}/workspaces/demo_workspace1"
OTHERS = f"{SUBSCRIPTION}/resourceGroups/rg/providers/{PROVIDER}/workspaces/demo_workspace2"
SAME_NAME = f"{SUBSCRIPTION}/resourceGroups/another/providers/{PROVIDER}/workspaces/demo_workspace1"
DSV2, NC = "standardDSv2Family", "standardNCFamily"
DSV2_TEXT = "Standard DSv2 Family Cluster Dedicated vCPUs"
NC_LOW = "Standard NC Family Cluster LowPriority vCPUs"


def row(kind: str, name: str, used: int | None, limit: int | None, id: str = SUBSCRIPTION, text: str = "") -> Any:
    """As azure-ai-ml 1.35 hands it over: the service's own JSON names."""
    return SimpleNamespace(
        id=f"{id}/usages/{name.replace(' ', '_')}",
        type=f"{PROVIDER}/{kind}/usages",
        name={"value": name, "localizedValue": text or name},
        current_value=None,
        currentValue=used,
        limit=limit,
    )


# As the REST specification has it, with numbers that differ.
SPECIFIED = [
    row("totalCores", "Clusters", 7, 100),
    row("dedicatedCores", "Total Cluster Dedicated Regional vCPUs", 14, 24),
    row("vmFamily", DSV2_TEXT, 2, 20),
    row("workspaces", DSV2_TEXT, 1, 10, OURS),
    row("workspaces", DSV2_TEXT, 1, 1, OTHERS),
    row("workspaces", DSV2_TEXT, 0, 0, SAME_NAME),
    row("workspaces/computes", DSV2_TEXT, 3, 3, f"{OURS}/computes/demo_cluster1_dsv2"),
    row("lowPriorityCores", "Total Cluster LowPriority Regional vCPUs", 18, 50),
    row("vmFamily", NC_LOW, 18, -1),
    row("workspace", NC_LOW, 6, -1, OTHERS),
]

# As a live subscription answers: a family's name stands twice.
LIVE = [
    row("totalClusters", "TotalClusters", 1, 200, text="Total Clusters"),
    row("totalDedicatedCores", "TotalDedicatedCores", 6, 20, text="Total Cluster Dedicated Regional vCPUs"),
    row("lowPriorityCores", DSV2, 4, -1),  # only `type` tells its priority
    row("dedicatedCores", DSV2, 2, 6, text=DSV2_TEXT),
    row("totalLowPriorityCores", "TotalLowPriorityCores", 4, 8, text="Total Cluster Low Priority Regional vCPUs"),
    row("lowPriorityCores", NC, 0, -1, text=NC_LOW),
]


def bound(usages: list[Any], family: str, *, low_priority: bool = False) -> list[Quota]:
    return quotas_of(usages, family, group="RG", workspace="demo_workspace1", low_priority=low_priority)


def test_rows_of_the_subscription_and_of_this_workspace_bind_and_no_others() -> None:
    assert bound(SPECIFIED, DSV2) == [
        Quota(None, 14, 24),
        Quota(DSV2, 2, 20),
        Quota(DSV2, 1, 10, workspace="demo_workspace1"),
    ]


def test_a_live_list_tells_the_priorities_apart_by_type() -> None:
    assert bound(LIVE, DSV2) == [Quota(None, 6, 20), Quota(DSV2, 2, 6)]


@pytest.mark.parametrize(("usages", "free"), [(SPECIFIED, 32), (LIVE, 4)])
@pytest.mark.parametrize("family", [DSV2, NC])
def test_low_priority_is_one_quota_for_all_families(usages: list[Any], free: int, family: str) -> None:
    [found] = bound(usages, family, low_priority=True)
    assert (found.family, found.free) == (None, free)


@pytest.mark.parametrize("family", ["standardNCADSA100v4Family", "Standard NCADS_A100_v4 Family"])
@pytest.mark.parametrize(
    "name",
    [
        "StandardNCADSA100v4Family",
        "Standard NCADSA100v4 Family Cluster Dedicated vCPUs",
        "Standard NCADS_A100_v4 Family vCPUs",
    ],
)
def test_a_family_is_found_however_azure_writes_it(family: str, name: str) -> None:
    [found] = bound([row("dedicatedCores", name, 24, 48)], family)
    assert found.free == 24


def test_a_family_is_not_taken_for_another_that_begins_alike() -> None:
    assert bound(
        [row("dedicatedCores", "standardNCFamily", 0, 6), row("dedicatedCores", "standardNCSv3Family", 0, 24)], NC
    ) == [Quota(NC, 0, 6)]


def test_usage_that_azure_does_not_know_yet_is_none() -> None:
    assert bound([row("dedicatedCores", DSV2, None, 6)], DSV2)[0].free == 6


@pytest.mark.parametrize("limit", [-1, None])
def test_a_row_without_a_limit_is_no_bound(limit: int | None) -> None:
    assert bound(
        [row("dedicatedCores", DSV2, 2, limit), row("totalDedicatedCores", "TotalDedicatedCores", 2, 9)], DSV2
    ) == [Quota(None, 2, 9)]


def test_of_a_family_without_a_row_azure_grants_nothing() -> None:
    """A low-priority row of it is not one."""
    found = bound(LIVE, NC)[-1]
    assert (found.family, found.free) == (NC, 0)
    assert str(found) == "vCPUs of family standardNCFamily, of which Azure grants this subscription none"
    assert bound(LIVE, "standardHBFamily")[-1].free == 0
    assert bound([], NC) == [], "an empty list says nothing"
    assert bound(LIVE, "") == [Quota(None, 6, 20)], "of a size without a family only the total is known"


def test_a_limit_of_none_at_all_binds() -> None:
    assert bound([row("dedicatedCores", DSV2, 0, 0)], DSV2) == [Quota(DSV2, 0, 0)]


def test_rows_are_read_as_the_sdk_documents_them_too() -> None:
    usage = Usage(  # type: ignore[abstract]
        id=f"{SUBSCRIPTION}/usages/x", type="dedicatedCores", limit=6, current_value=2,
        name=UsageName(value=DSV2, localized_value=DSV2_TEXT),
    )  # fmt: skip
    assert bound([usage], DSV2) == [Quota(DSV2, 2, 6)]


def test_of_a_limit_that_was_lowered_below_what_is_used_nothing_is_free() -> None:
    assert Quota(DSV2, 9, 6).free == 0


def test_without_a_row_what_is_needed_is_recorded_all_the_same() -> None:
    demand = Demand("training on 1 node", DSV2, 6, [])
    assert demand.met
    assert [(line.row, line.need, line.used, line.limit) for line in demand.lines()] == [(DSV2, 6, None, None)]


V100 = Sku("Standard_NC6s_v3", "standardNCSv3Family", 6, 1, 112, 336, True)


def test_every_instance_that_serves_needs_quota_and_so_does_the_reserve() -> None:
    demand = _serving([Quota(V100.family, 0, 18)], V100, 2)
    assert (demand.need, demand.reserve) == (18, 6)
    with pytest.raises(
        InvalidConfiguration, match=r"serving on 2 instance.* need 18 .*, have 17 of 18\. 6 of the 18 are the 20 %"
    ):
        _serving([Quota(V100.family, 1, 18)], V100, 2)


@pytest.mark.parametrize(("free", "tiers"), [(12, ["dedicated", "low_priority"]), (11, ["low_priority"])])
def test_low_priority_comes_first_only_where_the_dedicated_quota_does_not_suffice(free: int, tiers: list[str]) -> None:
    def quotas(family: str, low_priority: bool) -> list[Quota]:
        return [Quota(None, 0, 48 if low_priority else free, low_priority)]

    usable, training = _tiers(quotas, V100, 2, ComputeParameters(), None, 0)
    assert (usable, training.need) == (tiers, 12)
    assert training.quotas[0].low_priority is (tiers[0] == "low_priority")


def test_nodes_that_the_cluster_has_up_are_its_own_and_its_priority_stays() -> None:
    cheap = AmlCompute(name="ours", size=V100.name, tier="low_priority")
    full = [Quota(None, 12, 12, low_priority=True)]
    usable, _ = _tiers(lambda *_, **__: full, V100, 2, ComputeParameters(priority="dedicated"), cheap, 2)
    assert usable == ["low_priority"]
    with pytest.raises(InvalidConfiguration, match=r"training on 2 low-priority node.*, have 6 of 12"):
        _tiers(lambda *_, **__: full, V100, 2, ComputeParameters(), cheap, 1)


def test_what_machines_give_back_is_free_in_the_rows_that_counted_them() -> None:
    total, family = bound(LIVE, DSV2)
    assert [one.given_back(2, "Standard DSv2 Family").free for one in (total, family)] == [16, 6]
    assert [one.given_back(2, NC).free for one in (total, family)] == [16, 4]
    assert total.given_back(-10, NC).free == 4
    assert total.given_back(100, NC).free == total.limit, "never more than is granted"


def test_rows_are_named_as_azures_pages_name_them() -> None:
    names = [str(one) for one in bound(SPECIFIED, DSV2)]
    assert names == [
        "dedicated vCPUs of the whole region (Total Cluster Dedicated Regional vCPUs)",
        "vCPUs of family standardDSv2Family",
        "vCPUs of family standardDSv2Family in workspace demo_workspace1",
    ]
    [low] = bound(SPECIFIED, DSV2, low_priority=True)
    assert str(low) == "low-priority vCPUs of the whole region (Total Cluster LowPriority Regional vCPUs)"


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        (
            "The specified subscription has a Standard DSv2 family vCPU quota of 6 and cannot accomodate for at least 1 requested "
            "managed compute nodes which maps to 8 vCPUs. Talk to your Subscription Admin",
            "need 8 vCPUs of family Standard DSv2, have 6",
        ),
        (
            "The specified subscription has a total vCPU quota of 4 and cannot accomodate for at least 1 requested compute "
            "training cluster and/or compute instance's node which maps to 24 vCPUs",
            "need 24 vCPUs of all families in the region, have 4",
        ),
        (
            "The specified subscription has a total vCPU quota of 0 and is less than the requested compute training cluster and/or "
            "compute instance's min nodes of 1 which maps to 4 vCPUs",
            "need 4 vCPUs of all families in the region, have 0",
        ),
        (
            "JobNodeCountExceedsCoreQuota, The specified subscription has a Standard DSv2 family vCPU quota of 2 and is less than "
            "the requested job node count of 2 which maps to 4 vCPUs.",
            "need 4 vCPUs of family Standard DSv2, have 2",
        ),
        (
            "OutOfQuota: Not enough cluster CPU quota. The amount of additional CPU quota requested is 8, and you are currently "
            "using 14. Your amount of maximum quota is 20. Please see troubleshooting guide",
            "need 8 vCPUs, have 6",
        ),
        (
            "OutOfQuota: The amount of CPU quota requested is 72 and your maximum amount of quota is [N/A]",
            "need 72 vCPUs, have 0",
        ),
        (
            "Endpoint Quota reached for subscription S.Current usage/limit: 300/300.Please clean up",
            "the quota of endpoints is used up",
        ),
        (
            "Deployment Quota reached for subscription S.Current usage/limit: 20/20.Please clean up",
            "the quota of deployments is used up",
        ),
        (
            "Not enough quota available for Standard_NC6s_v3 in SubscriptionId s. Current usage/limit: 9/6. Additional needed: 8",
            "need 8 vCPUs for Standard_NC6s_v3, have 0",
        ),
    ],
)
def test_azures_refusals_are_told_in_numbers_and_in_azures_words(text: str, numbers: str) -> None:
    found = shortage_in(text)
    assert found is not None
    assert str(found) == numbers
    assert found.reason in text
    assert len(found.reason) > 40
