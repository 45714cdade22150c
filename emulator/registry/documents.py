"""Registry models and components as REST documents. A registry sends a component's scalars as strings."""

from __future__ import annotations

import re
from typing import Any

from emulator.installation import Installation
from emulator.registry.catalog import NAME, RegistryModel
from emulator.registry.files import address

CREATED = "2026-01-01T00:00:00.0000000+00:00"
SYSTEM = {
    "createdAt": CREATED,
    "createdBy": "Microsoft",
    "createdByType": "User",
    "lastModifiedAt": CREATED,
    "lastModifiedBy": "Microsoft",
    "lastModifiedByType": "User",
}
ASSET = re.compile(r"\Aazureml:(?://registries/[^/]+/components/)?(?P<name>[^:/]+)(?::|/versions/)(?P<version>.+)\Z")


def component_id(name: str, version: str) -> str:
    """The registry's asset id of a component."""
    return f"azureml://registries/{NAME}/components/{name}/versions/{version}"


def model_document(model: RegistryModel, installation: Installation) -> dict[str, Any]:
    """A model version. `name` is the model's name here, unlike in a workspace."""
    return {
        "id": model.id,
        "name": model.version,
        "type": "models",
        "properties": {
            "description": model.description,
            "tags": model.tags,
            "properties": model.properties,
            "systemMetadata": model.system_metadata,
            "isArchived": model.is_archived,
            "isAnonymous": False,
            "flavors": {"hftransformersv2": {"data": {}}, "python_function": {"data": {}}},
            "modelType": "mlflow_model",
            "modelUri": address(installation, model.id),
            "originAssetId": None,
        },
        "systemData": SYSTEM,
    }


def component_document(document: dict[str, Any]) -> dict[str, Any]:
    """A component version, made from its YAML."""
    spec = {key: value for key, value in document.items() if key not in ("tags", "description", "jobs")}
    spec = _as_strings(spec)
    if "jobs" in document:
        spec["jobs"] = {name: _node(name, job) for name, job in document["jobs"].items()}
    return {
        "id": component_id(document["name"], str(document["version"])),
        "name": str(document["version"]),
        "type": "components",
        "properties": {
            "description": document.get("description"),
            "tags": _as_strings(document.get("tags") or {}),
            "properties": {},
            "isArchived": False,
            "isAnonymous": False,
            "componentSpec": spec,
        },
        "systemData": SYSTEM,
    }


def _node(name: str, job: dict[str, Any]) -> dict[str, Any]:
    """One node of a pipeline component, with the registry's id of the component that it runs."""
    node: dict[str, Any] = {"name": name, "type": job.get("type", "command")}
    if reference := ASSET.match(str(job.get("component", ""))):
        node["componentId"] = component_id(reference["name"], reference["version"])
    if "compute" in job:
        node["computeId"] = str(job["compute"])
    if "resources" in job:
        node["resources"] = _as_strings(job["resources"])
    node["inputs"] = {
        key: {"job_input_type": "literal", "value": str(value)} for key, value in (job.get("inputs") or {}).items()
    }
    node["outputs"] = {
        key: {"type": "literal", "value": _target(value)} for key, value in (job.get("outputs") or {}).items()
    }
    return node


def _target(output: Any) -> str:
    return str(output["path"] if isinstance(output, dict) and "path" in output else output)


def _as_strings(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _as_strings(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_as_strings(item) for item in value]
    return value if value is None else str(value)
