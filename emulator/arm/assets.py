"""Versioned assets of the workspace: models, data, environments, components, code.

They share one shape: a container (the name) with versions. What a version holds can't be changed later; its description, tags,
stage and whether it is archived can.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from emulator import errors
from emulator.installation import PROVIDER, Installation
from emulator.names import NAMES, VERSIONS
from emulator.store import Document, Store

TYPE = "asset"
ARCHIVED_NAME = "archived-asset"  # a name that was archived whole

URI = r"\A[^\x00-\x1f\x7f]{1,4096}\z"


class AssetKind(StrEnum):
    """The collections of assets, by their name in the path."""

    MODELS = "models"
    DATA = "data"
    ENVIRONMENTS = "environments"
    COMPONENTS = "components"
    CODES = "codes"

    @property
    def noun(self) -> str:
        """As Azure's errors say it."""
        return {
            "models": "Model",
            "data": "Data",
            "environments": "Environment",
            "components": "Component",
            "codes": "Code",
        }[self]


# Which property says what a version is; it can't be changed once written.
CONTENT = {
    AssetKind.MODELS: "modelUri",
    AssetKind.DATA: "dataUri",
    AssetKind.CODES: "codeUri",
    AssetKind.COMPONENTS: "componentSpec",
    AssetKind.ENVIRONMENTS: "image",
}


class AssetProperties(BaseModel):
    """What all kinds have in common; the rest is kept as it came."""

    model_config = ConfigDict(extra="allow")
    description: str | None = Field(None, max_length=20_000)
    tags: dict[str, Any] | None = None
    properties: dict[str, Any] | None = None
    isArchived: bool | None = False
    isAnonymous: bool | None = False
    modelUri: str | None = Field(None, pattern=URI)
    dataUri: str | None = Field(None, pattern=URI)
    codeUri: str | None = Field(None, pattern=URI)
    componentSpec: dict[str, Any] | None = None


class AssetBody(BaseModel):
    """The body of a version's PUT."""

    model_config = ConfigDict(extra="allow")
    properties: AssetProperties


class NameProperties(BaseModel):
    """What can be changed of a name."""

    model_config = ConfigDict(extra="allow")
    isArchived: bool | None = False


class NameBody(BaseModel):
    """The body of a name's PUT."""

    model_config = ConfigDict(extra="allow")
    properties: NameProperties


