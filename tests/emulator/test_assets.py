"""Models, data, environments and components of the workspace, through the real SDK."""

from __future__ import annotations

import uuid
from pathlib import Path

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


def test_a_long_list_comes_in_pages(emulator: Emulator) -> None:
    here, name = emulator.installation, new_name("many")
    token = emulator.credential().get_token("https://management.azure.com/.default").token
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {token}"
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
