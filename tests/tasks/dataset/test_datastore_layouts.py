"""Data assets and datastore paths with cards, folders and splits: the files are those that `datasets` takes of a local folder."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copytree
from typing import TYPE_CHECKING

import pytest

from blocks.azure_ml_workspace import AzureMLWorkspace
from tasks.sampling.datastore import marks_a_folder
from tasks.sampling.errors import SourceUnavailable, UnreadableFile
from tasks.sampling.parameters import DatasetParameters
from tasks.sampling.results import SampledDataset
from tasks.sampling.sample import MANIFEST, sample
from tasks.sampling.source import resolve
from tests.emulated import Emulator, keep_calls
from tests.tasks.dataset.made import conversations, only_train, read_jsonl, write_jsonl, write_parquet
from tests.tasks.dataset.test_hub import ULTRACHAT_CARD, ULTRACHAT_FILES
from tests.tasks.dataset.test_layout import MadeTree, Splits, config, datasets_finds, ours_finds, shards, split

if TYPE_CHECKING:
    from azure.storage.blob import ContainerClient

DATASTORE = "azureml://datastores/workspaceblobstore/paths/"


@pytest.fixture(scope="module")
def container(workspace: AzureMLWorkspace) -> "ContainerClient":
    """What lies behind the workspace's own datastore."""
    from azure.ai.ml._artifacts._artifact_utilities import get_datastore_info
    from azure.storage.blob import ContainerClient

    info = get_datastore_info(workspace.client().datastores, "workspaceblobstore")
    return ContainerClient(info["account_url"], info["container_name"], credential=info["credential"])


def uploaded(folder: Path, container: "ContainerClient", path: str) -> str:
    """Copies a folder to a path of the datastore, as other tools than Azure ML's do. The source that it is."""
    for file in (file for file in folder.rglob("*") if file.is_file()):
        container.upload_blob(f"{path}/{file.relative_to(folder).as_posix()}", file.read_bytes(), overwrite=True)
    return f"{DATASTORE}{path}"


def registered(name: str, path: Path | str, workspace: AzureMLWorkspace) -> str:
    """Makes a data asset of a folder, which the SDK uploads where it is a local one. Its path on the datastore."""
    from azure.ai.ml.entities import Data

    asset = Data(name=name, version="1", path=str(path), type="uri_folder")
    return str(workspace.client().data.create_or_update(asset).path).partition("/paths/")[2].rstrip("/")


@contextmanager
def reads(emulator: Emulator, path: str) -> Iterator[set[str]]:
    """The files below a path of the datastore that are read meanwhile."""
    names: set[str] = set()
    keep_calls()
    yield names
    calls = [call["path"] for call in emulator.ask("GET", "/calls") if call["method"] == "GET"]
    names.update(asked.partition(f"/{path}/")[2] for asked in calls if f"/{path}/" in asked)


def found(source: str, splits: list[str], workspace: AzureMLWorkspace, subset: str | None = None) -> Splits:
    """The files of each split by ours."""
    its = resolve(source, splits, subset=subset, workspace=workspace).splits
    return {split: [file.name for file in files] for split, files in its.items()}


def refused(source: str, workspace: AzureMLWorkspace, subset: str | None = None) -> str:
    """Why a source is refused, in words that do not tell where it lies."""
    with pytest.raises(SourceUnavailable) as refusal:
        resolve(source, ["train"], subset=subset, workspace=workspace)
    return str(refusal.value).replace(source, "SOURCE")


TONGUES = {"chats/1.parquet": 0, "chats/2.parquet": 100, "held/1.parquet": 200, "held/2.parquet": 300}
"""Files whose names tell nothing, and the number of the first conversation of each."""


