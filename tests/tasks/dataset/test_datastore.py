"""Data assets and datastore paths, with the real SDK on the emulator."""

from pathlib import Path

import pytest

from blocks.azure_ml_workspace import AzureMLWorkspace
from tasks.sampling.errors import SourceUnavailable
from tasks.sampling.parameters import DatasetParameters
from tasks.sampling.reading import SplitReader
from tasks.sampling.sample import sample
from tasks.sampling.source import resolve
from tests.emulated import Emulator
from tests.tasks.dataset.made import conversations, dataset, only_train, read_jsonl, write_jsonl


@pytest.fixture(scope="module")
def folder_asset(workspace: AzureMLWorkspace, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder of Parquet files, registered as version 3 of an asset. Its path on the datastore."""
    from azure.ai.ml.entities import Data

    made = dataset(tmp_path_factory.mktemp("folder"))
    asset = workspace.client().data.create_or_update(Data(name="chats", version="3", path=str(made), type="uri_folder"))
    return str(asset.path)


@pytest.fixture(scope="module")
def file_asset(workspace: AzureMLWorkspace, tmp_path_factory: pytest.TempPathFactory) -> str:
    """One JSON Lines file, registered. Its name."""
    from azure.ai.ml.entities import Data

    made = write_jsonl(tmp_path_factory.mktemp("file") / "some_rows.jsonl", conversations(700))
    workspace.client().data.create_or_update(Data(name="rows", version="1", path=str(made), type="uri_file"))
    return "azureml:rows:1"


@pytest.mark.parametrize("source", ["azureml:chats:3", "azureml:chats@latest"])
def test_a_data_asset_is_sampled(source: str, workspace: AzureMLWorkspace, folder_asset: str, tmp_path: Path) -> None:
    sampled = sample(DatasetParameters(source=source, percent=50, validation_percent=0), tmp_path, workspace=workspace)
    assert read_jsonl(sampled.train.path) == conversations(20)
    assert sampled.revision.startswith("blobs-")


def test_a_datastore_path_is_sampled(workspace: AzureMLWorkspace, folder_asset: str, tmp_path: Path) -> None:
    long = sample(DatasetParameters(source=folder_asset, percent=50), tmp_path, workspace=workspace)
    datastore, _, path = folder_asset.partition("/datastores/")[2].partition("/paths/")
    short = f"azureml://datastores/{datastore}/paths/{path}"
    again = sample(DatasetParameters(source=short, percent=50), tmp_path, workspace=workspace)
    assert again.sha256 == long.sha256


def test_a_file_asset_is_the_only_split_that_is_asked_for(
    workspace: AzureMLWorkspace, file_asset: str, tmp_path: Path
) -> None:
    sampled = sample(only_train(file_asset), tmp_path, workspace=workspace)
    assert read_jsonl(sampled.train.path) == conversations(700)
    assert sample(only_train(file_asset), tmp_path, workspace=workspace).reused


def test_an_asset_that_is_not_there_is_refused(workspace: AzureMLWorkspace, folder_asset: str, tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailable, match="has no data asset azureml:chats:9"):
        sample(DatasetParameters(source="azureml:chats:9"), tmp_path, workspace=workspace)


def test_a_datastore_or_a_path_that_is_not_there_is_refused(workspace: AzureMLWorkspace, tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailable, match="has no datastore elsewhere"):
        sample(DatasetParameters(source="azureml://datastores/elsewhere/paths/x"), tmp_path, workspace=workspace)
    with pytest.raises(SourceUnavailable, match="holds no data: there is nothing at that path"):
        sample(
            DatasetParameters(source="azureml://datastores/workspaceblobstore/paths/nothing/here"),
            tmp_path,
            workspace=workspace,
        )


def test_a_path_that_may_not_be_listed_is_refused(
    emulator: Emulator, workspace: AzureMLWorkspace, tmp_path: Path
) -> None:
    source = "azureml://datastores/workspaceblobstore/paths/hidden"
    refusal = {"kind": "status", "status": 403, "code": "AuthorizationPermissionMismatch", "message": "Not allowed."}
    with (
        emulator.fault({"path": "*.blob.core.windows.net/*"}, refusal),
        pytest.raises(SourceUnavailable, match=r"cannot be listed: .* has the role Storage Blob Data Reader"),
    ):
        sample(only_train(source), tmp_path / "out", workspace=workspace)


def test_a_blob_that_changes_while_it_is_read_is_refused(
    workspace: AzureMLWorkspace, file_asset: str, tmp_path: Path
) -> None:
    from azure.ai.ml._artifacts._artifact_utilities import get_datastore_info
    from azure.storage.blob import ContainerClient

    client = workspace.client()
    info = get_datastore_info(client.datastores, "workspaceblobstore")
    container = ContainerClient(info["account_url"], info["container_name"], credential=info["credential"])
    container.upload_blob("changing/rows.jsonl", write_jsonl(tmp_path / "a", conversations(3)).read_bytes())
    source = resolve("azureml://datastores/workspaceblobstore/paths/changing/", ["train_sft"], workspace=workspace)
    container.upload_blob(
        "changing/rows.jsonl", write_jsonl(tmp_path / "b", conversations(3, 7)).read_bytes(), overwrite=True
    )
    with pytest.raises(SourceUnavailable, match=r"changing/rows\.jsonl was changed while it was sampled"):
        SplitReader("train_sft", source, DatasetParameters())


def test_a_workspace_source_needs_a_workspace(tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailable, match="lies in a workspace, but the run has none"):
        sample(DatasetParameters(source="azureml:chats:3"), tmp_path)
