"""Who may do what: signatures and tokens are checked, and refused in Azure's words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import requests
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.storage.blob import (
    AccountSasPermissions,
    BlobClient,
    BlobSasPermissions,
    ContainerClient,
    ContainerSasPermissions,
    ResourceTypes,
    generate_account_sas,
    generate_blob_sas,
    generate_container_sas,
)

from emulator.blob import sas
from emulator.installation import Installation
from tests.emulated import Emulator
from tests.emulator.blob.conftest import Opener, error_code

NAME = "folder/a b.txt"


@pytest.fixture(autouse=True)
def content(container: ContainerClient) -> None:
    container.upload_blob(NAME, b"content")


def later(**delta: float) -> datetime:
    return datetime.now(UTC) + timedelta(**delta)


def test_the_clients_own_signatures_open(
    installation: Installation, container: ContainerClient, opened_by: Opener
) -> None:
    account, key, name = installation.storage_account, installation.storage_key, container.container_name
    for signature in (
        generate_account_sas(
            account, key, ResourceTypes(object=True), AccountSasPermissions(read=True), later(hours=1)
        ),
        generate_container_sas(
            account, name, key, permission=ContainerSasPermissions(read=True), expiry=later(hours=1)
        ),
        generate_blob_sas(
            account,
            name,
            NAME,
            account_key=key,
            permission=BlobSasPermissions(read=True),
            expiry=later(hours=1),
            start=later(hours=-1),
            ip="127.0.0.1",
            protocol="https",
            content_type="text/x-odd",
        ),
    ):
        assert opened_by(signature).download_blob(NAME).readall() == b"content"


def test_a_blob_url_opens_without_any_header(installation: Installation, container: ContainerClient) -> None:
    answer = requests.get(sas.blob_url(installation, container.container_name, NAME), timeout=20)
    assert (answer.status_code, answer.content) == (200, b"content")


@pytest.mark.parametrize(
    ("what", "code", "detail"),
    [
        ("expired", "AuthenticationFailed", "Signature not valid in the specified time frame"),
        ("not yet good", "AuthenticationFailed", "Signature not valid in the specified time frame"),
        ("tampered", "AuthenticationFailed", "Signature did not match"),
        ("another key", "AuthenticationFailed", "Signature did not match"),
        ("another container", "AuthenticationFailed", "Signature did not match"),
        ("another blob", "AuthenticationFailed", "Signature did not match"),
        ("another address", "AuthorizationSourceIPMismatch", "source IP"),
        ("no read permission", "AuthorizationPermissionMismatch", "permission"),
        ("files only", "AuthorizationServiceMismatch", "service"),
        ("containers only", "AuthorizationResourceTypeMismatch", "resource type"),
        ("stored policy", "AuthenticationFailed", "policies"),
        ("old version", "AuthenticationFailed", "sv"),
    ],
)
def test_a_signature_that_does_not_fit_is_refused(
    installation: Installation, container: ContainerClient, opened_by: Opener, what: str, code: str, detail: str
) -> None:
    here, name = installation, container.container_name
    account, key = here.storage_account, here.storage_key
    other_key = "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQQ=="
    read = BlobSasPermissions(read=True)
    good = sas.account_sas(here)
    services = generate_account_sas(
        account, key, ResourceTypes(object=True), AccountSasPermissions(read=True), later(hours=1), services="fq"
    )
    signatures = {
        "expired": sas.account_sas(here, seconds=-1),
        "not yet good": generate_blob_sas(
            account, name, NAME, account_key=key, permission=read, start=later(hours=1), expiry=later(hours=2)
        ),
        "tampered": good.replace("sp=rcuwdl", "sp=rcuwdlx"),
        "another key": generate_blob_sas(
            account, name, NAME, account_key=other_key, permission=read, expiry=later(hours=1)
        ),
        "another container": sas.container_sas(here, "azureml"),
        "another blob": sas.blob_sas(here, name, "folder/other.txt"),
        "another address": generate_blob_sas(
            account, name, NAME, account_key=key, permission=read, expiry=later(hours=1), ip="10.0.0.1-10.0.0.9"
        ),
        "no read permission": sas.account_sas(here, permissions="wl"),
        "files only": services,
        "containers only": generate_account_sas(
            account, key, ResourceTypes(container=True), AccountSasPermissions(read=True), later(hours=1)
        ),
        "stored policy": generate_blob_sas(account, name, NAME, account_key=key, policy_id="kept"),
        "old version": good.replace(f"sv={sas.VERSION}", "sv=2019-12-12"),
    }
    with pytest.raises(HttpResponseError) as refused:
        opened_by(signatures[what]).download_blob(NAME)
    assert (refused.value.status_code, error_code(refused.value)) == (403, code)
    assert detail in str(refused.value)


def test_a_readers_signature_does_not_write(
    installation: Installation, container: ContainerClient, opened_by: Opener
) -> None:
    reading = opened_by(sas.container_sas(installation, container.container_name, permissions="rl"))
    for write in (
        lambda: reading.upload_blob("new", b"x"),
        lambda: reading.delete_blob(NAME),
        lambda: reading.get_blob_client(NAME).set_blob_metadata({"a": "b"}),
        lambda: reading.get_blob_client(NAME).stage_block("MQ==", b"x"),
        lambda: reading.get_blob_client(NAME).commit_block_list([]),
    ):
        with pytest.raises(HttpResponseError) as refused:
            write()
        assert error_code(refused.value) == "AuthorizationPermissionMismatch"
    assert [blob.name for blob in reading.list_blobs()] == [NAME]


def test_a_signature_to_create_does_not_overwrite(
    installation: Installation, container: ContainerClient, opened_by: Opener
) -> None:
    creating = opened_by(sas.container_sas(installation, container.container_name, permissions="c"))
    creating.upload_blob("new", b"x")
    with pytest.raises(HttpResponseError):
        creating.upload_blob(NAME, b"x", overwrite=True)
    assert container.download_blob(NAME).readall() == b"content"


def test_a_signature_for_one_blob_does_not_list(
    installation: Installation, container: ContainerClient, opened_by: Opener
) -> None:
    one = opened_by(sas.blob_sas(installation, container.container_name, NAME, permissions="rl"))
    with pytest.raises(HttpResponseError) as refused:
        list(one.list_blobs())
    assert refused.value.status_code == 403


def test_a_token_opens_by_its_role(emulator: Emulator, opened_by: Opener) -> None:
    writer, reader = opened_by(emulator.credential()), opened_by(emulator.credential("reader"))
    writer.upload_blob("by-token", b"x")
    assert reader.download_blob("by-token").readall() == b"x"
    with pytest.raises(HttpResponseError) as refused:
        reader.upload_blob("by-reader", b"x")
    assert error_code(refused.value) == "AuthorizationPermissionMismatch"


def test_a_token_for_another_service_is_refused(
    emulator: Emulator, installation: Installation, container: ContainerClient
) -> None:
    token = emulator.credential().get_token("https://management.azure.com/.default").token
    answer = requests.get(
        f"https://{installation.blob_host}/{container.container_name}/x",
        headers={"Authorization": f"Bearer {token}"},
        timeout=20,
    )
    assert (answer.status_code, answer.headers["x-ms-error-code"]) == (401, "InvalidAuthenticationInfo")
    assert "https://storage.azure.com" in answer.headers["WWW-Authenticate"]


def test_without_a_credential_nothing_opens(
    installation: Installation, container: ContainerClient, opened_by: Opener
) -> None:
    with pytest.raises(ClientAuthenticationError) as refused:
        opened_by(None).download_blob(NAME)
    assert error_code(refused.value) == "NoAuthenticationInformation"


def test_the_accounts_own_key_is_not_taken(installation: Installation, container: ContainerClient) -> None:
    client = BlobClient(
        f"https://{installation.blob_host}",
        container.container_name,
        NAME,
        credential=installation.storage_key,
        retry_total=0,
    )
    with pytest.raises(HttpResponseError) as refused:
        client.download_blob()
    assert error_code(refused.value) == "KeyBasedAuthenticationNotPermitted"


def test_no_signature_and_no_key_reaches_the_log(
    emulator: Emulator, installation: Installation, container: ContainerClient
) -> None:
    requests.get(sas.blob_url(installation, container.container_name, NAME), timeout=20)
    assert container.container_name in emulator.log
    assert "sig=" not in emulator.log
    assert installation.storage_key not in emulator.log
