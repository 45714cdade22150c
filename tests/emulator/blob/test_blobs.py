"""What the real azure-storage-blob can do with a container."""

from __future__ import annotations

import base64
import hashlib
import os
import threading
from datetime import UTC, datetime, timedelta

import pytest
import requests
from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceModifiedError, ResourceNotFoundError
from azure.storage.blob import BlobBlock, ContainerClient, ContentSettings

from emulator.installation import Installation
from tests.emulator.blob.conftest import error_code

MIB = 1024 * 1024


def test_a_small_blob_comes_back_as_it_was_sent(container: ContainerClient) -> None:
    blob = container.upload_blob(
        "folder/a b+é%.txt",
        b"hello",
        metadata={"name": "x"},
        content_settings=ContentSettings(content_type="text/plain"),
    )
    properties = blob.get_blob_properties()
    assert blob.download_blob().readall() == b"hello"
    assert (properties.size, properties.metadata, properties.content_settings.content_type) == (
        5,
        {"name": "x"},
        "text/plain",
    )
    assert properties.content_settings.content_md5 == bytearray(hashlib.md5(b"hello").digest())
    assert properties.blob_type == "BlockBlob"
    assert abs(properties.creation_time - datetime.now(UTC)) < timedelta(minutes=1)


def test_a_blob_of_many_blocks_comes_back_as_it_was_sent(
    container: ContainerClient, installation: Installation
) -> None:
    data = os.urandom(MIB) * 65  # over the 64 MiB up to which the client sends one request
    blob = container.upload_blob("large.bin", data, max_concurrency=4, metadata={"upload_status": "completed"})
    assert hashlib.sha256(blob.download_blob(max_concurrency=4).readall()).digest() == hashlib.sha256(data).digest()
    assert blob.get_blob_properties().metadata == {"upload_status": "completed"}
    assert list((installation.state / "uploads").iterdir()) == []


def test_an_empty_blob_can_be_read(container: ContainerClient) -> None:
    assert container.upload_blob("empty", b"").download_blob().readall() == b""


def test_a_part_of_a_blob_can_be_read(container: ContainerClient) -> None:
    blob = container.upload_blob("digits", b"0123456789")
    assert blob.download_blob(offset=3, length=4).readall() == b"3456"
    assert blob.download_blob(offset=8, length=100).readall() == b"89"


def test_a_range_after_the_end_is_refused(container: ContainerClient) -> None:
    blob = container.upload_blob("digits", b"0123456789")
    with pytest.raises(HttpResponseError) as refused:
        blob.download_blob(offset=10, length=1)
    assert (refused.value.status_code, error_code(refused.value)) == (416, "InvalidRange")


def test_an_existing_blob_is_not_overwritten_unasked(container: ContainerClient) -> None:
    container.upload_blob("once", b"first")
    with pytest.raises(ResourceExistsError) as refused:
        container.upload_blob("once", b"second")
    assert error_code(refused.value) == "BlobAlreadyExists"
    assert container.download_blob("once").readall() == b"first"
    container.upload_blob("once", b"third", overwrite=True)
    assert container.download_blob("once").readall() == b"third"


def test_a_block_list_does_not_overwrite_unasked(container: ContainerClient) -> None:
    blob = container.upload_blob("once", b"first")
    blob.stage_block(base64.b64encode(b"1").decode(), b"second")
    with pytest.raises(ResourceExistsError):
        blob.commit_block_list([BlobBlock(base64.b64encode(b"1").decode())], match_condition=MatchConditions.IfMissing)
    assert blob.download_blob().readall() == b"first"


def test_only_one_of_many_writers_creates_a_blob(container: ContainerClient) -> None:
    outcomes: list[str] = []

    def write(number: int) -> None:
        try:
            container.upload_blob("race", str(number).encode())
            outcomes.append("created")
        except ResourceExistsError:
            outcomes.append("refused")

    writers = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(outcomes) == ["created"] + ["refused"] * 7


