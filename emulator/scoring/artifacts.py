"""Where the files of a deployment's model and scoring script are."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from emulator import errors
from emulator.store import Document

WORKSPACE_ASSET = re.compile(
    r"(?:azureml:)?/subscriptions/[^/]+/resourcegroups/[^/]+/providers/microsoft\.machinelearningservices/workspaces/[^/]+"
    r"/(?P<kind>models|codes)/(?P<name>[^/]+)/versions/(?P<version>[^/]+)",
    re.IGNORECASE,
)
REGISTRY_ASSET = re.compile(
    r"azureml://registries/(?P<registry>[^/]+)/models/(?P<name>[^/]+)/versions/(?P<version>[^/]+)", re.IGNORECASE
)
SHORT_ASSET = re.compile(r"azureml:(?P<name>[^:/]+):(?P<version>[^:/]+)", re.IGNORECASE)
DATASTORE_PATH = re.compile(r"azureml://.*?datastores/(?P<datastore>[^/]+)/paths/(?P<path>.+)", re.IGNORECASE)


class AssetSource(Protocol):
    """The workspace's assets."""

    def find(self, kind: str, name: str, version: str) -> Document | None:
        """The version's document, or None."""


class RegistrySource(Protocol):
    """The system registry's models."""

    def model(self, name: str, version: str) -> object | None:
        """The model, or None."""

    def model_folder(self, name: str, version: str) -> Path:
        """The folder of a model that exists."""


@dataclass(frozen=True)
class Artifact:
    """An asset version. `locate` gives its folder or file; it may write it first, so call it off the event loop.

    Raises (locate):
        Exception: the files cannot be had; the message says why.
    """

    name: str
    version: str
    uri: str
    locate: Callable[[], Path]


class Artifacts:
    """Finds the files. `datastore_path` maps a datastore and a path in it, `blob_path` a container and a blob in it."""

    def __init__(
        self,
        assets: AssetSource,
        registry: RegistrySource,
        datastore_path: Callable[[str, str], Path],
        blob_path: Callable[[str, str], Path],
    ) -> None:
        self._assets = assets
        self._registry = registry
        self._datastore_path = datastore_path
        self._blob_path = blob_path

    def model(self, id: str) -> Artifact:
        """The model that an id names: an ARM id, `azureml:name:version`, or a registry's id.

        Raises:
            AzureError: 404, there is no such model; 400, it is no model's id.
        """
        if found := REGISTRY_ASSET.fullmatch(id):
            if self._registry.model(found["name"], found["version"]) is None:
                raise errors.asset_not_found("Model", found["name"], found["version"])
            folder = partial(self._registry.model_folder, found["name"], found["version"])
            return Artifact(found["name"], found["version"], id, folder)
        return self._workspace_asset("models", id, "modelUri")

    def code(self, id: str) -> Artifact:
        """The folder of a code asset.

        Raises:
            AzureError: as `model`.
        """
        return self._workspace_asset("codes", id, "codeUri")

    def _workspace_asset(self, kind: str, id: str, uri: str) -> Artifact:
        found = WORKSPACE_ASSET.fullmatch(id) or SHORT_ASSET.fullmatch(id)
        if found is None or found.groupdict().get("kind", kind).lower() != kind:
            raise errors.request_invalid(f"'{id[:200]}' is no id of {kind}.")
        name, version = found["name"], found["version"]
        document = self._assets.find(kind, name, version)
        if document is None:
            raise errors.asset_not_found("Model" if kind == "models" else "Code", name, version)
        where = str(document["properties"].get(uri))
        path = self._path(where)
        return Artifact(name, version, where, lambda: path)

    def _path(self, uri: str) -> Path:
        if found := DATASTORE_PATH.fullmatch(uri):
            return self._datastore_path(found["datastore"], found["path"].rstrip("/"))
        address = urlsplit(uri)
        container, _, blob = unquote(address.path).strip("/").partition("/")
        if address.scheme != "https" or not container:
            raise errors.bad_request(f"The asset's files at '{uri[:200]}' are not in this workspace's storage account.")
        return self._blob_path(container, blob)
