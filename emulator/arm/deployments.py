"""Managed online deployments: a model, and the processes that serve it under an endpoint."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from emulator import errors
from emulator.arm import skus
from emulator.arm.deployment_body import DeploymentBody, LogsBody, Sku
from emulator.arm.deployment_document import render
from emulator.arm.endpoints import BUSY, DEPLOYMENT, WORKING, Endpoints, put_headers
from emulator.arm.quota import DEDICATED
from emulator.arm.serving import Serving
from emulator.installation import PROVIDER, Installation
from emulator.names import NAMES
from emulator.operations import Kind, Operations
from emulator.scoring.artifacts import Artifacts
from emulator.scoring.fleet import Fleet
from emulator.store import Document, Store

Reserve = Callable[[str, int, int], None]


class Deployments:
    """The deployments of all endpoints. `reserve` (instance type, instances, those that are there) refuses what the serving quota
    cannot hold."""

    def __init__(
        self,
        installation: Installation,
        store: Store,
        operations: Operations,
        endpoints: Endpoints,
        fleet: Fleet,
        artifacts: Artifacts,
        reserve: Reserve,
    ) -> None:
        self._installation = installation
        self._store = store
        self._operations = operations
        self._endpoints = endpoints
        self._fleet = fleet
        self._serving = Serving(store, fleet, artifacts)
        self._reserve = reserve
        self._resuming: set[asyncio.Task[None]] = set()

    # --------------------------------------------------------------------------------------------------- resources

    def find(self, endpoint: str, name: str) -> Document | None:
        """What is kept of the deployment: its body under `properties`, `capacity`, `state`; None when there is none."""
        return self._store.get(DEPLOYMENT, f"{endpoint}/{name}")

    def get(self, endpoint: str, name: str) -> Document:
        """The deployment as ARM shows it.

        Raises:
            AzureError: 404.
        """
        return render(self._installation, self._require(endpoint, name))

    def list(self, endpoint: str) -> list[Document]:
        """The endpoint's deployments, oldest first.

        Raises:
            AzureError: 404, there is no such endpoint.
        """
        self._endpoints.require(endpoint)
        return [render(self._installation, kept) for kept in self._store.list(DEPLOYMENT, f"{endpoint}/")]

    def put(self, endpoint: str, name: str, body: DeploymentBody) -> tuple[Document, dict[str, str]]:
        """Creates or changes a deployment; returns it as it now is and the operation's headers.

        The same body again, while it is being worked on, is the same request again.

        Raises:
            AzureError: 404, no such endpoint or model; 400, a bad name or no quota; 409, an operation is running.
        """
        owner = self._endpoints.require(endpoint)
        if not NAMES["deployments"].takes(name):
            raise errors.inferencing_failed("Name", NAMES["deployments"].refusal(name))
        if owner["state"] in ("Creating", "Deleting"):
            self._endpoints.require_idle(owner)
        found, sent, sku = self.find(endpoint, name), body.properties, body.sku or Sku()
        size, now = skus.find(sent.instanceType), datetime.now(UTC).isoformat()
        asked = {
            "tags": body.tags or {},
            "capacity": sku.capacity,
            "properties": sent.model_dump(exclude_none=True)
            | {"instanceType": size.name if size else sent.instanceType},
        }
        if found is not None and found["state"] in BUSY:
            if found["state"] in WORKING and all(found[key] == value for key, value in asked.items()):
                return self._answer(found)
            state = found["state"]
            raise errors.conflict(
                f"Conflict: deployment {name} is in the state {state}; wait for its operation to end and try again."
            )
        if sent.model is None and sent.codeConfiguration is None:
            raise errors.request_invalid("A deployment needs a model or a scoring script. Path 'properties'.")
        self._serving.resolve(sent)  # an absent model is refused at once, not after the answer
        self._require_quota(found, sent.instanceType, sku.capacity)
        kept = {
            "name": found["name"] if found else name,
            "endpoint": owner["name"],
            **asked,
            "isFetched": False,
            "revision": str(uuid.uuid4()),
            "created": found["created"] if found else now,
            "modified": now,
            "state": "Updating" if found else "Creating",
        }
        headers = self._operations.start(
            Kind.DEPLOYMENT,
            partial(self._serving.provision, kept, found),
            partial(self._serving.settle, kept, state="Failed"),
        )
        kept["operation"] = headers["Azure-AsyncOperation"]
        self._store.put(DEPLOYMENT, f"{endpoint}/{name}", kept)
        return self._answer(kept)

    def delete(self, endpoint: str, name: str) -> dict[str, str] | None:
        """Deletes a deployment; returns the operation's headers, None when there is no such deployment.

        Raises:
            AzureError: 400, it has traffic.
        """
        owner, kept = self._endpoints.find(endpoint), self.find(endpoint, name)
        if owner is None or kept is None:
            return None
        percent = owner["traffic"].get(kept["name"], 0)
        if percent:
            raise errors.deployment_has_traffic(kept["name"], percent)
        kept = {**kept, "state": "Deleting", "revision": str(uuid.uuid4())}
        self._store.put(DEPLOYMENT, f"{endpoint}/{name}", kept)

        async def remove() -> None:
            await self._fleet.end(endpoint, name)
            self._store.delete(DEPLOYMENT, f"{endpoint}/{name}")
            # An entry of 0 % would outlive the deployment and make the next change of traffic fail.
            self._endpoints.drop_from(endpoint, "traffic", kept["name"])
            self._endpoints.drop_from(endpoint, "mirrorTraffic", kept["name"])

        return self._operations.start(Kind.DEPLOYMENT, remove, partial(self._serving.settle, kept, state="Failed"))

    def logs(self, endpoint: str, name: str, body: LogsBody) -> str:
        """The last lines of a container's log, under Azure's own heading.

        Raises:
            AzureError: 404.
        """
        return self._serving.logs(self._require(endpoint, name), body)

    def cores_in_use(self) -> Counter[tuple[str, str]]:
        """The vCPUs that deployments hold, by family and priority, with what is reserved for their upgrades."""
        cores: Counter[tuple[str, str]] = Counter()
        for kept in self._store.list(DEPLOYMENT):
            if size := skus.find(kept["properties"]["instanceType"]):
                cores[size.family, DEDICATED] += size.vcpus_served(kept["capacity"])
        return cores

    # -------------------------------------------------------------------------------------------------------- life

    async def start(self) -> None:
        """Takes up what an earlier run of the emulator left: serves again what was served, ends what is not wanted."""
        for name in self._endpoints.finish_interrupted():
            self._endpoints.delete(name)
        kept = self._store.list(DEPLOYMENT)
        await self._fleet.end_strays({(one["endpoint"], one["name"]) for one in kept if one["state"] == "Succeeded"})
        for one in kept:
            if one["state"] == "Succeeded":
                task = asyncio.create_task(self._serving.resume(one))
                self._resuming.add(task)
                task.add_done_callback(self._resuming.discard)
            elif one["state"] == "Deleting":
                self._store.delete(DEPLOYMENT, f"{one['endpoint']}/{one['name']}")
            elif one["state"] in BUSY:
                self._serving.settle(one, state="Failed")

    async def stop(self) -> None:
        """Ends every process."""
        for task in list(self._resuming):
            task.cancel()
        await asyncio.gather(*self._resuming, return_exceptions=True)
        await self._fleet.close()

    # ------------------------------------------------------------------------------------------------------ helpers

    def _require_quota(self, found: Document | None, instance_type: str, instances: int) -> None:
        """A change needs quota only for what it adds."""
        held = 0
        if found is not None and found["properties"]["instanceType"].lower() == instance_type.lower():
            held = found["capacity"]
        self._reserve(instance_type, instances, held)

    def _answer(self, kept: Document) -> tuple[Document, dict[str, str]]:
        document = render(self._installation, kept)
        return document, put_headers(kept["operation"], document["id"])

    def _require(self, endpoint: str, name: str) -> Document:
        owner, kept = self._endpoints.require(endpoint), self.find(endpoint, name)
        if kept is None:
            path = f"{PROVIDER}/workspaces/{self._installation.workspace}/onlineEndpoints/{owner['name']}/deployments/{name}"
            raise errors.resource_not_found(path, self._installation.resource_group)
        return kept
