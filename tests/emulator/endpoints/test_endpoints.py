"""Online endpoints: their documents, keys, tokens and traffic."""

from __future__ import annotations

import pytest
import requests
from azure.ai.ml import MLClient
from azure.ai.ml.entities import ManagedOnlineEndpoint, Model
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from tests.emulated import Emulator
from tests.emulator.endpoints.conftest import Endpoint, create_endpoint


def test_an_endpoint_is_created_without_deployments(client: MLClient, endpoint: Endpoint, emulator: Emulator) -> None:
    got = client.online_endpoints.get(endpoint.name)
    here = emulator.installation
    assert got.scoring_uri == f"https://{endpoint.name}{here.scoring_suffix}/score"
    assert got.openapi_uri == f"https://{endpoint.name}{here.scoring_suffix}/swagger.json"
    assert (got.provisioning_state, got.auth_mode, got.traffic, got.location) == ("Succeeded", "key", {}, here.region)
    assert got.properties["azureml.onlineendpointid"] == got.id.lower()
    assert endpoint.name in [one.name for one in client.online_endpoints.list()]


def test_an_endpoint_keeps_its_keys_when_it_is_changed(client: MLClient, endpoint: Endpoint) -> None:
    before = endpoint.key
    changed = ManagedOnlineEndpoint(name=endpoint.name, auth_mode="key", description="changed", tags={"run": "1"})
    client.online_endpoints.begin_create_or_update(changed).result()
    got = client.online_endpoints.get(endpoint.name)
    assert (got.description, got.tags, endpoint.key) == ("changed", {"run": "1"}, before)


def test_an_endpoint_is_found_in_any_case(client: MLClient, endpoint: Endpoint) -> None:
    assert client.online_endpoints.get(endpoint.name.upper()).name == endpoint.name


def test_traffic_goes_only_to_deployments_that_exist(endpoint: Endpoint) -> None:
    with pytest.raises(HttpResponseError) as refused:
        endpoint.route(nobody=100)
    assert (refused.value.status_code, "does not exist" in str(refused.value)) == (400, True)


@pytest.mark.parametrize("traffic", [{"blue": 50}, {"blue": 101}, {"blue": -1}, {"blue": 60, "green": 60}])
def test_traffic_adds_up_to_0_or_100(split: Endpoint, traffic: dict[str, int]) -> None:
    with pytest.raises(HttpResponseError) as refused:
        split.route(**traffic)
    assert refused.value.status_code == 400
    assert split.client.online_endpoints.get(split.name).traffic == {"blue": 75, "green": 25}


def test_a_key_that_was_made_anew_replaces_the_old_one(client: MLClient, split: Endpoint) -> None:
    before = client.online_endpoints.get_keys(split.name)
    client.online_endpoints.begin_regenerate_keys(split.name, key_type="secondary").result()
    after = client.online_endpoints.get_keys(split.name)
    assert (after.primary_key == before.primary_key, after.secondary_key == before.secondary_key) == (True, False)

    def status(key: str) -> int:
        return split.score(Authorization=f"Bearer {key}").status_code

    assert (status(before.primary_key), status(after.secondary_key), status(before.secondary_key)) == (200, 200, 401)


@pytest.mark.parametrize("mode", ["aml_token", "aad_token"])
def test_an_endpoint_can_take_tokens(client: MLClient, model: Model, split: Endpoint, mode: str) -> None:
    made = create_endpoint(client, model.id, auth_mode=mode)
    made.deploy("blue")
    made.route(blue=100)
    token = client.online_endpoints.get_keys(made.name).access_token

    def status(credential: str) -> int:
        return requests.post(
            made.url, json={}, headers={"Authorization": f"Bearer {credential}"}, timeout=20
        ).status_code

    assert (status(token), status(token[:-4] + "AAAA"), status(split.key), status("")) == (200, 401, 401, 401)
    with pytest.raises(HttpResponseError):
        client.online_endpoints._online_operation.list_keys(
            resource_group_name=client.resource_group_name,
            workspace_name=str(client.workspace_name),
            endpoint_name=made.name,
        )
    client.online_endpoints.begin_delete(made.name).result()


def test_a_deleted_endpoint_is_gone_and_can_be_deleted_again(client: MLClient, model: Model) -> None:
    made = create_endpoint(client, model.id, auth_mode="key")
    client.online_endpoints.begin_delete(made.name).result()
    with pytest.raises(ResourceNotFoundError) as refused:
        client.online_endpoints.get(made.name)
    assert refused.value.error is not None
    assert refused.value.error.code == "ResourceNotFound"
    client.online_endpoints.begin_delete(made.name).result()


def test_a_reader_sees_endpoints_and_not_their_keys(emulator: Emulator, endpoint: Endpoint) -> None:
    reader = emulator.client("reader")
    assert reader.online_endpoints.get(endpoint.name).name == endpoint.name
    with pytest.raises(HttpResponseError) as refused:
        reader.online_endpoints.get_keys(endpoint.name)
    assert refused.value.error is not None
    assert (refused.value.status_code, refused.value.error.code) == (403, "AuthorizationFailed")
