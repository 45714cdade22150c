"""A registry model's files: blobs of a container of its own, which a signature opens for reading."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

from emulator.arm.workspaces import workspace
from emulator.blob import sas
from emulator.blob.containers import Containers
from emulator.components.chat_completion.model_folder import link_tree, made_once
from emulator.installation import Installation

FOLDER = "mlflow_model_folder"


def address(installation: Installation, asset_id: str) -> str:
    """Where the model's files are, as its document says; they are put there when somebody first asks to read them."""
    return f"https://{installation.blob_host}/{_container(installation, asset_id)}/{FOLDER}"


def data_reference(installation: Installation, containers: Containers, asset_id: str, files: Path) -> dict[str, Any]:
    """The place of the model's files and a signature for it; `files` are linked there, not copied."""
    container = _container(installation, asset_id)
    with made_once(containers.root / container) as scratch:
        if scratch:
            link_tree(files, scratch / FOLDER)
    signature = sas.container_sas(installation, container)
    return {
        "blobReferenceForConsumption": {
            "blobUri": address(installation, asset_id),
            "storageAccountArmId": workspace(installation)["properties"]["storageAccount"],
            "credential": {
                "credentialType": "SAS",
                "sasUri": f"https://{installation.blob_host}/{container}?{signature}",
            },
        }
    }


def _container(installation: Installation, asset_id: str) -> str:
    return f"azureml-{uuid.uuid5(uuid.UUID(installation.workspace_guid), asset_id)}"
