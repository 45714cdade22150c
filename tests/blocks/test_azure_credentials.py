"""What an operator may fill in."""

from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from azure import identity
from prefect.blocks.core import Block
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


PRINCIPAL = {"tenant_id": TENANT, "client_id": CLIENT}
THERE = "login.microsoftonline.us"


@pytest.mark.parametrize(
    ("kind", "fields", "given", "named"),
    [
        (
            "ClientSecretCredential",
            {"auth": "service_principal", **PRINCIPAL, "client_secret": SECRET},
            (TENANT, CLIENT, SECRET),
            {"authority": THERE},
        ),
        (
            "CertificateCredential",
            {"auth": "certificate", **PRINCIPAL, "certificate_path": "/a.pem", "certificate_password": SECRET},
            (TENANT, CLIENT),
            {"certificate_path": "/a.pem", "password": SECRET, "authority": THERE},
        ),
        ("ManagedIdentityCredential", {"auth": "managed_identity", "client_id": CLIENT}, (), {"client_id": CLIENT}),
        (
            "WorkloadIdentityCredential",
            {"auth": "workload_identity", **PRINCIPAL, "token_file": "/token"},
            (),
            {**PRINCIPAL, "token_file_path": "/token", "authority": THERE},
        ),
        ("AzureCliCredential", {"auth": "azure_cli", "tenant_id": TENANT}, (), {"tenant_id": TENANT}),
        ("DefaultAzureCredential", {"auth": "default"}, (), {"authority": THERE}),
    ],
)
def test_each_way_signs_in_as_whom_and_where_the_block_says(
    kind: str, fields: dict[str, Any], given: tuple[str, ...], named: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, kind, lambda *given, **named: (given, named))
    signs_in: Any = AzureCredentials(cloud="us_government", **fields).credential()
    assert signs_in == (given, named)


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


def test_the_clients_work_in_the_cloud_of_the_credentials_and_tell_microsoft_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("azure.ai.ml.MLClient", lambda *_, **named: named)
    block = AzureMLWorkspace(
        subscription_id="s",
        resource_group="g",
        workspace_name="www",
        registry_name="models",
        credentials=AzureCredentials(cloud="china"),
    )
    clients: list[Any] = [block.client(), block.registry_client()]
    assert all(client["cloud"] == "AzureChinaCloud" and client["enable_telemetry"] is False for client in clients)
    assert clients[0]["workspace_name"] == "www" and clients[1]["registry_name"] == "models"


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


@pytest.mark.parametrize("block", [AzureCredentials, AzureMLWorkspace])
def test_prefects_form_shows_a_blocks_fields_as_they_are_declared(block: type[Block]) -> None:
    schema = block.model_json_schema()
    shown = sorted(schema["properties"], key=lambda name: schema["properties"][name]["position"])
    assert shown == list(block.model_fields)


def test_the_secrets_among_a_blocks_fields_are_known_to_prefect() -> None:
    assert AzureCredentials.model_json_schema()["secret_fields"] == ["client_secret", "certificate_password"]
    assert "credentials.client_secret" in AzureMLWorkspace.model_json_schema()["secret_fields"]
