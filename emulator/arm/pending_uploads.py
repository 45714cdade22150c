"""Where a client uploads the files of an asset before it registers it: a container of their own, opened by a signature."""

from __future__ import annotations

import uuid

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from emulator.arm.workspaces import workspace
from emulator.blob import sas
from emulator.blob.containers import Containers
from emulator.http import reply
from emulator.installation import Installation
from emulator.routing import WORKSPACE
from emulator.store import Document

PERMISSIONS = "rcwl"
SECONDS = 3600.0


def start_upload(installation: Installation, containers: Containers) -> Document:
    """Makes a container and answers where it is and what opens it."""
    container = str(uuid.uuid4())
    containers.create(container)
    address = f"https://{installation.blob_host}/{container}"
    signature = sas.container_sas(installation, container, permissions=PERMISSIONS, seconds=SECONDS)
    return {
        "pendingUploadType": "TemporaryBlobReference",
        "pendingUploadId": str(uuid.uuid4()),
        "blobReferenceForConsumption": {
            "blobUri": address,
            "storageAccountArmId": workspace(installation)["properties"]["storageAccount"],
            "credential": {"credentialType": "SAS", "sasUri": f"{address}?{signature}"},
        },
    }


def routes(installation: Installation, containers: Containers) -> list[Route]:
    """startPendingUpload of the assets that clients upload so: code, models, data."""

    async def start(request: Request) -> Response:
        return reply(start_upload(installation, containers))

    return [
        Route(f"{WORKSPACE}/{kind}/{{name}}/versions/{{version}}/startpendingupload", start, methods=["POST"])
        for kind in ("codes", "models", "data")
    ]
