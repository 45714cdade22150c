"""A managed online deployment as ARM shows it."""

from __future__ import annotations

from typing import Any

from emulator.arm.deployment_body import Probe, RequestSettings
from emulator.installation import PROVIDER, Installation
from emulator.store import Document


def render(installation: Installation, kept: Document) -> Document:
    """The document of what `Deployments` keeps; what the client left out has Azure's default."""
    sent = kept["properties"]
    endpoint = f"{installation.workspace_id}/onlineEndpoints/{kept['endpoint']}"
    own = {key: value for key, value in (sent.get("properties") or {}).items() if value is not None}
    properties: dict[str, Any] = {
        "endpointComputeType": "Managed",
        "description": sent.get("description"),
        "model": sent.get("model"),
        "modelMountPath": sent.get("modelMountPath"),
        "codeConfiguration": sent.get("codeConfiguration"),
        "environmentId": sent.get("environmentId"),
        "environmentVariables": {**(sent.get("environmentVariables") or {}), **_injected(sent)},
        "instanceType": sent["instanceType"],
        "appInsightsEnabled": sent["appInsightsEnabled"],
        "egressPublicNetworkAccess": sent.get("egressPublicNetworkAccess") or "Enabled",
        "dataCollector": sent.get("dataCollector"),
        "requestSettings": sent.get("requestSettings") or RequestSettings().model_dump(),
        "livenessProbe": sent.get("livenessProbe") or Probe().model_dump(),
        "readinessProbe": sent.get("readinessProbe") or Probe().model_dump(),
        "scaleSettings": sent.get("scaleSettings") or {"scaleType": "Default"},
        "properties": {**own, "AzureAsyncOperationUri": kept["operation"]},
        "provisioningState": kept["state"],
    }
    return {
        "id": f"{endpoint}/deployments/{kept['name']}",
        "name": kept["name"],
        "type": f"{PROVIDER}/workspaces/onlineEndpoints/deployments",
        "location": installation.region,
        "tags": kept["tags"],
        "kind": "Managed",
        "identity": None,
        "sku": {"name": "Default", "tier": "Standard", "capacity": kept["capacity"]},
        "properties": properties,
        "systemData": {"createdAt": kept["created"], "createdBy": "emulator", "lastModifiedAt": kept["modified"]},
    }


def _injected(sent: Document) -> dict[str, str]:
    """The variable that Azure adds: the folder of the model."""
    model = sent.get("model")
    if not model:
        return {}
    parts = str(model).rstrip("/").replace(":", "/").split("/")
    name, version = (parts[-3], parts[-1]) if parts[-2].lower() == "versions" else (parts[-2], parts[-1])
    return {"AZUREML_MODEL_DIR": f"/var/azureml-app/azureml-models/{name}/{version}"}