@pytest.fixture(scope="module")
def tongues(workspace: AzureMLWorkspace, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An asset whose card tells of two subsets, none of them the default. Its path on the datastore."""
    configs = [
        config(name, split("train", f"chats/{number}.parquet"), split("test", [f"held/{number}.*"]))
        for number, name in enumerate(["en", "de"], start=1)
    ]
    folder = MadeTree(list(TONGUES), configs).write(tmp_path_factory.mktemp("tongues") / "made")
    for name, first in TONGUES.items():
        write_parquet(folder / name, conversations(12, first))
    return registered("tongues", folder, workspace)


def test_of_two_subsets_one_must_be_named(tongues: str, emulator: Emulator, workspace: AzureMLWorkspace) -> None:
    with reads(emulator, tongues) as names:
        told = refused("azureml:tongues:1", workspace)
        assert told == "SOURCE has 2 subsets: en, de. Name the one that is meant in subset."
        told = refused("azureml:tongues:1", workspace, subset="fr")
        assert told == "SOURCE has 2 subsets: en, de; there is none called fr. Name one of them in subset."
    assert names == {"README.md"}


@pytest.mark.parametrize(("subset", "number"), [("en", 1), ("de", 2)])
def test_only_the_subset_that_is_named_is_read(
    subset: str, number: int, tongues: str, emulator: Emulator, workspace: AzureMLWorkspace, tmp_path: Path
) -> None:
    chats, held = f"chats/{number}.parquet", f"held/{number}.parquet"
    params = only_train("azureml:tongues:1", train_split="train", test_split="test", subset=subset)
    with reads(emulator, tongues) as names:
        sampled = sample(params, tmp_path, workspace=workspace)
    assert names == {"README.md", chats, held}
    assert sampled.subset == subset
    assert read_jsonl(sampled.train.path) == conversations(12, TONGUES[chats])
    assert sampled.test is not None
    assert read_jsonl(sampled.test.path) == conversations(12, TONGUES[held])


def test_the_manifest_lists_the_files_of_a_card_s_default(
    container: "ContainerClient", workspace: AzureMLWorkspace, tmp_path: Path
) -> None:
    files = ["b/2.jsonl", "b/10.jsonl", "a/other.jsonl"]
    made = MadeTree([*files, "c.jsonl"], [config("rated", split("train", ["b/*", "a/*"]), default=True)])
    folder = made.write(tmp_path / "made")
    sizes = {
        name: write_jsonl(folder / name, conversations(place + 2, 100 * place)).stat().st_size
        for place, name in enumerate(made.files)
    }
    source = uploaded(folder, container, "layouts/rated")
    sampled = sample(only_train(source, train_split="train"), tmp_path / "out", workspace=workspace)
    expected = datasets_finds(folder, described=True)["train"]
    assert sorted(expected) == sorted(files)
    assert [(file.name, file.bytes) for file in sampled.train.files] == [(name, sizes[name]) for name in expected]
    assert (sampled.subset, sampled.train.source_rows) == ("rated", 9)
    written = SampledDataset.model_validate_json((sampled.train.path.parent / MANIFEST).read_bytes())
    assert written == sampled


def test_without_a_card_a_subset_is_a_folder(
    emulator: Emulator, container: "ContainerClient", workspace: AzureMLWorkspace, tmp_path: Path
) -> None:
    write_jsonl(tmp_path / "made/english/train.jsonl", conversations(4))
    write_jsonl(tmp_path / "made/german/train.jsonl", conversations(5, 100))
    source = uploaded(tmp_path / "made", container, "layouts/folders")
    uploaded(tmp_path / "made", container, "layouts/folders-of-old/french")
    told = refused(source, workspace)
    assert "Name the folder that is meant in subset, one of english, german; or say" in told
    told = refused(source, workspace, subset="french")
    assert told == (
        "SOURCE has no subset french, and no folder of that name. Name one of its folders, english, german, or leave subset empty."
    )
    with reads(emulator, "layouts/folders") as names:
        params = only_train(source, train_split="train", subset="german")
        sampled = sample(params, tmp_path / "out", workspace=workspace)
    assert names == {"german/train.jsonl"}
    assert sampled.subset == "german"
    assert read_jsonl(sampled.train.path) == conversations(5, 100)


@pytest.fixture(scope="module")
def saved(workspace: AzureMLWorkspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of save_to_disk, which is the asset azureml:saved:1 as well."""
    import datasets

    folder = tmp_path_factory.mktemp("saved") / "made"
    made = {
        "train": datasets.Dataset.from_list(conversations(30)),
        "test": datasets.Dataset.from_list(conversations(5, 100)),
    }
    datasets.DatasetDict(made).save_to_disk(str(folder), num_shards={"train": 2, "test": 1})
    registered("saved", folder, workspace)
    return folder


def test_a_folder_of_save_to_disk_gives_the_rows_it_gives_locally(
    saved: Path, workspace: AzureMLWorkspace, tmp_path: Path
) -> None:
    splits = {"train_split": "train", "test_split": "test"}
    sampled = sample(only_train("azureml:saved:1", **splits), tmp_path / "asset", workspace=workspace)
    local = sample(only_train(saved, **splits), tmp_path / "local")
    assert sampled.test is not None and local.test is not None
    assert read_jsonl(sampled.train.path) == read_jsonl(local.train.path) == conversations(30)
    assert read_jsonl(sampled.test.path) == read_jsonl(local.test.path) == conversations(5, 100)
    assert sampled.sha256 == local.sha256
    assert sampled.train.files == local.train.files
    assert [file.name for file in sampled.train.files] == [f"train/{name}" for name in shards("data", 2, ".arrow")]
    assert refused("azureml:saved:1", workspace, subset="en") == refused(str(saved), workspace, subset="en")


@pytest.mark.parametrize("lost", ["train/state.json", "test/state.json", "dataset_dict.json", "train/*-00001-*"])
def test_a_folder_of_save_to_disk_is_refused_as_it_is_locally(
    lost: str, saved: Path, container: "ContainerClient", workspace: AzureMLWorkspace, tmp_path: Path
) -> None:
    folder = Path(copytree(saved, tmp_path / "made"))
    [missing] = folder.glob(lost)
    missing.unlink()
    source = uploaded(folder, container, f"layouts/incomplete-{missing.name}-of-{missing.parent.name}")
    told = refused(source, workspace)
    name = missing.relative_to(folder).as_posix()
    assert told == f"SOURCE was written by save_to_disk and is incomplete: {name} is missing. Copy it again."
    assert told == refused(str(folder), workspace)


@pytest.mark.parametrize("card", [True, False], ids=["with its card", "without"])
def test_ultrachat_under_its_real_names_is_sampled_with_the_flow_s_defaults(
    card: bool, emulator: Emulator, container: "ContainerClient", workspace: AzureMLWorkspace, tmp_path: Path
) -> None:
    folder, path = tmp_path / "made", f"layouts/ultrachat-{card}"
    for name, first in ULTRACHAT_FILES.items():
        write_parquet(folder / name, conversations(100, first, turns=3 if "gen-" in name else 2), group_rows=20)
    if card:
        (folder / "README.md").write_text(ULTRACHAT_CARD)
    source = uploaded(folder, container, path)
    with reads(emulator, path) as names:
        sampled = sample(DatasetParameters(source=source), tmp_path / "out", workspace=workspace)
    assert sampled.validation and sampled.test and sampled.score
    rows = read_jsonl(sampled.train.path) + read_jsonl(sampled.validation.path)
    assert sorted(rows, key=lambda row: int(row["prompt"].split()[1].split(".")[0])) == conversations(15)
    assert read_jsonl(sampled.test.path) == conversations(5, 3000)
    assert read_jsonl(sampled.score.path) == conversations(5, 7000, turns=3)
    needed = {name for name in ULTRACHAT_FILES if "train_gen" not in name}
    assert {file.name for its in sampled.splits().values() for file in its.files} == needed
    assert names == (needed | {"README.md"} if card else needed)
    four = ["train_sft", "test_sft", "train_gen", "test_gen"]
    assert found(source, four, workspace) == {
        split: [name for name in ULTRACHAT_FILES if f"/{split}-" in name] for split in four
    }


@pytest.mark.parametrize("card", ["README.md", ".huggingface.yaml"])
@pytest.mark.parametrize(
    "named",
    ["../x.jsonl", "inner/../../x.jsonl", "/layouts/x.jsonl", f"{DATASTORE}layouts/x.jsonl", "https://127.0.0.1:9/x.jsonl"],
)  # fmt: skip
def test_a_card_does_not_lead_out_of_the_datastore_s_path(
    card: str, named: str, emulator: Emulator, container: "ContainerClient", workspace: AzureMLWorkspace, tmp_path: Path
) -> None:
    path = f"layouts/led-by-{card.strip('.')}"
    outside = write_jsonl(tmp_path / "x.jsonl", conversations(2))
    container.upload_blob("layouts/x.jsonl", outside.read_bytes(), overwrite=True)
    made = MadeTree(["chats.jsonl"], [config("default", data_files=["chats.jsonl", named])], card)
    folder = made.write(tmp_path / "made")
    write_jsonl(folder / "chats.jsonl", conversations(2, 100))
    source = uploaded(folder, container, path)
    with reads(emulator, "layouts") as names:
        told = refused(source, workspace)
    assert told.startswith(
        f"The dataset card of SOURCE names {named}, which is not a file of the dataset. Copy it there"
    )
    assert told == refused(str(folder), workspace)
    assert {f"layouts/{name}" for name in names} == {f"{path}/{card}"}


BESIDE = [
    ".gitattributes", ".hidden.jsonl", ".git/train.jsonl", ".cache/huggingface/download/train.jsonl.metadata", "LICENSE",
    "__pycache__/train.jsonl", "config.json", "images/logo.png", "CONTRIBUTING.md",
]  # fmt: skip

TREES = {
    "keywords": MadeTree(["train.jsonl", "test.jsonl", "my-valid-chats.jsonl", *BESIDE]),
    "numbered": MadeTree([*shards("data/train_sft", 3), *shards("data/test_sft", 1, hashes=True), *BESIDE]),
    "folders": MadeTree(["data/train/b.csv.gz", "data/train/B.csv.gz", "data/train/a-10.csv.gz", "data/train/a-9.csv.gz",
                         "data/dev/a.csv.gz"]),
    "no split's name": MadeTree(["2026-01.jsonl", "2026-02.jsonl", "README.md"]),
    "any text": MadeTree(["data/train größe+1.jsonl", "data/train größe+2.jsonl", "data/test a%20b&c=d.jsonl",
                          "data/dev #1;,.jsonl"]),
    "globs": MadeTree(["b/2.csv", "b/1.csv", "a/1.csv", "c.csv", "d.jsonl"],
                      [config("default", split("train", ["b/*.csv", "**/1.csv"]), split("held.out", "c.csv"))]),
    "subset": MadeTree(["en/train.jsonl", "en/test.jsonl", "de/train.jsonl"],
                       [config("en", data_dir="en", default=True), config("de", data_dir="de")], subset="de"),
    "default": MadeTree(["en/train.jsonl", "en/test.jsonl", "de/train.jsonl"],
                        [config("de", data_dir="de"), config("en", data_dir="en", default=True)]),
    "folder of many": MadeTree(["en/train.jsonl", "en/test.jsonl", "de/train.jsonl", "train.jsonl"], subset="en"),
    "code": MadeTree(["dataset.py", "outline.py", "train.jsonl"]),
    "YAML": MadeTree(["chats.jsonl", "more.jsonl", "README.md"], [config("default", split("train", "more.*"))],
                     ".huggingface.yaml"),
}  # fmt: skip
REFUSED = {
    "two formats": MadeTree(["data/train.csv", "data/train.jsonl"]),
    "unlike": MadeTree(["train.jsonl", "train.rejected.jsonl"]),
    "incomplete": MadeTree(shards("data/train", 3)[1:]),
    "no data": MadeTree(["notes.txt", "train.txt", "README.md"]),
    "not there": MadeTree(["chats.jsonl"], [config("default", data_files="rows.jsonl")]),
    "archive": MadeTree(["train.zip"]),
    "script": MadeTree(["script.py", "train.jsonl"]),
}


@pytest.fixture(scope="module")
def made(workspace: AzureMLWorkspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the trees, each of which is the asset azureml:NAME:1 as well: uploaded as one."""
    folder = tmp_path_factory.mktemp("trees") / "made"
    for name, tree in {**TREES, **REFUSED}.items():
        for file in tree.write(folder / name).rglob("*"):
            if file.is_file() and file.stat().st_size == 0:
                file.write_text("{}\n")
    path = registered("trees", folder, workspace)
    for name in (*TREES, *REFUSED):
        registered(asset(name), f"{DATASTORE}{path}/{name}/", workspace)
    return folder


def asset(name: str) -> str:
    """What the asset of a tree is called."""
    return name.replace(" ", "-").replace("'", "")


@pytest.mark.parametrize("name", TREES)
def test_of_an_asset_the_files_are_taken_that_datasets_takes_of_the_folder(
    name: str, made: Path, workspace: AzureMLWorkspace
) -> None:
    tree = TREES[name]
    theirs = datasets_finds(made / name, tree.subset, described=bool(tree.configs))
    assert found(f"azureml:{asset(name)}:1", list(theirs), workspace, tree.subset) == theirs
    assert ours_finds(made / name, theirs, tree.subset) == theirs


@pytest.mark.parametrize("name", REFUSED)
def test_an_asset_is_refused_as_the_folder_is(name: str, made: Path, workspace: AzureMLWorkspace) -> None:
    told = refused(f"azureml:{asset(name)}:1", workspace)
    of_the_folder = refused(str(made / name), workspace)
    assert told == of_the_folder.replace("name one file or a glob as", "give the path of one file as")


def test_a_kept_sample_serves_until_a_blob_of_its_splits_changes(
    emulator: Emulator, container: "ContainerClient", workspace: AzureMLWorkspace, tmp_path: Path
) -> None:
    configs = [config("default", split("train", "chats-*"), split("test", "held.jsonl"))]
    folder = MadeTree(["chats-1.jsonl", "chats-2.jsonl", "held.jsonl"], configs).write(tmp_path / "made")
    for place, name in enumerate(["chats-1.jsonl", "chats-2.jsonl", "held.jsonl"]):
        write_jsonl(folder / name, conversations(10, 100 * place))
    path = registered("kept", folder, workspace)
    params = only_train("azureml:kept:1", train_split="train")
    first = sample(params, tmp_path / "out", workspace=workspace)

    with reads(emulator, path) as names:
        again = sample(params, tmp_path / "out", workspace=workspace)
    assert again == first.model_copy(update={"reused": True})
    assert names == {"README.md"}

    later = write_jsonl(tmp_path / "later", conversations(10, 900)).read_bytes()
    container.upload_blob(f"{path}/held.jsonl", later, overwrite=True)
    assert sample(params, tmp_path / "out", workspace=workspace).reused

    container.upload_blob(f"{path}/chats-2.jsonl", later, overwrite=True)
    anew = sample(params, tmp_path / "out", workspace=workspace)
    assert not anew.reused
    assert anew.revision != first.revision
    assert read_jsonl(anew.train.path) == conversations(10) + conversations(10, 900)
    assert read_jsonl(first.train.path) == conversations(10) + conversations(10, 100)
    assert sample(params, tmp_path / "out", workspace=workspace).reused


def test_a_card_that_has_the_same_file_read_otherwise_has_it_sampled_anew(
    container: "ContainerClient", workspace: AzureMLWorkspace, tmp_path: Path
) -> None:
    rows = {"old": conversations(3), "new": conversations(3, 100)}
    (tmp_path / "made").mkdir()
    (tmp_path / "made/train.json").write_text(json.dumps(rows))
    params = only_train(f"{DATASTORE}layouts/fields", train_split="train")
    for field in ("old", "new"):
        made = MadeTree(["train.json"], [config("default", split("train", "train.json"), field=field)])
        uploaded(made.write(tmp_path / "made"), container, "layouts/fields")
        sampled = sample(params, tmp_path / "out", workspace=workspace)
        assert not sampled.reused
        assert read_jsonl(sampled.train.path) == rows[field]


def test_an_empty_file_is_told_of_as_it_is_locally(
    container: "ContainerClient", workspace: AzureMLWorkspace, tmp_path: Path
) -> None:
    write_jsonl(tmp_path / "made/train_0.jsonl", conversations(3))
    (tmp_path / "made/train_1.jsonl").touch()
    source = uploaded(tmp_path / "made", container, "layouts/with-an-empty-one")
    for empty in (source, f"{source}/train_1.jsonl"):
        with pytest.raises(UnreadableFile, match=r"^train_1\.jsonl is empty\. Copy it again\."):
            sample(only_train(empty, train_split="train"), tmp_path / "out", workspace=workspace)
    container.delete_blob("layouts/with-an-empty-one/train_1.jsonl")
    sampled = sample(only_train(source, train_split="train"), tmp_path / "out", workspace=workspace)
    assert [file.name for file in sampled.train.files] == ["train_0.jsonl"]


@pytest.mark.parametrize(
    ("name", "size", "metadata", "marks"),
    [
        ("made/train", 0, {"hdi_isfolder": "true"}, True),  # of an account with hierarchical names
        ("made/train/", 0, {}, True),  # of Azure's portal and of tools
        ("made/train", 0, None, True),  # a file lies below
        ("made/train.jsonl", 0, {"hdi_isfolder": "false"}, False),
        ("made/train", 1, {"hdi_isfolder": "true"}, False),
    ],
)
def test_an_empty_blob_that_marks_a_folder_is_no_file(
    name: str, size: int, metadata: dict[str, str] | None, marks: bool
) -> None:
    from azure.storage.blob import BlobProperties

    blob = BlobProperties(name=name, metadata=metadata)
    blob.size = size
    assert marks_a_folder(blob, {".", "made", "made/train"}) is marks
