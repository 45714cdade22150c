"""Faults of computes, and of quota wherever it is asked."""

from __future__ import annotations

from typing import Any

import pytest
from azure.ai.ml import MLClient
from azure.ai.ml.entities import AmlCompute, ManagedOnlineEndpoint
from azure.core.exceptions import HttpResponseError

from tests.emulated import Emulator
from tests.emulator.faults.conftest import Inject, clear
from tests.emulator.jobs.commands import line, status_of, wait


def cluster(name: str) -> AmlCompute:
    return AmlCompute(name=name, size="Standard_DS3_v2", max_instances=1)


def test_a_compute_whose_creation_was_asked_to_fail_is_left_failed(client: MLClient, inject: Inject) -> None:
    inject("PUT", "*/computes/unlucky", kind="operation_failed", code="OutOfCapacity", message="No nodes left.")
    with pytest.raises(HttpResponseError, match=r"No nodes left.") as failed:
        client.compute.begin_create_or_update(cluster("unlucky")).result()
    assert "(OutOfCapacity)" in str(failed.value)
    assert client.compute.get("unlucky").provisioning_state == "Failed"
    assert client.compute.begin_create_or_update(cluster("unlucky")).result().provisioning_state == "Succeeded"


def test_a_compute_whose_deletion_was_asked_to_fail_stays(client: MLClient, inject: Inject) -> None:
    client.compute.begin_create_or_update(cluster("clinging")).result()
    inject("DELETE", "*/computes/clinging", kind="operation_failed")
    with pytest.raises(HttpResponseError):
        client.compute.begin_delete("clinging").result()
    assert client.compute.get("clinging").provisioning_state == "Failed"
    client.compute.begin_delete("clinging").result()


def allocation(emulator: Emulator, name: str) -> Any:
    """The cluster's allocationState, which the SDK's entity does not show."""
    import requests

    token = emulator.credential().get_token("https://management.azure.com/.default").token
    address = f"https://management.azure.com{emulator.installation.workspace_id}/computes/{name}"
    answer = requests.get(
        f"{address}?api-version=2023-08-01-preview", headers={"Authorization": f"Bearer {token}"}, timeout=30
    )
    return answer.json()["properties"]["properties"]["allocationState"]


def test_a_resizing_compute_gives_no_nodes_until_the_rule_is_cleared(
    emulator: Emulator, client: MLClient, inject: Inject
) -> None:
    inject("PUT", "*/computes/growing", kind="resizing")
    client.compute.begin_create_or_update(cluster("growing")).result()
    job = client.jobs.create_or_update(line("true", compute="growing"))
    wait(client, job.name, lambda status: status == "Queued")
    assert allocation(emulator, "growing") == "Resizing"
    assert status_of(client, job.name) == "Queued"
    clear(emulator)
    assert wait(client, job.name) == "Completed"
    assert allocation(emulator, "growing") == "Steady"


def test_a_compute_becomes_resizing_when_it_is_read(emulator: Emulator, client: MLClient, inject: Inject) -> None:
    client.compute.begin_create_or_update(cluster("shrinking")).result()
    inject("GET", "*/computes/shrinking", kind="resizing")
    assert [allocation(emulator, "shrinking") for _ in range(2)] == ["Resizing", "Resizing"]


def test_no_quota_for_a_compute(client: MLClient, inject: Inject) -> None:
    inject("PUT", "*/computes/large", kind="quota")
    with pytest.raises(HttpResponseError, match="cannot accomodate for at least 1 requested managed") as refused:
        client.compute.begin_create_or_update(cluster("large")).result()
    assert refused.value.status_code == 400


def test_no_quota_for_an_endpoint(client: MLClient, inject: Inject) -> None:
    inject("PUT", "*/onlineendpoints/*", kind="quota")
    with pytest.raises(HttpResponseError, match="Endpoint Quota reached for subscription"):
        client.online_endpoints.begin_create_or_update(ManagedOnlineEndpoint(name="one-too-many")).result()


def test_usages_show_no_room_where_quota_is_exhausted(client: MLClient, inject: Inject) -> None:
    inject("GET", "*/usages", kind="quota")
    exhausted, usual = ([vars(usage) for usage in client.compute.list_usage()] for _ in range(2))
    bounded = [usage for usage in exhausted if usage["limit"] != -1]
    assert len(bounded) > 2
    assert all(usage["limit"] == usage["currentValue"] for usage in bounded)
    assert any(usage["limit"] > usage["currentValue"] for usage in usual)
