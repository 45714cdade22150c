"""What a usage list says of a family."""

from types import SimpleNamespace
from typing import Any

from tasks.quota import Quota, quota_of


def usage(name: str, used: int, limit: int) -> Any:
    """As azure-ai-ml 1.35 hands it over: the service's own JSON names."""
    return SimpleNamespace(name={"value": name}, current_value=None, currentValue=used, limit=limit)


LIST = [
    usage("Total Cluster Dedicated Regional vCPUs", 6, 100),
    usage("Standard DSv2 Family Cluster Dedicated vCPUs", 2, 10),
    usage("standardNCADSA100v4Family", 24, 48),
    usage("Standard NDSv2 Family Cluster Dedicated vCPUs", 0, -1),
    usage("Total Cluster LowPriority Regional vCPUs", 1, 12),
]


def test_a_family_is_found_however_azure_writes_it() -> None:
    assert quota_of(LIST, "standardDSv2Family") == Quota("standardDSv2Family", 2, 10)
    assert quota_of(LIST, "Standard NCADSA100v4 Family") == Quota("Standard NCADSA100v4 Family", 24, 48)


def test_low_priority_is_one_quota_for_all_families() -> None:
    found = quota_of(LIST, "standardDSv2Family", low_priority=True)
    assert found is not None
    assert found.free == 11


def test_an_unlimited_or_unlisted_family_has_no_bound() -> None:
    assert quota_of(LIST, "standardNDSv2Family") is None
    assert quota_of(LIST, "standardHBFamily") is None
    assert quota_of(LIST, "") is None
