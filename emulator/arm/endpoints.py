"""Online endpoints: names with keys, and how their traffic is divided among deployments."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from emulator import errors
from emulator.installation import PROVIDER, Installation
from emulator.operations import Kind, Operations
from emulator.scoring import keys
from emulator.scoring.fleet import Fleet
from emulator.store import Document, Store

TYPE = "endpoint"
DEPLOYMENT = "deployment"
NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9-]{1,30}[a-zA-Z0-9]")
LIMIT = 100  # endpoints of a subscription in a region, Azure's default
MIRROR_LIMIT = 50  # percent of the traffic that can be mirrored
BUSY = ("Creating", "Updating", "Deleting")


class EndpointProperties(BaseModel):
    """`properties` of an endpoint's PUT."""

    model_config = ConfigDict(extra="ignore")
    authMode: Literal["Key", "AMLToken", "AADToken"]
    description: str | None = Field(None, max_length=10_000)
    properties: dict[str, str | None] | None = None
    traffic: dict[str, int] | None = None
    mirrorTraffic: dict[str, int] | None = None
    publicNetworkAccess: Literal["Enabled", "Disabled"] | None = None


class EndpointBody(BaseModel):
    """The body of a PUT."""

    model_config = ConfigDict(extra="ignore")
    location: str | None = None
    tags: dict[str, str] | None = None
    kind: str | None = None
    identity: dict[str, Any] | None = None
    properties: EndpointProperties


class RegenerateBody(BaseModel):
    """The body of regenerateKeys."""

    model_config = ConfigDict(extra="ignore")
    keyType: Literal["Primary", "Secondary"]
    keyValue: str | None = Field(None, min_length=16, max_length=256)


