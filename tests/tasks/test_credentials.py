"""Who am I, where am I, may I write."""

from typing import Any

import pytest

from blocks import AzureCredentials, AzureMLWorkspace
from tasks.credentials import resolve_credentials
from tasks.errors import Refused
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
    with pytest.raises(Refused, match="no workspace elsewhere in resource group"):
        resolve_credentials.fn(with_fields(workspace, workspace_name="elsewhere"))


def test_an_unknown_registry_is_named(workspace: AzureMLWorkspace) -> None:
    with pytest.raises(Refused, match="no registry elsewhere"):
        resolve_credentials.fn(with_fields(workspace, registry_name="elsewhere"))


def test_a_wrong_secret_is_named_and_not_shown(workspace: AzureMLWorkspace, emulator: Emulator) -> None:
    block = with_fields(workspace, credentials=service_principal(emulator, client_secret="not-the-one"))
    with pytest.raises(Refused, match="wrong or expired") as refused:
        resolve_credentials.fn(block)
    assert "not-the-one" not in str(refused.value)


def test_a_wrong_tenant_is_named(workspace: AzureMLWorkspace, emulator: Emulator) -> None:
    nowhere = "00000000-0000-0000-0000-000000000000"
    block = with_fields(workspace, credentials=service_principal(emulator, tenant_id=nowhere))
    with pytest.raises(Refused, match=f"Tenant {nowhere} does not exist"):
        resolve_credentials.fn(block)


def test_who_may_only_read_is_told_which_role_is_missing(workspace: AzureMLWorkspace, emulator: Emulator) -> None:
    block = with_fields(workspace, credentials=service_principal(emulator, "reader"))
    with pytest.raises(Refused, match="AzureML Data Scientist"):
        resolve_credentials.fn(block)
