"""An online endpoint as ARM shows it."""

from __future__ import annotations

from emulator.installation import PROVIDER, Installation
from emulator.store import Document


def endpoint_id(installation: Installation, name: str) -> str:
    """The endpoint's ARM id."""
    return f"{installation.workspace_id}/onlineEndpoints/{name}"


def render(installation: Installation, kept: Document) -> Document:
    """The document of what `Endpoints` keeps."""
    id = endpoint_id(installation, kept["name"])
    host = f"https://{kept['name'].lower()}{installation.scoring_suffix}"
    is_ready = kept["state"] != "Creating"
    return {
        "id": id,
        "name": kept["name"],
        "type": f"{PROVIDER}/workspaces/onlineEndpoints",
        "location": installation.region,
        "tags": kept["tags"],
        "kind": "Managed",
        "identity": {
            "type": "SystemAssigned",
            "principalId": kept["principal"],
            "tenantId": installation.tenant_id,
        },
        "properties": {
            "authMode": kept["authMode"],
            "description": kept["description"],
            "properties": {
                **kept["properties"],
                "azureml.onlineendpointid": id.lower(),
                "AzureAsyncOperationUri": kept["operation"],
            },
            "scoringUri": f"{host}/score" if is_ready else None,
            "swaggerUri": f"{host}/swagger.json" if is_ready else None,
            "provisioningState": kept["state"],
            "traffic": kept["traffic"],
            "mirrorTraffic": kept["mirrorTraffic"],
            "publicNetworkAccess": kept["publicNetworkAccess"],
            "compute": None,
        },
        "systemData": {"createdAt": kept["created"], "createdBy": "emulator", "lastModifiedAt": kept["modified"]},
    }


def render_put(installation: Installation, kept: Document) -> Document:
    """What a PUT answers: Azure shows less of it than later, and still less when it changed what was there."""
    shown = render(installation, {**kept, "state": "Creating"})
    if kept["state"] != "Creating":
        shown["systemData"] = {"lastModifiedAt": kept["modified"]}
        del shown["location"], shown["identity"], shown["properties"]["properties"]["azureml.onlineendpointid"]
    return shown