class Endpoints:
    """The workspace's online endpoints."""

    def __init__(
        self,
        installation: Installation,
        store: Store,
        operations: Operations,
        fleet: Fleet,
        *,
        limit: int = LIMIT,
    ) -> None:
        self._installation = installation
        self._store = store
        self._operations = operations
        self._fleet = fleet
        self._limit = limit

    def find(self, name: str) -> Document | None:
        """What is kept of the endpoint, its keys among it; None when there is none."""
        return self._store.get(TYPE, name)

    def require(self, name: str) -> Document:
        """As `find`.

        Raises:
            AzureError: 404.
        """
        kept = self._store.get(TYPE, name)
        if kept is None:
            path = f"{PROVIDER}/workspaces/{self._installation.workspace}/onlineEndpoints/{name}"
            raise errors.resource_not_found(path, self._installation.resource_group)
        return kept

    def get(self, name: str) -> Document:
        """The endpoint as ARM shows it."""
        return self._render(self.require(name))

    def list(self) -> list[Document]:
        """All endpoints, oldest first."""
        return [self._render(kept) for kept in self._store.list(TYPE)]

    def put(self, name: str, body: EndpointBody) -> tuple[Document, dict[str, str]]:
        """Creates or changes an endpoint; returns it as it now is and the operation's headers.

        Raises:
            AzureError: 400, a bad name, traffic that does not add up or too many endpoints; 409, an operation is running.
        """
        if not NAME.fullmatch(name):
            raise errors.endpoint_name(name)
        found = self._store.get(TYPE, name)
        if found is None:
            usage = len(self._store.list(TYPE))
            if usage >= self._limit:
                raise errors.endpoint_quota(self._installation.subscription_id, usage, self._limit)
        self.require_idle(found)
        sent, now = body.properties, _now()
        kept = {
            "name": name if found is None else found["name"],
            "authMode": sent.authMode,
            "description": sent.description,
            "tags": body.tags or {},
            "properties": {key: value for key, value in (sent.properties or {}).items() if value is not None},
            "traffic": self._traffic(name, sent.traffic, whole=True),
            "mirrorTraffic": self._traffic(name, sent.mirrorTraffic, whole=False),
            "publicNetworkAccess": sent.publicNetworkAccess or "Enabled",
            "principal": found["principal"] if found else str(uuid.uuid4()),
            "keys": found["keys"] if found else {"primary": keys.new_key(), "secondary": keys.new_key()},
            "created": found["created"] if found else now,
            "modified": now,
            "state": "Creating" if found is None else "Updating",
        }

        async def provision() -> None:
            self._change(name, state="Succeeded")

        return self._begin(kept, provision, found is None)

    def delete(self, name: str) -> dict[str, str] | None:
        """Deletes an endpoint with its deployments; returns the operation's headers, None when there is no such endpoint."""
        found = self._store.get(TYPE, name)
        if found is None:
            return None
        self._store.put(TYPE, name, {**found, "state": "Deleting"})

        async def remove() -> None:
            for deployment in self._store.list(DEPLOYMENT, f"{name}/"):
                await self._fleet.end(deployment["endpoint"], deployment["name"])
                self._store.delete(DEPLOYMENT, f"{name}/{deployment['name']}")
            self._store.delete(TYPE, name)

        return self._operations.start(Kind.ENDPOINT, remove)

    def drop_from(self, name: str, split: Literal["traffic", "mirrorTraffic"], deployment: str) -> None:
        """Takes a deployment that is gone out of the endpoint's traffic."""
        kept = self._store.get(TYPE, name)
        if kept is not None:
            self._change(name, **{split: {key: share for key, share in kept[split].items() if key != deployment}})

    # ------------------------------------------------------------------------------------------------- credentials

    def keys(self, name: str) -> Document:
        """The endpoint's keys.

        Raises:
            AzureError: 400, it takes tokens, not keys.
        """
        kept = self.require(name)
        if kept["authMode"] != "Key":
            raise errors.bad_request(f"Listing keys is not allowed: the endpoint's auth mode is {kept['authMode']}.")
        return {"primaryKey": kept["keys"]["primary"], "secondaryKey": kept["keys"]["secondary"]}

    def regenerate(self, name: str, body: RegenerateBody) -> dict[str, str]:
        """Makes one key anew; returns the operation's headers."""
        self.keys(name)

        async def replace() -> None:
            kept = self.require(name)
            which = body.keyType.lower()
            # The SDK sends the key that it wants replaced.
            given = body.keyValue if body.keyValue != kept["keys"][which] else None
            self._change(name, keys={**kept["keys"], which: given or keys.new_key()})

        return self._operations.start(Kind.ENDPOINT, replace)

    def token(self, name: str) -> Document:
        """A token for scoring, of an endpoint whose auth mode is AMLToken; times in seconds since the epoch.

        Raises:
            AzureError: 400, it takes keys.
        """
        kept = self.require(name)
        if kept["authMode"] != "AMLToken":
            raise errors.bad_request(f"Getting a token is not allowed: the endpoint's auth mode is {kept['authMode']}.")
        now = int(time.time())
        return {
            "accessToken": keys.issue_token(kept),
            "tokenType": "Bearer",
            "expiryTimeUtc": now + keys.TOKEN_SECONDS,
            "refreshAfterTimeUtc": now + keys.TOKEN_SECONDS // 2,
        }

    # ----------------------------------------------------------------------------------------------------- helpers

    def require_idle(self, kept: Document | None) -> None:
        """Raises:
        AzureError: 409, an operation is running on the endpoint.
        """
        if kept is not None and kept["state"] in BUSY:
            raise errors.conflict(
                f"Conflict: endpoint {kept['name']} is in the state {kept['state']}; wait for its operation to end and try again."
            )

    def finish_interrupted(self) -> Sequence[str]:
        """Ends what a killed emulator left in the middle; returns the endpoints whose deletion has to be done again."""
        deleting = []
        for kept in self._store.list(TYPE):
            if kept["state"] == "Deleting":
                deleting.append(kept["name"])
            elif kept["state"] in BUSY:
                self._change(kept["name"], state="Succeeded")
        return deleting

    def _begin(self, kept: Document, work: Any, is_new: bool) -> tuple[Document, dict[str, str]]:
        headers = self._operations.start(Kind.ENDPOINT, work)
        kept["operation"] = headers["Azure-AsyncOperation"]
        self._store.put(TYPE, kept["name"], kept)
        # What Azure answers to a PUT is thinner than what it shows later.
        answer = self._render({**kept, "state": "Creating"})
        answer["properties"].update(scoringUri=None, swaggerUri=None)
        if not is_new:
            answer = {key: value for key, value in answer.items() if key not in ("location", "identity")}
            answer["systemData"] = {"lastModifiedAt": kept["modified"]}
            answer["properties"]["properties"].pop("azureml.onlineendpointid", None)
        return answer, {
            **headers,
            "Location": f"https://management.azure.com{self._id(kept)}?api-version=2022-02-01-preview",
        }

    def _traffic(self, endpoint: str, traffic: dict[str, int] | None, *, whole: bool) -> dict[str, int]:
        names = {kept["name"].lower(): kept["name"] for kept in self._store.list(DEPLOYMENT, f"{endpoint}/")}
        divided = {}
        for name, percent in (traffic or {}).items():
            if name.lower() not in names:
                raise errors.traffic(f"Deployment {name[:64]} does not exist in endpoint {endpoint}.")
            if not 0 <= percent <= (100 if whole else MIRROR_LIMIT):
                raise errors.traffic(f"The percentage of deployment {name} is {percent}, which is out of range.")
            divided[names[name.lower()]] = percent
        if whole and sum(divided.values()) not in (0, 100):
            raise errors.traffic(
                f"The traffic percentages must add up to 0 or 100; they add up to {sum(divided.values())}."
            )
        return divided

    def _change(self, name: str, **changes: Any) -> None:
        kept = self._store.get(TYPE, name)
        if kept is not None:
            self._store.put(TYPE, name, {**kept, **changes})

    def _id(self, kept: Document) -> str:
        return f"{self._installation.workspace_id}/onlineEndpoints/{kept['name']}"

    def _render(self, kept: Document) -> Document:
        host = f"https://{kept['name'].lower()}{self._installation.scoring_suffix}"
        ready = kept["state"] != "Creating"
        return {
            "id": self._id(kept),
            "name": kept["name"],
            "type": f"{PROVIDER}/workspaces/onlineEndpoints",
            "location": self._installation.region,
            "tags": kept["tags"],
            "kind": "Managed",
            "identity": {
                "type": "SystemAssigned",
                "principalId": kept["principal"],
                "tenantId": self._installation.tenant_id,
            },
            "properties": {
                "authMode": kept["authMode"],
                "description": kept["description"],
                "properties": {
                    **kept["properties"],
                    "azureml.onlineendpointid": self._id(kept).lower(),
                    "AzureAsyncOperationUri": kept["operation"],
                },
                "scoringUri": f"{host}/score" if ready else None,
                "swaggerUri": f"{host}/swagger.json" if ready else None,
                "provisioningState": kept["state"],
                "traffic": kept["traffic"],
                "mirrorTraffic": kept["mirrorTraffic"],
                "publicNetworkAccess": kept["publicNetworkAccess"],
                "compute": None,
            },
            "systemData": {"createdAt": kept["created"], "createdBy": "emulator", "lastModifiedAt": kept["modified"]},
        }


def _now() -> str:
    return datetime.now(UTC).isoformat()
