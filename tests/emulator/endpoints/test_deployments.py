"""Managed online deployments: processes that start, fail, change and end."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from azure.ai.ml import MLClient
from azure.ai.ml.entities import ProbeSettings
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError

from tests.emulated import Emulator
from tests.emulator.endpoints.conftest import SIZE, Endpoint, request_settings, serving
from tests.processes import is_alive

HASTY = ProbeSettings(initial_delay=1, period=1, failure_threshold=1, success_threshold=1, timeout=1)


def test_a_deployment_answers_with_its_model_and_variables(client: MLClient, endpoint: Endpoint) -> None:
    made = endpoint.deploy("blue")
    assert (made.provisioning_state, made.instance_count, made.instance_type) == ("Succeeded", 1, SIZE)
    answer = endpoint.score(azureml_model_deployment="blue").json()
    assert (answer["color"], "weights.txt" in answer["files"]) == ("blue", True)
    got = client.online_deployments.get("blue", endpoint.name)
    assert got.model == endpoint.model
    assert got.environment_variables["AZUREML_MODEL_DIR"] == "/var/azureml-app/azureml-models/scripted/1"
    assert got.liveness_probe.failure_threshold == 30
    assert [one.name for one in client.online_deployments.list(endpoint.name)] == ["blue"]
    assert client.online_endpoints.get(endpoint.name).traffic == {"blue": 0}


def test_both_containers_have_logs(client: MLClient, endpoint: Endpoint) -> None:
    endpoint.deploy("blue")
    server = client.online_deployments.get_logs("blue", endpoint.name, 50)
    storage = client.online_deployments.get_logs("blue", endpoint.name, 50, container_type="storage-initializer")
    assert "init of blue" in server
    assert "Downloading model scripted:1" in storage
    last = client.online_deployments.get_logs("blue", endpoint.name, 1)
    assert len(last.split("Container logs:\n")[1].splitlines()) == 1


def test_a_script_that_fails_fails_the_deployment(client: MLClient, endpoint: Endpoint) -> None:
    with pytest.raises(HttpResponseError) as failed:
        endpoint.deploy("blue", INIT="fails")
    assert "ResourceNotReady: User container has crashed or terminated" in str(failed.value)
    assert client.online_deployments.get("blue", endpoint.name).provisioning_state == "Failed"
    assert "the weights are broken" in client.online_deployments.get_logs("blue", endpoint.name, 200)
    assert endpoint.score(azureml_model_deployment="blue").status_code == 503
    assert endpoint.deploy("blue").provisioning_state == "Succeeded", "a failed deployment can be put right"


@pytest.mark.parametrize("probe", ["liveness_probe", "readiness_probe"])
def test_a_server_that_is_never_ready_fails_the_deployment(client: MLClient, endpoint: Endpoint, probe: str) -> None:
    with pytest.raises(HttpResponseError) as failed:
        endpoint.deploy("blue", settings={probe: HASTY}, INIT="hangs")
    assert "Liveness probe failed" in str(failed.value)
    assert serving(endpoint) == []


def test_a_deployment_that_is_being_made_takes_no_change_but_can_be_deleted(
    client: MLClient, endpoint: Endpoint
) -> None:
    making = client.online_deployments.begin_create_or_update(endpoint.deployment("blue", INIT="hangs"))
    with pytest.raises(ResourceExistsError) as refused:
        endpoint.deploy("blue")
    assert refused.value.status_code == 409
    client.online_deployments.begin_delete("blue", endpoint.name).result()
    with pytest.raises(HttpResponseError) as ended:
        making.result()
    assert "OperationCanceled" in str(ended.value) or ended.value.status_code == 404
    assert serving(endpoint) == []
    with pytest.raises(ResourceNotFoundError):
        client.online_deployments.get("blue", endpoint.name)


def test_a_change_of_variables_replaces_the_process(endpoint: Endpoint) -> None:
    endpoint.deploy("blue", COLOR="navy")
    first = endpoint.process("blue")
    endpoint.deploy("blue", COLOR="azure")
    assert endpoint.score(azureml_model_deployment="blue").json()["color"] == "azure"
    assert not is_alive(first)


def test_a_change_of_tags_leaves_the_process_alone(endpoint: Endpoint) -> None:
    endpoint.deploy("blue")
    first = endpoint.process("blue")
    assert endpoint.deploy("blue", settings={"tags": {"a": "b"}}).tags == {"a": "b"}
    assert endpoint.process("blue") == first


def test_a_change_that_fails_leaves_the_old_process_serving(client: MLClient, endpoint: Endpoint) -> None:
    endpoint.deploy("blue")
    first = endpoint.process("blue")
    with pytest.raises(HttpResponseError):
        endpoint.deploy("blue", INIT="fails")
    assert client.online_deployments.get("blue", endpoint.name).provisioning_state == "Failed"
    assert endpoint.process("blue") == first


def test_instances_are_processes(client: MLClient, endpoint: Endpoint) -> None:
    endpoint.deploy("blue", settings={"instance_count": 2})
    assert client.online_deployments.get("blue", endpoint.name).instance_count == 2
    assert len(serving(endpoint)) == 2
    endpoint.deploy("blue")
    assert len(serving(endpoint)) == 1


def test_a_deployment_with_traffic_is_not_deleted(client: MLClient, endpoint: Endpoint) -> None:
    endpoint.deploy("blue")
    endpoint.route(blue=100)
    with pytest.raises(HttpResponseError) as refused:
        client.online_deployments.begin_delete("blue", endpoint.name).result()
    assert (refused.value.status_code, "live traffic" in str(refused.value)) == (400, True)
    endpoint.route(blue=0)
    client.online_deployments.begin_delete("blue", endpoint.name).result()
    assert (serving(endpoint), client.online_endpoints.get(endpoint.name).traffic) == ([], {})


def test_a_deleted_endpoint_takes_its_processes_along(client: MLClient, endpoint: Endpoint) -> None:
    endpoint.deploy("blue")
    endpoint.route(blue=100)
    process = endpoint.process("blue")
    client.online_endpoints.begin_delete(endpoint.name).result()
    assert not is_alive(process)


def test_a_registry_model_can_be_deployed(endpoint: Endpoint) -> None:
    endpoint.model = "azureml://registries/azureml/models/Phi-3-mini-4k-instruct/versions/" + stand_in_version()
    endpoint.deploy("blue")
    assert "stand_in.json" in endpoint.score(azureml_model_deployment="blue").json()["files"]


@pytest.mark.parametrize(
    "id",
    [
        "azureml:absent:1",
        "azureml://registries/azureml/models/absent/versions/1",
    ],
)
def test_an_absent_model_is_refused_at_once(emulator: Emulator, endpoint: Endpoint, id: str) -> None:
    status, error = put(emulator, endpoint, "blue", model=id)
    assert (status, error["details"][0]["code"]) == (404, "ModelNotFound")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"instanceType": "Standard_None_v9"}, "not supported"),
        ({"endpointComputeType": "Kubernetes"}, "Request is invalid"),
        ({"requestSettings": {"requestTimeout": "PT5M"}}, "Request is invalid"),
        ({"requestSettings": {"requestTimeout": "soon"}}, "Request is invalid"),
        ({"requestSettings": {"maxConcurrentRequestsPerInstance": 0}}, "Request is invalid"),
        ({"livenessProbe": {"period": "-PT1S"}}, "Request is invalid"),
        ({"environmentVariables": {"A=B": "c"}}, "Request is invalid"),
        ({"environmentVariables": {"A": "\x00"}}, "Request is invalid"),
        ({"model": None}, "Request is invalid"),
        ({"model": "azureml:../..:1"}, "Request is invalid"),
    ],
)
def test_a_bad_deployment_is_refused_at_once(
    emulator: Emulator, endpoint: Endpoint, changes: dict[str, Any], sentence: str
) -> None:
    status, error = put(emulator, endpoint, "blue", **changes)
    assert (status, sentence in error["message"]) == (400, True)


def test_a_deployment_beyond_the_quota_is_refused_at_once(
    emulator: Emulator, client: MLClient, endpoint: Endpoint
) -> None:
    with pytest.raises(HttpResponseError) as refused:
        endpoint.deploy("blue", settings={"instance_count": 21})
    assert refused.value.status_code == 400
    assert "Not enough quota available for Standard_DS3_v2" in str(refused.value)
    assert "/100. Additional needed: 104 " in str(refused.value), (
        "84 vCPUs would fit, and 20 % in whole instances do not"
    )
    with pytest.raises(ResourceNotFoundError):
        client.online_deployments.get("blue", endpoint.name)


def test_a_deployment_counts_against_the_quota_once_and_with_its_reserve(client: MLClient, endpoint: Endpoint) -> None:
    def used() -> int:
        [total] = [row for row in client.compute.list_usage() if vars(row)["name"]["value"] == "TotalDedicatedCores"]
        return int(vars(total)["currentValue"])

    before = used()
    endpoint.deploy("blue")
    endpoint.deploy("blue", settings={"request_settings": request_settings(timeout_ms=9000)})
    assert used() == before + 8, "one instance of four cores, and one that upgrades need"
    client.online_deployments.begin_delete("blue", endpoint.name).result()
    assert used() == before


def put(emulator: Emulator, endpoint: Endpoint, name: str, **changes: Any) -> tuple[int, dict[str, Any]]:
    """A PUT as it goes over the wire, with what the SDK itself would refuse."""
    token = emulator.credential().get_token("https://management.azure.com/.default").token
    properties = {"endpointComputeType": "Managed", "model": endpoint.model, "instanceType": SIZE, **changes}
    path = f"{emulator.installation.workspace_id}/onlineEndpoints/{endpoint.name}/deployments/{name}"
    answer = requests.put(
        f"https://management.azure.com{path}?api-version=2023-04-01-preview",
        json={"location": "eastus", "properties": properties},
        headers={"Authorization": f"Bearer {token}"},
        timeout=20,
    )
    return answer.status_code, answer.json().get("error", {})


def stand_in_version() -> str:
    from emulator.components.foundation import system_models

    return next(model.version for model in system_models() if model.name == "Phi-3-mini-4k-instruct")
