"""Online endpoints: names with keys, and how their traffic is divided among deployments."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal

from emulator import errors
from emulator.arm.endpoint_body import EndpointBody, RegenerateBody
from emulator.arm.endpoint_document import endpoint_id, render, render_put
from emulator.faults.book import under
from emulator.faults.rules import QuotaExhausted
from emulator.installation import PROVIDER, Installation
from emulator.names import NAMES
from emulator.operations import Kind, Operations
from emulator.scoring import keys
from emulator.scoring.fleet import Fleet
from emulator.store import Document, Store

TYPE = "endpoint"
DEPLOYMENT = "deployment"
LIMIT = 100  # endpoints of a subscription in a region, Azure's default
MIRROR_LIMIT = 50  # percent of the traffic that can be mirrored
WORKING = ("Creating", "Updating")
BUSY = (*WORKING, "Deleting")


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
        return render(self._installation, self.require(name))

    def list(self) -> list[Document]:
        """All endpoints, oldest first."""
        return [render(self._installation, kept) for kept in self._store.list(TYPE)]

    def put(self, name: str, body: EndpointBody) -> tuple[Document, dict[str, str]]:
        """Creates or changes an endpoint; returns what a PUT answers and the operation's headers.

        The same body again, while it is being worked on, is the same request again.

        Raises:
            AzureError: 400, a bad name, traffic that does not add up or too many endpoints; 409, an operation is running.
        """
        if not NAMES["onlineEndpoints"].takes(name):
            raise errors.inferencing_failed("Name", NAMES["onlineEndpoints"].refusal(name))
        found, sent, now = self._store.get(TYPE, name), body.properties, datetime.now(UTC).isoformat()
        shares = self._traffic(name, sent.traffic, most=100)
        if sum(shares.values()) not in (0, 100):
            raise errors.traffic(f"The percentages must add up to 0 or 100, not {sum(shares.values())}.")
        asked: Document = {
            "authMode": sent.authMode,
            "description": sent.description,
            "tags": body.tags or {},
            "properties": {key: value for key, value in (sent.properties or {}).items() if value is not None},
            "traffic": shares,
            "mirrorTraffic": self._traffic(name, sent.mirrorTraffic, most=MIRROR_LIMIT),
            "publicNetworkAccess": sent.publicNetworkAccess or "Enabled",
        }
        if found is None:
            self._require_room()
        elif found["state"] in WORKING and all(found[key] == value for key, value in asked.items()):
            return self._answer(found)
        else:
            self.require_idle(found)
        made = found or {
            "name": name,
            "principal": str(uuid.uuid4()),
            "keys": {"primary": keys.new_key(), "secondary": keys.new_key()},
            "created": now,
        }
        kept = {**made, **asked, "modified": now, "state": "Updating" if found else "Creating"}

        async def provision() -> None:
            current = self._store.get(TYPE, name)
            if current is not None and current["state"] in WORKING:
                self._change(name, state="Succeeded")

        headers = self._operations.start(Kind.ENDPOINT, provision, partial(self._change, name, state="Failed"))
        kept["operation"] = headers["Azure-AsyncOperation"]
        self._store.put(TYPE, name, kept)
        return self._answer(kept)

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

        return self._operations.start(Kind.ENDPOINT, remove, partial(self._change, name, state="Failed"))

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

    def _answer(self, kept: Document) -> tuple[Document, dict[str, str]]:
        return render_put(self._installation, kept), put_headers(
            kept["operation"], endpoint_id(self._installation, kept["name"])
        )

    def _require_room(self) -> None:
        usage = len(self._store.list(TYPE))
        limit = usage if under(QuotaExhausted) else self._limit
        if usage >= limit:
            raise errors.endpoint_quota(self._installation.subscription_id, usage, limit)

    def _traffic(self, endpoint: str, traffic: dict[str, int] | None, *, most: int) -> dict[str, int]:
        """The shares by the deployments' own names; each is at most `most` percent."""
        names = {kept["name"].lower(): kept["name"] for kept in self._store.list(DEPLOYMENT, f"{endpoint}/")}
        shares = {}
        for name, percent in (traffic or {}).items():
            if name.lower() not in names:
                raise errors.traffic(f"Deployment {name[:64]} does not exist in endpoint {endpoint}.")
            if not 0 <= percent <= most:
                raise errors.traffic(f"The percentage of deployment {name} is {percent}; it must be 0 to {most}.")
            shares[names[name.lower()]] = percent
        return shares

    def _change(self, name: str, **changes: Any) -> None:
        kept = self._store.get(TYPE, name)
        if kept is not None:
            self._store.put(TYPE, name, {**kept, **changes})


def put_headers(operation: str, id: str) -> dict[str, str]:
    """The headers of a PUT's answer: how to follow its operation, and where the resource is."""
    address = f"https://management.azure.com{id}?api-version=2023-04-01-preview"
    return {"Azure-AsyncOperation": operation, "Location": address, "x-ms-async-operation-timeout": "PT30M"}
