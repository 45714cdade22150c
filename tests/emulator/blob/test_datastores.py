"""Datastores, through the real SDK: what every workspace has, what a user adds, and the signatures they give."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

import pytest
import requests
from azure.ai.ml import MLClient
from azure.ai.ml.entities import AccountKeyConfiguration, AzureBlobDatastore
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.storage.blob import ContainerClient

from tests.emulated import Emulator


@pytest.fixture(scope="module")
def client(emulator: Emulator) -> MLClient:
    return emulator.client()


def secrets(emulator: Emulator, body: dict[str, Any], principal: str = "contributor") -> requests.Response:
    token = emulator.credential(principal).get_token("https://management.azure.com/.default").token
    path = f"{emulator.installation.workspace_id}/datastores/workspaceblobstore/listSecrets"
    return requests.post(
        f"https://management.azure.com{path}?api-version=2024-10-01-preview",
        json=body,
        headers={"Authorization": f"Bearer {token}"},
        timeout=20,
    )


def test_a_workspace_has_four_datastores(client: MLClient) -> None:
    assert [one.name for one in client.datastores.list()] == [
        "workspaceblobstore",
        "workspaceartifactstore",
        "workspaceworkingdirectory",
        "workspacefilestore",
    ]


def test_the_default_datastore_is_the_workspaces_blob_container(client: MLClient, emulator: Emulator) -> None:
    default, here = client.datastores.get_default(), emulator.installation
    assert (default.name, default.container_name) == ("workspaceblobstore", here.container)
    assert (default.account_name, default.endpoint, default.protocol) == (
        here.storage_account,
        "core.windows.net",
        "https",
    )
    assert client.datastores.get("WorkspaceArtifactStore").container_name == "azureml"


def test_its_secret_opens_the_container(client: MLClient, emulator: Emulator) -> None:
    secret = client.datastores.get_default(include_secrets=True).credentials.sas_token
    here = emulator.installation
    container = ContainerClient(f"https://{here.blob_host}", here.container, credential=secret)
    name = f"secret/{uuid.uuid4()}"
    container.upload_blob(name, b"x")
    assert container.download_blob(name).readall() == b"x"


@pytest.mark.parametrize("hours", [1, 5])
def test_its_secret_lasts_as_long_as_asked(emulator: Emulator, hours: int) -> None:
    answer = secrets(emulator, {"expirableSecret": True, "expireAfterHours": hours}).json()
    expiry = parse_qs(answer["sasToken"].removeprefix("?"))["se"][0]
    left = datetime.fromisoformat(expiry) - datetime.now(UTC)
    assert answer["secretsType"] == "Sas"
    assert hours * 3600 - 60 < left.total_seconds() <= hours * 3600


@pytest.mark.parametrize("hours", [0, -1, 10_000, "x", None, 1.5])
def test_an_odd_lifetime_is_refused(emulator: Emulator, hours: object) -> None:
    assert secrets(emulator, {"expireAfterHours": hours}).status_code == 400


def test_a_reader_gets_no_secret(emulator: Emulator) -> None:
    answer = secrets(emulator, {}, "reader")
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "AuthorizationFailed")
    assert "datastores/listSecrets/action" in answer.json()["error"]["message"]


def test_a_user_can_add_a_datastore(client: MLClient, emulator: Emulator) -> None:
    here, key = emulator.installation, "bm90IGtlcHQ="
    added = AzureBlobDatastore(
        name="mine",
        account_name=here.storage_account,
        container_name="azureml",
        description="artifacts",
        credentials=AccountKeyConfiguration(account_key=key),
    )
    assert client.datastores.create_or_update(added).container_name == "azureml"
    assert client.datastores.get("mine").description == "artifacts"
    assert key.encode() not in (here.state / "documents.sqlite-wal").read_bytes()
    client.datastores.delete("mine")
    with pytest.raises(ResourceNotFoundError):
        client.datastores.get("mine")


def test_a_datastore_reaches_no_other_account(client: MLClient) -> None:
    foreign = AzureBlobDatastore(name="foreign", account_name="elsewhere", container_name="azureml")
    with pytest.raises(HttpResponseError) as refused:
        client.datastores.create_or_update(foreign)
    assert refused.value.status_code == 400


def test_the_workspaces_own_datastores_stay(client: MLClient) -> None:
    with pytest.raises(ResourceExistsError):
        client.datastores.delete("workspaceblobstore")
    assert client.datastores.get_default().name == "workspaceblobstore"
