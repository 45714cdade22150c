"""What an operator may fill in."""

from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from azure import identity
from pydantic import ValidationError

from blocks import AzureCredentials, AzureMLWorkspace

TENANT, CLIENT, SECRET = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222", "hush-hush"


@pytest.mark.parametrize(
    ("fields", "missing"),
    [
        ({"auth": "service_principal"}, "tenant_id, client_id and client_secret"),
        ({"auth": "service_principal", "tenant_id": TENANT, "client_id": CLIENT}, "client_secret"),
        ({"auth": "service_principal", "tenant_id": TENANT, "client_id": CLIENT, "client_secret": ""}, "client_secret"),
        ({"auth": "certificate", "tenant_id": TENANT, "client_id": CLIENT}, "certificate_path"),
    ],
)
def test_a_half_filled_combination_is_refused_in_one_sentence(fields: dict[str, Any], missing: str) -> None:
    with pytest.raises(ValidationError, match=f"fill in {missing} or choose another"):
        AzureCredentials(**fields)


@pytest.mark.parametrize("auth", ["default", "azure_cli", "managed_identity", "workload_identity"])
def test_a_field_that_the_way_of_signing_in_does_not_use_is_refused(auth: str) -> None:
    with pytest.raises(ValidationError, match="does not use client_secret"):
        AzureCredentials(auth=auth, client_secret=SECRET)


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        (
            {"auth": "service_principal", "tenant_id": TENANT, "client_id": CLIENT, "client_secret": SECRET},
            "ClientSecretCredential",
        ),
        ({"auth": "managed_identity"}, "ManagedIdentityCredential"),
        ({"auth": "managed_identity", "client_id": CLIENT}, "ManagedIdentityCredential"),
        ({"auth": "azure_cli"}, "AzureCliCredential"),
        ({"auth": "default"}, "DefaultAzureCredential"),
    ],
)
def test_each_way_of_signing_in_is_one_credential(fields: dict[str, Any], kind: str) -> None:
    block = AzureCredentials(**fields)
    assert type(block.credential()) is getattr(identity, kind)
    assert block.credential() is block.credential()


def test_workload_identity_reads_the_named_token_file(tmp_path: Path) -> None:
    block = AzureCredentials(
        auth="workload_identity", tenant_id=TENANT, client_id=CLIENT, token_file=str(tmp_path / "token")
    )
    assert type(block.credential()) is identity.WorkloadIdentityCredential


def test_a_certificate_signs_in(tmp_path: Path) -> None:
    path = tmp_path / "identity.pem"
    path.write_bytes(_certificate())
    block = AzureCredentials(auth="certificate", tenant_id=TENANT, client_id=CLIENT, certificate_path=str(path))
    assert type(block.credential()) is identity.CertificateCredential


def test_the_secret_is_not_shown() -> None:
    block = AzureCredentials(auth="service_principal", tenant_id=TENANT, client_id=CLIENT, client_secret=SECRET)
    assert SECRET not in repr(block)
    assert SECRET not in block.model_dump_json()
    workspace = AzureMLWorkspace(subscription_id="s", resource_group="g", workspace_name="www", credentials=block)
    assert SECRET not in repr(workspace)


@pytest.mark.parametrize(
    ("cloud", "host"),
    [
        ("public", "login.microsoftonline.com"),
        ("us_government", "login.microsoftonline.us"),
        ("china", "login.chinacloudapi.cn"),
    ],
)
def test_each_cloud_signs_in_at_its_own_authority(cloud: str, host: str) -> None:
    assert AzureCredentials(cloud=cloud).endpoints.authority == host


def test_a_workspace_has_one_client_with_its_own_names() -> None:
    credentials = AzureCredentials(auth="service_principal", tenant_id=TENANT, client_id=CLIENT, client_secret=SECRET)
    block = AzureMLWorkspace(subscription_id="s", resource_group="g", workspace_name="www", credentials=credentials)
    client = block.client()
    assert client is block.client()
    assert (client.subscription_id, client.resource_group_name, client.workspace_name) == ("s", "g", "www")


def _certificate() -> bytes:
    """A self-signed certificate with its key, in PEM."""
    from datetime import datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private + certificate.public_bytes(serialization.Encoding.PEM)
