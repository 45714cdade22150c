"""Workspaces: the one that this emulator is."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from emulator.http import reply
from emulator.installation import PROVIDER, Installation
from emulator.routing import WORKSPACE

CREATED = "2026-01-01T00:00:00.0000000Z"


def workspace(installation: Installation) -> dict[str, Any]:
    """The workspace as ARM shows it."""
    group = f"{installation.subscription_path}/resourceGroups/{installation.resource_group}/providers"
    account = f"{group}/Microsoft.Storage/storageAccounts/{installation.storage_account}"
    name = installation.workspace
    return {
        "id": installation.workspace_id,
        "name": name,
        "type": f"{PROVIDER}/workspaces",
        "location": installation.region,
        "tags": {},
        "etag": None,
        "kind": "Default",
        "sku": {"name": "Basic", "tier": "Basic"},
        "identity": {
            "type": "SystemAssigned",
            "principalId": installation.principals[0].object_id,
            "tenantId": installation.tenant_id,
        },
        "systemData": {
            "createdAt": CREATED,
            "createdBy": "emulator",
            "createdByType": "Application",
            "lastModifiedAt": CREATED,
            "lastModifiedBy": "emulator",
            "lastModifiedByType": "Application",
        },
        "properties": {
            "friendlyName": name,
            "description": "An Azure ML workspace on this machine.",
            "storageAccount": account,
            "keyVault": f"{group}/Microsoft.Keyvault/vaults/emulatorkeyvault",
            "applicationInsights": f"{group}/Microsoft.insights/components/emulatorinsights",
            "containerRegistry": None,
            "hbiWorkspace": False,
            "tenantId": installation.tenant_id,
            "imageBuildCompute": None,
            "provisioningState": "Succeeded",
            "v1LegacyMode": False,
            "softDeleteEnabled": False,
            "containerRegistries": [],
            "keyVaults": [],
            "existingWorkspaces": [],
            "storageAccounts": [],
            "creationTime": CREATED,
            "notebookInfo": None,
            "storageHnsEnabled": False,
            "workspaceId": installation.workspace_guid,
            "linkedModelInventoryArmId": None,
            "privateLinkCount": 0,
            "publicNetworkAccess": "Enabled",
            "discoveryUrl": f"https://{installation.data_host}/discovery",
            "mlFlowTrackingUri": f"azureml://{installation.data_host}/mlflow/v1.0{installation.workspace_id}",
            "sdkTelemetryAppInsightsKey": None,
            "allowRoleAssignmentOnRG": True,
            "systemDatastoresAuthMode": "accesskey",
            "managedNetwork": {"isolationMode": "Disabled"},
            "enableDataIsolation": False,
            "serverlessComputeSettings": None,
        },
    }


def routes(installation: Installation) -> list[Route]:
    """Get, and list by subscription or resource group."""
    group = WORKSPACE.rsplit("/providers/", 1)[0]
    provider = "/providers/microsoft.machinelearningservices/workspaces"

    async def get(request: Request) -> Response:
        return reply(workspace(installation))

    async def listed(request: Request) -> Response:
        return reply({"value": [workspace(installation)]})

    return [
        Route(WORKSPACE, get),
        Route(group + provider, listed),
        Route("/subscriptions/{subscription}" + provider, listed),
    ]
