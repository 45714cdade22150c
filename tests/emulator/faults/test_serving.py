"""Faults of endpoints and deployments."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from azure.ai.ml import MLClient
from azure.ai.ml.entities import ManagedOnlineEndpoint, ProbeSettings
from azure.core.exceptions import HttpResponseError

from tests.emulator.endpoints.conftest import Endpoint, create_endpoint, registered_model, serving
from tests.emulator.faults.conftest import Inject

if TYPE_CHECKING:
    from azure.ai.ml.entities import Model

DEPLOYMENT = "*/deployments/*"
HASTY = ProbeSettings(initial_delay=1, period=1, failure_threshold=1, success_threshold=1, timeout=1)


@pytest.fixture(scope="module")
def model(client: MLClient, tmp_path_factory: pytest.TempPathFactory) -> Model:
    return registered_model(client, tmp_path_factory.mktemp("model") / "faulty", name="faulty")


@pytest.fixture(scope="module")
def endpoint(client: MLClient, model: Model) -> Iterator[Endpoint]:
    made = create_endpoint(client, str(model.id), auth_mode="key")
    yield made
    client.online_endpoints.begin_delete(made.name).result()


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("deployment_never_ready", "Liveness probe failed: HTTP probe failed with statuscode: 502"),
        ("deployment_crash", "Liveness probe failed: HTTP probe failed with statuscode: 502"),
    ],
)
def test_a_deployment_that_was_asked_to_fail_fails_with_azures_text(
    client: MLClient, endpoint: Endpoint, inject: Inject, kind: str, sentence: str
) -> None:
    inject("PUT", DEPLOYMENT, kind=kind)
    with pytest.raises(HttpResponseError) as failed:
        endpoint.deploy("blue", settings={"liveness_probe": HASTY})
    assert f"ResourceNotReady: User container has crashed or terminated: {sentence}" in str(failed.value)
    assert client.online_deployments.get("blue", endpoint.name).provisioning_state == "Failed"
    assert "Starting the model server" in client.online_deployments.get_logs("blue", endpoint.name, 50)
    assert serving(endpoint) == []


def test_a_crash_has_the_words_of_its_rule(client: MLClient, endpoint: Endpoint, inject: Inject) -> None:
    inject("PUT", DEPLOYMENT, kind="deployment_crash", message="The GPU fell off the bus.")
    with pytest.raises(HttpResponseError, match=r"ResourceNotReady: The GPU fell off the bus\."):
        endpoint.deploy("blue")
    assert "The GPU fell off the bus." in client.online_deployments.get_logs("blue", endpoint.name, 50)
    assert endpoint.deploy("blue").provisioning_state == "Succeeded"


def test_no_quota_for_a_deployment(endpoint: Endpoint, inject: Inject) -> None:
    inject("PUT", DEPLOYMENT, kind="quota")
    with pytest.raises(HttpResponseError, match="Not enough quota available for Standard_DS3_v2"):
        endpoint.deploy("green")


def test_failed_operations_leave_the_resources_failed(client: MLClient, endpoint: Endpoint, inject: Inject) -> None:
    inject("PUT", DEPLOYMENT, kind="operation_failed", message="OutOfCapacity: no hosts.")
    with pytest.raises(HttpResponseError, match=r"OutOfCapacity: no hosts."):
        endpoint.deploy("failing")
    assert client.online_deployments.get("failing", endpoint.name).provisioning_state == "Failed"
    inject("DELETE", DEPLOYMENT, kind="operation_failed")
    with pytest.raises(HttpResponseError):
        client.online_deployments.begin_delete("failing", endpoint.name).result()
    assert client.online_deployments.get("failing", endpoint.name).provisioning_state == "Failed"
    client.online_deployments.begin_delete("failing", endpoint.name).result()


@pytest.mark.parametrize("existing", [False, True])
def test_an_endpoint_whose_operation_fails_is_left_failed_and_can_be_deleted(
    client: MLClient, inject: Inject, existing: bool
) -> None:
    name = f"failing-{'old' if existing else 'new'}"
    made = ManagedOnlineEndpoint(name=name)
    if existing:
        client.online_endpoints.begin_create_or_update(made).result()
    inject("PUT", f"*/onlineendpoints/{name}", kind="operation_failed")
    inject("DELETE", f"*/onlineendpoints/{name}", kind="operation_failed")
    with pytest.raises(HttpResponseError):
        client.online_endpoints.begin_create_or_update(made).result()
    assert client.online_endpoints.get(name).provisioning_state == "Failed"
    with pytest.raises(HttpResponseError):
        client.online_endpoints.begin_delete(name).result()
    assert client.online_endpoints.get(name).provisioning_state == "Failed"
    client.online_endpoints.begin_delete(name).result()