class Assets:
    """All assets of the workspace. `locate` turns an `azureml://` URI into its full form, or raises why it can't be."""

    def __init__(self, installation: Installation, store: Store, locate: Callable[[str], str]) -> None:
        self._installation = installation
        self._store = store
        self._locate = locate

    def find(self, kind: str, name: str, version: str) -> Document | None:
        """The version as ARM shows it, or None."""
        return self._store.get(TYPE, _key(kind, name, version))

    def get(self, kind: AssetKind, name: str, version: str) -> Document:
        """The version.

        Raises:
            AzureError: 404 with Azure's two-part error.
        """
        document = self.find(kind, name, version)
        if document is None:
            raise errors.asset_not_found(kind.noun, name, version)
        return document

    def put(self, kind: AssetKind, name: str, version: str, body: AssetBody) -> tuple[Document, bool]:
        """Creates the version, or updates what may be updated; returns it and whether it is new.

        Raises:
            AzureError: a bad name or version, or other content under a version that exists.
        """
        for rule, given in ((NAMES[kind], name), (VERSIONS[kind], version)):
            if not rule.takes(given):
                raise errors.request_invalid(rule.refusal(given))
        found = self.find(kind, name, version)
        properties = self._complete(kind, body.properties)
        if found is not None:
            content = CONTENT[kind]
            if kind is not AssetKind.COMPONENTS and found["properties"].get(content) != properties.get(content):
                raise errors.conflict(
                    f"A {kind.noun.lower()} version with this name and version already exists. If you are trying to create "
                    f"a new {kind.noun.lower()} version, use a different name or version. If you are trying to update an "
                    "existing one, its path cannot be changed. Only tags, description, and isArchived can be updated."
                )
            properties = {**found["properties"], **{k: v for k, v in properties.items() if k != "componentSpec"}}
        now = _now()
        created = now if found is None else found["systemData"]["createdAt"]
        document = {
            "id": f"{self._installation.workspace_id}/{kind}/{name}/versions/{version}",
            "name": version,
            "type": f"{PROVIDER}/workspaces/{kind}/versions",
            "properties": properties,
            "systemData": {
                "createdAt": created,
                "createdBy": "emulator",
                "createdByType": "Application",
                "lastModifiedAt": now,
                "lastModifiedBy": "emulator",
                "lastModifiedByType": "Application",
            },
        }
        self._store.put(TYPE, _key(kind, name, version), document)
        return document, found is None

    def versions(
        self, kind: AssetKind, name: str, view: str = "ActiveOnly", newest_first: bool = False
    ) -> list[Document]:
        """The versions of a name, oldest first unless said otherwise.

        Raises:
            AzureError: 404, there is no such name.
        """
        found = self._store.list(TYPE, _key(kind, name, ""))
        if not found:
            raise errors.asset_not_found(kind.noun, name)
        shown = [document for document in found if in_view(document, view)]
        return shown[::-1] if newest_first else shown

    def with_hash(self, kind: AssetKind, hash: str) -> list[Document]:
        """The versions of that content, of any name: a client asks before it uploads code again."""
        found = self._store.list(TYPE, f"{kind}/")
        return [document for document in found if document["properties"]["properties"].get("hash_sha256") == hash]

    def containers(self, kind: AssetKind, view: str = "ActiveOnly") -> list[Document]:
        """Every name in view; anonymous assets have no container of their own."""
        names: dict[str, list[Document]] = {}
        for document in self._store.list(TYPE, f"{kind}/"):
            if not document["properties"].get("isAnonymous"):
                names.setdefault(document["id"].split("/")[-3], []).append(document)
        found = (self._container(kind, name, versions) for name, versions in names.items())
        return [container for container in found if in_view(container, view)]

    def container(self, kind: AssetKind, name: str) -> Document:
        """One name, with its latest and next version.

        Raises:
            AzureError: 404, there is no such name.
        """
        return self._container(kind, name, self.versions(kind, name, "All"))

    def archive(self, kind: AssetKind, name: str, archived: bool) -> Document:
        """Archives or restores a whole name; its versions stay as they are.

        Raises:
            AzureError: 404, there is no such name.
        """
        self.container(kind, name)
        if archived:
            self._store.put(ARCHIVED_NAME, _key(kind, name, ""), {"name": name})
        else:
            self._store.delete(ARCHIVED_NAME, _key(kind, name, ""))
        return self.container(kind, name)

    def delete(self, kind: AssetKind, name: str, version: str) -> bool:
        """Removes the version; False when there was none."""
        return self._store.delete(TYPE, _key(kind, name, version))

    def _container(self, kind: AssetKind, name: str, versions: list[Document]) -> Document:
        numbers = [
            int(document["name"])
            for document in versions
            if document["name"].isdecimal() and len(document["name"]) < 19
        ]
        active = [document for document in versions if not document["properties"].get("isArchived")]
        newest = (active or versions)[-1]
        archived = not active or self._store.get(ARCHIVED_NAME, _key(kind, name, "")) is not None
        return {
            "id": f"{self._installation.workspace_id}/{kind}/{name}",
            "name": name,
            "type": f"{PROVIDER}/workspaces/{kind}",
            "properties": {
                "description": newest["properties"].get("description"),
                "tags": newest["properties"].get("tags") or {},
                "properties": {},
                "isArchived": archived,
                "latestVersion": newest["name"],
                "nextVersion": str(max(numbers, default=0) + 1),
                **({"dataType": newest["properties"].get("dataType")} if kind is AssetKind.DATA else {}),
            },
            "systemData": newest["systemData"],
        }

    def _complete(self, kind: AssetKind, sent: AssetProperties) -> dict[str, Any]:
        """The properties as the service keeps them: what was sent, URIs in full, and what Azure adds."""
        properties = sent.model_dump(exclude_unset=True)
        content = CONTENT[kind]
        if kind is not AssetKind.ENVIRONMENTS and not properties.get(content):
            raise errors.request_invalid(f"Required property '{content}' not found in JSON. Path 'properties'.")
        properties["tags"] = {k: str(v) for k, v in (sent.tags or {}).items()}
        properties["properties"] = {k: str(v) for k, v in (sent.properties or {}).items()}
        properties["isArchived"] = bool(sent.isArchived)
        properties["isAnonymous"] = bool(sent.isAnonymous)
        properties["provisioningState"] = "Succeeded"
        for key in ("modelUri", "dataUri", "codeUri"):
            uri = properties.get(key)
            if uri is not None and uri.startswith("azureml:"):
                properties[key] = self._locate(uri)
        if kind is AssetKind.MODELS:
            job = re.match(r"azureml://jobs/([^/]+)/", sent.modelUri or "")
            properties.setdefault("flavors", {})
            properties["jobName"] = job[1] if job else properties.get("jobName")
            properties["stage"] = (
                "Archived"
                if sent.isArchived
                else "Logged"
                if sent.isAnonymous
                else properties.get("stage") or "Development"
            )
            properties.update(intellectualProperty=None, autoDeleteSetting=None)
        return properties


def _key(kind: str, name: str, version: str) -> str:
    return f"{kind}/{name}/{version}"


def in_view(document: Document, view: str) -> bool:
    """Whether a list of that `listViewType` (ActiveOnly, ArchivedOnly, All) shows the version."""
    archived = bool(document["properties"].get("isArchived"))
    return view == "All" or archived == (view == "ArchivedOnly")


def _now() -> str:
    return datetime.now(UTC).isoformat()
