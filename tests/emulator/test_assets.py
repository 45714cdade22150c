"""Models, data, environments and components of the workspace, through the real SDK."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest
import requests
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from tests.emulated import Emulator


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "MLmodel").write_text("flavors: {}\n")
    (folder / "weights.bin").write_bytes(b"0123456789" * 1000)
    return folder


def new_name(stem: str) -> str:
    return f"{stem}-{uuid.uuid4().hex[:8]}"


def test_a_model_is_uploaded_registered_found_by_label_archived_and_downloaded(
    emulator: Emulator, model_folder: Path, tmp_path: Path
) -> None:
    from azure.ai.ml.entities import Model

    client, name = emulator.client(), new_name("model")
    first = client.models.create_or_update(Model(path=model_folder, name=name, type="mlflow_model", tags={"a": "1"}))
    second = client.models.create_or_update(Model(path=model_folder, name=name, type="mlflow_model"))
    assert (first.version, second.version) == ("1", "2"), "versions count up when none is given"
    assert client.models.get(name, label="latest").version == "2"
    assert {m.version for m in client.models.list(name=name)} == {"1", "2"}

    client.models.archive(name=name, version="2")
    assert [m.version for m in client.models.list(name=name)] == ["1"]
    client.models.restore(name=name, version="2")
    assert {m.version for m in client.models.list(name=name)} == {"1", "2"}

    client.models.download(name=name, version="1", download_path=tmp_path / "got")
    [weights] = (tmp_path / "got").rglob("weights.bin")
    assert weights.read_bytes() == (model_folder / "weights.bin").read_bytes()


def test_a_versions_files_cannot_be_changed_but_its_tags_can(
    emulator: Emulator, model_folder: Path, tmp_path: Path
) -> None:
    from azure.ai.ml.entities import Model

    client, name = emulator.client(), new_name("model")
    made = client.models.create_or_update(Model(path=model_folder, name=name, version="7", type="mlflow_model"))
    made.tags = {"stage": "good"}
    assert client.models.create_or_update(made).tags == {"stage": "good"}
    other = tmp_path / "other"
    other.mkdir()
    (other / "MLmodel").write_text("flavors: {other: {}}\n")
    with pytest.raises(HttpResponseError, match="already exists"):
        client.models.create_or_update(Model(path=other, name=name, version="7", type="mlflow_model"))


def test_a_model_of_a_job_that_is_not_there_is_refused(emulator: Emulator) -> None:
    from azure.ai.ml.entities import Model

    path = "azureml://jobs/no-such-job/outputs/trained_model"
    with pytest.raises(HttpResponseError, match="does not exist"):
        emulator.client().models.create_or_update(
            Model(path=path, name=new_name("m"), version="1", type="mlflow_model")
        )


def test_what_is_not_there_gets_azures_two_part_error(emulator: Emulator) -> None:
    with pytest.raises(ResourceNotFoundError) as missing:
        emulator.client().models.get("no-such-model", label="latest")
    assert "ModelNotFound" in str(missing.value)
    assert "Model container with name: no-such-model not found." in str(missing.value)


def test_data_and_environments_are_kept_by_version(emulator: Emulator, tmp_path: Path) -> None:
    from azure.ai.ml.entities import Data, Environment

    client, name = emulator.client(), new_name("rows")
    file = tmp_path / "rows.jsonl"
    file.write_text('{"messages": []}\n')
    data = client.data.create_or_update(Data(name=name, version="abc", path=str(file), type="uri_file"))
    assert client.data.get(name, version="abc").path == data.path
    assert data.path.endswith("rows.jsonl") and "/datastores/workspaceblobstore/paths/LocalUpload/" in data.path
    environment = client.environments.create_or_update(Environment(name=new_name("env"), image="python:3.11"))
    assert client.environments.get(environment.name, version=environment.version).image == "python:3.11"
    assert name in [each.name for each in client.data.list()]


def test_a_component_is_kept_and_found_again(emulator: Emulator) -> None:
    from azure.ai.ml import Input, command

    client, name = emulator.client(), new_name("component").replace("-", "_")
    component = command(
        name=name,
        command="echo ${{inputs.word}}",
        inputs={"word": Input(type="string", default="hello")},
        environment="azureml:python:1",
    ).component
    made = client.components.create_or_update(component, version="1")
    assert client.components.get(name, version=made.version).command == "echo ${{inputs.word}}"


@pytest.fixture
def session(emulator: Emulator) -> requests.Session:
    """Who calls ARM without the SDK."""
    session = requests.Session()
    token = emulator.credential().get_token("https://management.azure.com/.default").token
    session.headers["Authorization"] = f"Bearer {token}"
    return session


STORED = "azureml://datastores/workspaceblobstore/paths/somewhere"
CONTENTS: dict[str, dict[str, Any]] = {
    "models": {"modelUri": STORED, "modelType": "custom_model"},
    "data": {"dataUri": STORED, "dataType": "uri_folder"},
    "environments": {"image": "python:3.11"},
    "components": {"componentSpec": {"type": "command", "command": "true", "environment": "azureml:python:1"}},
    "codes": {"codeUri": STORED},
}


@pytest.mark.parametrize(
    ("name", "version", "said"),
    [
        ("qwen3.8-27b", "1", "hold only letters, digits, dashes and underscores"),
        ("m", "4ume3nsw", "must be a positive integer"),
    ],
)
def test_the_sdk_passes_on_what_is_wrong_with_a_name_or_version(
    name: str, version: str, said: str, emulator: Emulator, model_folder: Path
) -> None:
    from azure.ai.ml.entities import Model

    with pytest.raises(HttpResponseError, match=said) as refused:
        emulator.client().models.create_or_update(Model(name=name, version=version, path=str(model_folder)))
    assert refused.value.status_code == 400


def test_the_sdk_passes_on_what_is_wrong_with_an_experiments_name(emulator: Emulator) -> None:
    from azure.ai.ml import command
    from azure.ai.ml.entities import Environment

    job = command(command="echo", environment=Environment(image="python:3.11"), compute="c", experiment_name="Phi-3.5")
    with pytest.raises(HttpResponseError, match="Experiment name must be 1-256 characters") as refused:
        emulator.client().jobs.create_or_update(job)
    assert refused.value.status_code == 400


@pytest.mark.parametrize("kind", CONTENTS)
def test_names_are_archived_and_versions_deleted_of_every_kind_alike(
    kind: str, emulator: Emulator, session: requests.Session
) -> None:
    collection = f"https://management.azure.com{emulator.installation.workspace_id}/{kind}"
    name = new_name("asset").replace("-", "_")

    def ask(method: str, path: str, properties: dict[str, Any] | None = None) -> requests.Response:
        body = None if properties is None else {"properties": properties}
        return session.request(method, f"{collection}{path}?api-version=1", json=body, timeout=10)

    def listed() -> set[str]:
        return {found["name"] for found in ask("GET", "").json()["value"]}

    assert [ask("PUT", f"/{name}/versions/{version}", CONTENTS[kind]).status_code for version in "12"] == [201, 201]
    assert name in listed()
    assert ask("GET", f"/{name}").json()["properties"]["latestVersion"] == "2"

    assert ask("PUT", f"/{name}", {"isArchived": True}).json()["properties"]["isArchived"] is True
    assert name not in listed()
    assert ask("PUT", f"/{name}", {"isArchived": False}).json()["properties"]["isArchived"] is False
    assert name in listed()

    assert ask("DELETE", f"/{name}/versions/2").status_code == 200
    assert ask("DELETE", f"/{name}/versions/2").status_code == 204, "what is gone is gone"
    assert ask("GET", f"/{name}/versions/2").status_code == 404
    assert [found["name"] for found in ask("GET", f"/{name}/versions").json()["value"]] == ["1"]
    assert ask("GET", f"/{name}").json()["properties"]["latestVersion"] == "1"


@pytest.mark.parametrize("kind", ["codes", "models", "data"])
def test_an_upload_is_begun_into_a_place_of_its_own_that_its_signature_opens(
    kind: str, emulator: Emulator, session: requests.Session
) -> None:
    version = f"{emulator.installation.workspace_id}/{kind}/{new_name('asset')}/versions/1"
    begun = [
        session.post(
            f"https://management.azure.com{version}/startpendingupload?api-version=1", json={}, timeout=10
        ).json()
        for _ in range(2)
    ]
    places = [answer["blobReferenceForConsumption"] for answer in begun]
    assert places[0]["blobUri"] != places[1]["blobUri"]
    address, signature = places[0]["credential"]["sasUri"].split("?")
    assert address == places[0]["blobUri"]
    sent: dict[str, Any] = {"data": b"weights", "headers": {"x-ms-blob-type": "BlockBlob"}, "timeout": 10}
    assert requests.put(f"{address}/model.bin?{signature}", **sent).status_code == 201
    assert requests.get(f"{address}/model.bin?{signature}", timeout=10).content == b"weights"
    elsewhere = f"{places[1]['blobUri']}/model.bin?{signature}"
    assert requests.put(elsewhere, **sent).status_code == 403, "a signature opens its own place only"


def test_a_long_list_comes_in_pages(emulator: Emulator, session: requests.Session) -> None:
    here, name = emulator.installation, new_name("many")
    base = f"https://management.azure.com{here.workspace_id}/environments/{name}/versions"
    for version in range(230):
        session.put(
            f"{base}/{version}?api-version=1", json={"properties": {"image": "x"}}, timeout=10
        ).raise_for_status()
    found, pages, url = [], 0, f"{base}?api-version=1"
    while url:
        body = session.get(url, timeout=10).json()
        found += [item["name"] for item in body["value"]]
        url, pages = body.get("nextLink"), pages + 1
    assert found == [str(version) for version in range(230)]
    assert pages == 3
