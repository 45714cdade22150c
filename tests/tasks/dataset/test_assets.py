"""Samples as data assets, with the real SDK on the emulator."""

from pathlib import Path

import pytest

from blocks.azure_ml_workspace import AzureMLWorkspace
from tasks.sampling.assets import register_data_assets
from tasks.sampling.errors import DatasetError
from tasks.sampling.parameters import DatasetParameters
from tasks.sampling.sample import sample
from tests.tasks.dataset.made import conversations, dataset, sample_all, write_parquet


def test_a_file_becomes_a_version_named_by_its_content(workspace: AzureMLWorkspace, tmp_path: Path) -> None:
    sampled = sample_all(dataset(tmp_path / "some chats"), tmp_path / "out", percent=50)
    client = workspace.client()
    paths = register_data_assets(client, sampled)
    assert paths["train"] == f"azureml:some-chats-train:{sampled.train.sha256[:20]}"
    assert set(paths) == {"train", "validation", "test", "score"}
    asset = client.data.get("some-chats-train", version=sampled.train.sha256[:20])
    assert (asset.type, asset.tags["sha256"], asset.tags["rows"]) == ("uri_file", sampled.train.sha256, "18")


def test_an_unchanged_file_is_not_uploaded_again(workspace: AzureMLWorkspace, tmp_path: Path) -> None:
    made = dataset(tmp_path / "twice")
    client = workspace.client()
    before = register_data_assets(client, sample_all(made, tmp_path / "out", percent=50))
    write_parquet(made / "data/train_sft-00000-of-00002.parquet", conversations(20, 7000))
    again = register_data_assets(client, sample_all(made, tmp_path / "out", percent=50))
    assert before["train"] != again["train"]
    assert before["test"] == again["test"]
    versions = {name: len(list(client.data.list(name))) for name in ("twice-train", "twice-test")}
    assert versions == {"twice-train": 2, "twice-test": 1}


def test_a_file_that_was_changed_is_not_registered_under_its_hash(workspace: AzureMLWorkspace, tmp_path: Path) -> None:
    sampled = sample_all(dataset(tmp_path / "changed"), tmp_path / "out", percent=50)
    with sampled.train.path.open("ab") as file:
        file.write(b"{}\n")
    with pytest.raises(DatasetError, match=r"train\.jsonl was changed after it was sampled"):
        register_data_assets(workspace.client(), sampled)


def test_a_registered_sample_can_be_sampled_again(workspace: AzureMLWorkspace, tmp_path: Path) -> None:
    sampled = sample_all(dataset(tmp_path / "round"), tmp_path / "out", percent=100, validation_percent=0)
    source = register_data_assets(workspace.client(), sampled)["train"]
    params = DatasetParameters(source=source, percent=100, validation_percent=0, test_split=None, score_split=None)
    assert sample(params, tmp_path / "out", workspace=workspace).train.sha256 == sampled.train.sha256