def test_blocks_are_joined_in_the_order_of_the_list(container: ContainerClient) -> None:
    blob = container.get_blob_client("blocks")
    ids = [base64.b64encode(f"{number:04}".encode()).decode() for number in range(3)]
    for number, id in enumerate(ids):
        blob.stage_block(id, f"<{number}>".encode())
    blob.commit_block_list([BlobBlock(ids[2]), BlobBlock(ids[0])])
    assert blob.download_blob().readall() == b"<2><0>"


def test_an_unknown_block_is_refused(container: ContainerClient) -> None:
    with pytest.raises(HttpResponseError) as refused:
        container.get_blob_client("blocks").commit_block_list([BlobBlock(base64.b64encode(b"none").decode())])
    assert error_code(refused.value) == "InvalidBlockList"


def test_a_write_under_another_etag_is_refused(container: ContainerClient) -> None:
    blob = container.upload_blob("tagged", b"first")
    etag = blob.get_blob_properties().etag
    blob.upload_blob(b"second", overwrite=True, etag=etag, match_condition=MatchConditions.IfNotModified)
    with pytest.raises(ResourceModifiedError):
        blob.upload_blob(b"third", overwrite=True, etag=etag, match_condition=MatchConditions.IfNotModified)
    assert blob.download_blob().readall() == b"second"


def test_metadata_can_be_replaced(container: ContainerClient) -> None:
    blob = container.upload_blob("marked", b"x", metadata={"old": "1"})
    before = blob.get_blob_properties().etag
    blob.set_blob_metadata({"upload_status": "completed"})
    after = blob.get_blob_properties()
    assert (after.metadata, after.etag == before) == ({"upload_status": "completed"}, False)


def test_names_that_differ_in_case_are_two_blobs(container: ContainerClient) -> None:
    container.upload_blob("Name", b"1", metadata={"which": "upper"})
    container.upload_blob("name", b"2", metadata={"which": "lower"})
    listed = {blob.name: blob.metadata["which"] for blob in container.list_blobs(include=["metadata"])}
    assert listed == {"Name": "upper", "name": "lower"}


def test_a_deleted_blob_is_gone_with_its_metadata(container: ContainerClient) -> None:
    blob = container.upload_blob("deep/er/gone", b"x", metadata={"a": "b"})
    blob.delete_blob()
    with pytest.raises(ResourceNotFoundError) as refused:
        blob.get_blob_properties()
    assert error_code(refused.value) == "BlobNotFound"
    assert list(container.list_blobs()) == []
    assert container.upload_blob("deep/er/gone", b"y").get_blob_properties().metadata == {}


def test_a_file_that_a_process_wrote_is_a_blob(container: ContainerClient, installation: Installation) -> None:
    folder = installation.files / container.container_name / "azureml" / "job" / "out"
    folder.mkdir(parents=True)
    (folder / "MLmodel").write_text("flavors: {}")
    blob = container.get_blob_client("azureml/job/out/MLmodel")
    assert blob.download_blob().readall() == b"flavors: {}"
    blob.set_blob_metadata({"seen": "yes"})
    (folder / "MLmodel").write_text("flavors: {a: b}")
    assert blob.get_blob_properties().metadata == {}, "metadata of what the file was before"


def test_a_folder_is_no_blob(container: ContainerClient) -> None:
    container.upload_blob("folder/file", b"x")
    for name in ("folder", "folder/"):
        assert not container.get_blob_client(name).exists()
    with pytest.raises(ResourceExistsError) as refused:
        container.upload_blob("folder", b"x")
    assert error_code(refused.value) == "PathConflict"
    with pytest.raises(ResourceExistsError):
        container.upload_blob("folder/file/below", b"x")


def test_a_damaged_upload_is_refused(container: ContainerClient) -> None:
    blob = container.get_blob_client("damaged")
    digest = base64.b64encode(hashlib.md5(b"what was sent").digest()).decode()
    headers = {"x-ms-blob-type": "BlockBlob", "Content-MD5": digest}
    answer = requests.put(blob.url, data=b"what arrived", headers=headers, timeout=20)
    assert (answer.status_code, answer.headers["x-ms-error-code"]) == (400, "Md5Mismatch")
    assert not blob.exists()
