"""Datastores: the workspace's names for containers, and the signatures that open them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from emulator import errors
from emulator.arm.workspaces import CREATED
from emulator.blob import sas
from emulator.blob.containers import Containers
from emulator.http import read_model, reply
from emulator.installation import PROVIDER, Installation
from emulator.names import NAMES
from emulator.routing import WORKSPACE
from emulator.store import Document, Store

TYPE = "datastore"
DEFAULT = "workspaceblobstore"
LONGEST_HOURS = 24 * 7  # of a listSecrets signature
SUFFIX = "core.windows.net"


class Properties(BaseModel):
    """`properties` of a datastore's PUT. Its credentials are not kept: the account's own key signs."""

    model_config = ConfigDict(extra="ignore", populate_by_name=True)
    type: Literal["AzureBlob"] = Field(alias="datastoreType")
    account: str = Field(alias="accountName", max_length=100)
    container: str = Field(alias="containerName", max_length=100)
    description: str | None = Field(None, max_length=10_000)
    tags: dict[str, str] | None = None
    properties: dict[str, str] | None = None


class DatastoreBody(BaseModel):
    """The body of a PUT."""

    properties: Properties


class SecretsBody(BaseModel):
    """The body of listSecrets: how many hours the signature shall open the account."""

    model_config = ConfigDict(extra="ignore", populate_by_name=True)
    hours: int = Field(1, alias="expireAfterHours", ge=1, le=LONGEST_HOURS)


class Datastores:
    """The four datastores that every workspace has, and those that a user adds over the same account's containers."""

    def __init__(self, installation: Installation, containers: Containers, store: Store) -> None:
        self._installation = installation
        self._containers = containers
        self._store = store
        for name, kind, container in (
            (DEFAULT, "AzureBlob", containers.default),
            ("workspaceartifactstore", "AzureBlob", "azureml"),
            ("workspaceworkingdirectory", "AzureFile", containers.code_share),
            ("workspacefilestore", "AzureFile", containers.file_share),
        ):
            if store.get(TYPE, name) is None:
                store.put(
                    TYPE,
                    name,
                    {"name": name, "kind": kind, "container": container, "created": CREATED, "builtin": True},
                )

    def get(self, name: str) -> Document:
        """The datastore as ARM shows it.

        Raises:
            AzureError: 404.
        """
        return self._render(self._require(name))

    def list(self, *, default_only: bool = False) -> list[Document]:
        """All datastores, the default one first."""
        return [self._render(kept) for kept in self._store.list(TYPE) if not default_only or kept["name"] == DEFAULT]

    def put(self, name: str, properties: Properties) -> tuple[Document, bool]:
        """Creates or changes a user's datastore; returns it and whether it is new.

        Raises:
            AzureError: 400, a bad name, another account or no such container; 409, the name is one of the workspace's own.
        """
        if not NAMES["datastores"].takes(name):
            raise errors.request_invalid(NAMES["datastores"].refusal(name))
        if properties.account.lower() != self._installation.storage_account:
            raise errors.bad_request(
                f"Storage account {properties.account[:64]} is not reachable; only the workspace's own is."
            )
        self._containers.folder(properties.container)
        kept = self._store.get(TYPE, name)
        if kept is not None and kept.get("builtin"):
            raise errors.conflict(f"Datastore {name} belongs to the workspace and cannot be changed.")
        made = {
            "name": name,
            "kind": properties.type,
            "container": properties.container,
            "created": kept["created"] if kept else datetime.now(UTC).isoformat(),
            "description": properties.description,
            "tags": properties.tags,
            "properties": properties.properties,
        }
        self._store.put(TYPE, name, made)
        return self._render(made), kept is None

    def delete(self, name: str) -> bool:
        """Forgets a user's datastore, not its data; False when there was none.

        Raises:
            AzureError: 409, it belongs to the workspace.
        """
        kept = self._store.get(TYPE, name)
        if kept is not None and kept.get("builtin"):
            raise errors.conflict(f"Datastore {name} belongs to the workspace and cannot be deleted.")
        return self._store.delete(TYPE, name)

    def secrets(self, name: str, hours: int) -> Document:
        """An account signature, as listSecrets answers it."""
        self._require(name)
        return {"secretsType": "Sas", "sasToken": "?" + sas.account_sas(self._installation, seconds=hours * 3600)}

    def locate(self, name: str, path: str) -> Path:
        """The file or folder that `azureml://.../datastores/{name}/paths/{path}` stands for; it need not exist.

        Raises:
            AzureError: 404, no such datastore; 400, the path leaves its container.
        """
        return self._containers.locate(self._require(name)["container"], path)

    def _require(self, name: str) -> Document:
        kept = self._store.get(TYPE, name)
        if kept is None:
            raise errors.datastore_not_found(name)
        return kept

    def _render(self, kept: Document) -> Document:
        where = "fileShareName" if kept["kind"] == "AzureFile" else "containerName"
        properties: dict[str, Any] = {
            "description": kept.get("description"),
            "tags": kept.get("tags"),
            "properties": kept.get("properties"),
            "isDefault": kept["name"] == DEFAULT,
            "credentials": {"credentialsType": "AccountKey"},
            "intellectualProperty": None,
            "subscriptionId": self._installation.subscription_id,
            "resourceGroup": self._installation.resource_group,
            "datastoreType": kept["kind"],
            "accountName": self._installation.storage_account,
            where: kept["container"],
            "endpoint": SUFFIX,
            "protocol": "https",
            "serviceDataAccessAuthIdentity": "None",
        }
        return {
            "id": f"{self._installation.workspace_id}/datastores/{kept['name']}",
            "name": kept["name"],
            "type": f"{PROVIDER}/workspaces/datastores",
            "properties": properties,
            "systemData": {
                "createdAt": kept["created"],
                "createdByType": "Application",
                "lastModifiedAt": kept["created"],
                "lastModifiedByType": "Application",
            },
        }


def routes(datastores: Datastores) -> list[Route]:
    """Datastores and their secrets."""
    collection = WORKSPACE + "/datastores"

    async def listed(request: Request) -> Response:
        query = {name.lower(): value for name, value in request.query_params.items()}
        names = {name.strip().lower() for name in query.get("names", "").split(",") if name.strip()}
        found = datastores.list(default_only=query.get("isdefault", "").lower() == "true")
        return reply({"value": [one for one in found if not names or one["name"].lower() in names]})

    async def get(request: Request) -> Response:
        return reply(datastores.get(request.path_params["name"]))

    async def put(request: Request) -> Response:
        body = await read_model(request, DatastoreBody)
        document, created = datastores.put(request.path_params["name"], body.properties)
        return reply(document, 201 if created else 200)

    async def delete(request: Request) -> Response:
        return reply(None, 200 if datastores.delete(request.path_params["name"]) else 204)

    async def secrets(request: Request) -> Response:
        body = await read_model(request, SecretsBody)
        return reply(datastores.secrets(request.path_params["name"], body.hours))

    return [
        Route(collection, listed, methods=["GET"]),
        Route(collection + "/{name}", get, methods=["GET"]),
        Route(collection + "/{name}", put, methods=["PUT"]),
        Route(collection + "/{name}", delete, methods=["DELETE"]),
        Route(collection + "/{name}/listsecrets", secrets, methods=["POST"]),
    ]
