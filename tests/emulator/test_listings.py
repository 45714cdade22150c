"""Lists, newest versions and deletions of everything that a workspace holds, through the real SDK."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from azure.core.exceptions import ResourceNotFoundError

from tests.emulated import Emulator

if TYPE_CHECKING:
    from azure.ai.ml import MLClient


@pytest.fixture(scope="module")
def client(emulator: Emulator) -> MLClient:
    return emulator.client()


def new_name(stem: str) -> str:
    return f"{stem}-{uuid.uuid4().hex[:8]}"


def test_workspaces_are_listed_by_group_and_by_subscription(emulator: Emulator, client: MLClient) -> None:
    here = emulator.installation
    assert [found.name for found in client.workspaces.list()] == [here.workspace]
    assert [found.resource_group for found in client.workspaces.list(scope="subscription")] == [here.resource_group]


def test_computes_are_listed_and_deleted_ones_are_not(client: MLClient) -> None:
    from azure.ai.ml.entities import AmlCompute

    name = f"c{uuid.uuid4().hex[:8]}"
    client.compute.begin_create_or_update(AmlCompute(name=name, size="Standard_NC6s_v3", max_instances=2)).result()
    found = {compute.name: compute for compute in client.compute.list()}
    assert found[name].size.lower() == "standard_nc6s_v3"
    client.compute.begin_delete(name).wait()
    assert name not in {compute.name for compute in client.compute.list()}
    with pytest.raises(ResourceNotFoundError):
        client.compute.get(name)


def test_models_and_data_are_listed_by_name_and_found_by_their_newest_version(client: MLClient, tmp_path: Path) -> None:
    from azure.ai.ml.entities import Data, Model

    (tmp_path / "file.txt").write_text("x")
    assets: list[tuple[Any, Any, str]] = [(client.models, Model, "custom_model"), (client.data, Data, "uri_file")]
    for operations, kind, type in assets:
        name = new_name("asset")
        for version in ("1", "2"):
            operations.create_or_update(kind(name=name, version=version, path=tmp_path / "file.txt", type=type))
        assert name in {found.name for found in operations.list()}
        assert {found.version for found in operations.list(name=name)} == {"1", "2"}
        assert operations.get(name=name, label="latest").version == "2"
        operations.archive(name=name)
        assert name not in {found.name for found in operations.list()}
        operations.restore(name=name)
        assert name in {found.name for found in operations.list()}


def test_environments_and_components_are_listed(client: MLClient) -> None:
    from azure.ai.ml import command
    from azure.ai.ml.entities import Environment

    environment, component = new_name("env"), new_name("part").replace("-", "_")
    client.environments.create_or_update(Environment(name=environment, version="1", image="ubuntu:24.04"))
    assert environment in {found.name for found in client.environments.list()}
    assert [found.version for found in client.environments.list(name=environment)] == ["1"]

    made: Any = command(name=component, command="true", environment=f"{environment}@latest").component
    client.components.create_or_update(made, version="1")
    assert component in {found.name for found in client.components.list()}
    assert [found.version for found in client.components.list(name=component)] == ["1"]
    assert client.components.get(component, label="latest").version == "1"


def test_the_registrys_models_and_components_are_listed(emulator: Emulator) -> None:
    from azure.ai.ml import MLClient

    registry = MLClient(emulator.credential(), registry_name="azureml", enable_telemetry=False)
    assert {"Phi-3-mini-4k-instruct", "SmolLM2-135M-Instruct"} <= {found.name for found in registry.models.list()}
    newest = registry.components.get("chat_completion_pipeline", label="latest")
    assert registry.components.get("chat_completion_pipeline", version=newest.version).id == newest.id
    assert "chat_completion_pipeline" in {found.name for found in registry.components.list()}


def test_jobs_are_listed_archived_and_restored(client: MLClient) -> None:
    from azure.ai.ml.constants import ListViewType

    from tests.emulator.jobs.commands import line, wait

    def listed(view: ListViewType = ListViewType.ACTIVE_ONLY) -> set[str]:
        # The SDK lists a job that it cannot read (another test's, sent without it) as None.
        return {str(found.name) for found in client.jobs.list(list_view_type=view) if found is not None}

    job = client.jobs.create_or_update(line("true"))
    wait(client, job.name)
    client.jobs.archive(job.name)
    assert job.name not in listed()
    assert job.name in listed(ListViewType.ARCHIVED_ONLY)
    client.jobs.restore(job.name)
    assert job.name in listed()
