"""Listings, page by page and level by level."""

from __future__ import annotations

import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import BlobPrefix, BlobServiceClient, ContainerClient

from emulator.installation import Installation
from tests.emulator.blob.conftest import error_code

NAMES = ["a/1.txt", "a/2.txt", "a/b/3.txt", "a/b/c/4.txt", "a-b", "ab/5", "z & <z>"]


@pytest.fixture
def filled(container: ContainerClient) -> ContainerClient:
    for name in NAMES:
        container.upload_blob(name, name.encode())
    return container


def test_all_blobs_are_listed_in_the_order_of_their_names(filled: ContainerClient) -> None:
    assert [blob.name for blob in filled.list_blobs()] == sorted(NAMES)
    assert [blob.size for blob in filled.list_blobs()] == [len(name) for name in sorted(NAMES)]


@pytest.mark.parametrize("prefix", ["a", "a/", "a/b", "a/b/", "none", "a/b/c/4.txt", "../", "/"])
def test_a_prefix_limits_the_list(filled: ContainerClient, prefix: str) -> None:
    expected = sorted(name for name in NAMES if name.startswith(prefix))
    assert [blob.name for blob in filled.list_blobs(name_starts_with=prefix)] == expected


def test_a_delimiter_gives_one_level(filled: ContainerClient) -> None:
    def level(prefix: str) -> list[tuple[str, bool]]:
        return [(item.name, isinstance(item, BlobPrefix)) for item in filled.walk_blobs(prefix, delimiter="/")]

    assert sorted(level("")) == [("a-b", False), ("a/", True), ("ab/", True), ("z & <z>", False)]
    assert sorted(level("a/")) == [("a/1.txt", False), ("a/2.txt", False), ("a/b/", True)]
    assert level("a/b/c/") == [("a/b/c/4.txt", False)]


def test_a_long_list_comes_in_pages(filled: ContainerClient) -> None:
    pages = filled.list_blobs(results_per_page=3).by_page()
    assert [[blob.name for blob in page] for page in pages] == [
        sorted(NAMES)[:3],
        sorted(NAMES)[3:6],
        sorted(NAMES)[6:],
    ]
    again = filled.list_blobs(results_per_page=3).by_page(continuation_token=sorted(NAMES)[3])
    assert [blob.name for blob in next(again)] == sorted(NAMES)[3:6]


def test_links_that_lead_out_are_not_listed(filled: ContainerClient, installation: Installation) -> None:
    folder = installation.files / filled.container_name
    (folder / "stolen").symlink_to(installation.state / "installation.json")
    (folder / "outside").symlink_to(installation.state)
    (folder / "inside").symlink_to(folder / "a-b")
    assert [blob.name for blob in filled.list_blobs()] == sorted([*NAMES, "inside"])


def test_a_file_whose_name_no_blob_can_have_is_not_listed(filled: ContainerClient, installation: Installation) -> None:
    for name in ("control\x01", "back\\slash", "\udcff", "\uffff"):
        (installation.files / filled.container_name / name).write_text("x")
    assert [blob.name for blob in filled.list_blobs()] == sorted(NAMES)


def test_an_unknown_container_is_not_found(account: BlobServiceClient) -> None:
    with pytest.raises(ResourceNotFoundError) as refused:
        list(account.get_container_client("no-such-container").list_blobs())
    assert error_code(refused.value) == "ContainerNotFound"


def test_the_workspace_has_its_containers(account: BlobServiceClient, installation: Installation) -> None:
    for name in (installation.container, "azureml"):
        assert account.get_container_client(name).exists()
