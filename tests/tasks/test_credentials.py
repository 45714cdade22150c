"""Who am I, where am I, may I write."""

from typing import Any

import pytest

from blocks import AzureCredentials, AzureMLWorkspace
from tasks import credentials
from tasks.azure_ml.errors import InvalidConfiguration, classify
from tasks.azure_ml.kinds import Kind
from tasks.credentials import resolve_credentials
from tests.emulated import Emulator


def service_principal(emulator: Emulator, principal: str = "contributor", **other: Any) -> AzureCredentials:
    env = emulator.environment(principal)
    fields = {
        "tenant_id": env["AZURE_TENANT_ID"],
        "client_id": env["AZURE_CLIENT_ID"],
        "client_secret": env["AZURE_CLIENT_SECRET"],
    }
    return AzureCredentials(auth="service_principal", **(fields | other))


def with_fields(workspace: AzureMLWorkspace, **other: Any) -> AzureMLWorkspace:
    """Another block, with `other` fields."""
    fields = {
        name: getattr(workspace, name)
        for name in ("subscription_id", "resource_group", "workspace_name", "credentials")
    }
    return AzureMLWorkspace(**(fields | other))


def test_the_workspace_and_the_identity_are_named(workspace: AzureMLWorkspace, emulator: Emulator) -> None:
    who = resolve_credentials.fn(workspace)
    assert who.workspace == workspace.workspace_name
    assert who.location == "eastus"
    assert who.identity == emulator.environment()["AZURE_CLIENT_ID"]
    assert who.tracking_uri.startswith("azureml://")


def test_a_blocks_own_identity_signs_in(
    workspace: AzureMLWorkspace, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    block = with_fields(workspace, credentials=service_principal(emulator))
    monkeypatch.delenv("AZURE_CLIENT_SECRET")
    assert resolve_credentials.fn(block).identity == emulator.environment()["AZURE_CLIENT_ID"]


def test_an_unknown_workspace_is_named(workspace: AzureMLWorkspace) -> None:
    with pytest.raises(InvalidConfiguration, match="no workspace elsewhere in resource group"):
        resolve_credentials.fn(with_fields(workspace, workspace_name="elsewhere"))


def test_an_unknown_registry_is_named(workspace: AzureMLWorkspace) -> None:
    with pytest.raises(InvalidConfiguration, match="no registry elsewhere"):
        resolve_credentials.fn(with_fields(workspace, registry_name="elsewhere"))


def test_a_wrong_secret_is_named_and_not_shown(workspace: AzureMLWorkspace, emulator: Emulator) -> None:
    block = with_fields(workspace, credentials=service_principal(emulator, client_secret="not-the-one"))
    with pytest.raises(InvalidConfiguration, match="wrong or expired") as refused:
        resolve_credentials.fn(block)
    assert "not-the-one" not in str(refused.value)


def test_a_wrong_tenant_is_named(workspace: AzureMLWorkspace, emulator: Emulator) -> None:
    nowhere = "00000000-0000-0000-0000-000000000000"
    block = with_fields(workspace, credentials=service_principal(emulator, tenant_id=nowhere))
    with pytest.raises(InvalidConfiguration, match=f"Tenant {nowhere} does not exist"):
        resolve_credentials.fn(block)


def test_who_may_only_read_is_told_which_role_is_missing(workspace: AzureMLWorkspace, emulator: Emulator) -> None:
    block = with_fields(workspace, credentials=service_principal(emulator, "reader"))
    with pytest.raises(InvalidConfiguration, match="AzureML Data Scientist"):
        resolve_credentials.fn(block)


def test_a_sign_in_service_that_cannot_be_reached_is_not_taken_for_a_missing_tenant(
    workspace: AzureMLWorkspace, emulator: Emulator
) -> None:
    block = with_fields(workspace, credentials=service_principal(emulator))
    blocked = {"kind": "status", "status": 403, "code": "Forbidden", "message": "Blocked by the proxy."}
    with (
        emulator.fault({"path": "login.microsoftonline.com/*/openid-configuration", "times": 0}, blocked),
        pytest.raises(
            InvalidConfiguration, match=r"HTTP 403: .*Blocked by the proxy.*Check that this machine may reach"
        ) as refused,
    ):
        resolve_credentials.fn(block)
    assert "does not exist" not in str(refused.value)


def test_a_sign_in_service_that_is_down_is_not_the_credentials_fault(
    workspace: AzureMLWorkspace, emulator: Emulator
) -> None:
    block = with_fields(workspace, credentials=service_principal(emulator))
    down = {"kind": "status", "status": 503, "code": "ServiceUnavailable"}
    with (
        emulator.fault({"path": "login.microsoftonline.com/*/token", "times": 0}, down),
        pytest.raises(ConnectionError, match="The sign-in service does not work") as raised,
    ):
        credentials._token(block)
    fault = classify(raised.value)
    assert fault is not None
    assert fault.kind is Kind.TRANSIENT


def test_a_refusal_to_tell_the_services_addresses_is_named(workspace: AzureMLWorkspace, emulator: Emulator) -> None:
    blocked = {"kind": "status", "status": 403, "code": "Forbidden", "message": "Blocked by the proxy."}
    with (
        emulator.fault({"path": "*.api.azureml.ms/discovery", "times": 0}, blocked),
        pytest.raises(InvalidConfiguration, match=r"services cannot be read .*HTTP 403: .*Blocked by the proxy"),
    ):
        resolve_credentials.fn(workspace)


def test_a_wrong_secret_of_the_default_chain_is_mended_where_it_is(
    workspace: AzureMLWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_CLIENT_SECRET", "not-the-secret-at-all")
    with pytest.raises(
        InvalidConfiguration, match=r"\(AADSTS7000215/7000222\)\. Put a valid one into the environment of the worker"
    ):
        resolve_credentials.fn(with_fields(workspace, credentials=AzureCredentials()))
