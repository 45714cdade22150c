"""The storage account of the session's emulator, through the real azure-storage-blob."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobServiceClient, ContainerClient

from emulator.blob import sas
from emulator.installation import Installation
from tests.emulated import Emulator

Opener = Callable[..., ContainerClient]


def error_code(error: HttpResponseError) -> str:
    """The storage service's own, which azure-storage-blob adds to the errors of azure-core."""
    its: Any = error
    return its.error_code


@pytest.fixture(scope="session")
def installation(emulator: Emulator) -> Installation:
    return emulator.installation


@pytest.fixture(scope="session")
def account(installation: Installation) -> BlobServiceClient:
    """The account, opened as a datastore's listSecrets opens it."""
    return BlobServiceClient(f"https://{installation.blob_host}", credential=sas.account_sas(installation))


@pytest.fixture
def container(installation: Installation) -> ContainerClient:
    """A container of the test's own."""
    name = f"test-{uuid.uuid4()}"
    opened = sas.account_sas(installation, permissions="rcuwdl")
    client = ContainerClient(f"https://{installation.blob_host}", name, credential=opened, retry_total=0)
    client.create_container()
    return client


@pytest.fixture
def opened_by(installation: Installation, container: ContainerClient) -> Opener:
    """Opens the test's container with another signature or credential."""

    def open_with(credential: Any) -> ContainerClient:
        return ContainerClient(
            f"https://{installation.blob_host}", container.container_name, credential=credential, retry_total=0
        )

    return open_with
