"""Computes: clusters of nodes that jobs queue for, with Azure's sizes and quotas."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from functools import partial
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from emulator import errors
from emulator.arm import skus
from emulator.arm.compute_document import render, render_put, sizes
from emulator.arm.quota import Quota
from emulator.faults.book import is_in_force, rule_under
from emulator.faults.rules import Resizing
from emulator.http import read_model, reply
from emulator.installation import Installation
from emulator.names import NAMES
from emulator.operations import Kind, Operations
from emulator.routing import WORKSPACE
from emulator.store import Document, Store

TYPE = "compute"
SERVERLESS = "serverless"
SERVERLESS_NODES = 2


class Scale(BaseModel):
    """How many nodes a cluster may have."""

    model_config = ConfigDict(populate_by_name=True)
    minimum: int = Field(0, alias="minNodeCount", ge=0, le=1000)
    maximum: int = Field(1, alias="maxNodeCount", ge=0, le=1000)
    idle: str = Field("PT2M", alias="nodeIdleTimeBeforeScaleDown", max_length=40)


class ClusterProperties(BaseModel):
    """`properties.properties` of an AmlCompute."""

    model_config = ConfigDict(extra="allow", populate_by_name=True)
    size: str = Field(alias="vmSize", max_length=100)
    priority: Literal["Dedicated", "LowPriority"] = Field("Dedicated", alias="vmPriority")
    scale: Scale = Field(default_factory=lambda: Scale.model_validate({}), alias="scaleSettings")


class ComputeProperties(BaseModel):
    """`properties` of a compute."""

    model_config = ConfigDict(extra="allow", populate_by_name=True)
    type: Literal["AmlCompute"] = Field(alias="computeType")
    cluster: ClusterProperties = Field(alias="properties")
    description: str | None = None


class ComputeBody(BaseModel):
    """The body of a PUT."""

    model_config = ConfigDict(extra="allow")
    location: str | None = None
    tags: dict[str, str] | None = None
    properties: ComputeProperties


class Computes:
    """The workspace's clusters, whose nodes count against `quota`."""

    def __init__(self, installation: Installation, store: Store, operations: Operations, quota: Quota) -> None:
        self._installation = installation
        self._store = store
        self._operations = operations
        self._quota = quota
        self._busy: dict[str, int] = {}
        quota.count(self._cores_in_use)

    # -------------------------------------------------------------------------------------------------- resources

    def create(self, name: str, body: ComputeBody) -> tuple[Document, dict[str, str]]:
        """Creates or updates a cluster; returns it as it now is and the operation's headers.

        Raises:
            AzureError: an unknown size, a name that breaks the rules, or no quota for its smallest size.
        """
        if not NAMES["computes"].takes(name):
            raise errors.bad_request(NAMES["computes"].refusal(name))
        cluster = body.properties.cluster
        sku = self._quota.require_size(cluster.size)
        if cluster.scale.minimum > cluster.scale.maximum:
            raise errors.bad_request("minNodeCount must not be greater than maxNodeCount.")
        found = self._store.get(TYPE, name)
        if found is not None and found["size"].lower() != sku.name.lower():
            raise errors.bad_request(
                f"The VM size of compute {name} cannot be changed from {found['size']} to {sku.name}."
            )
        held = 0 if found is None else self._nodes(found)
        self._quota.require_nodes(sku, cluster.priority, max(1, cluster.scale.minimum, held), held)
        now = _now()
        document = {
            "name": name if found is None else found["name"],
            "size": sku.name,
            "priority": cluster.priority,
            "minimum": cluster.scale.minimum,
            "maximum": cluster.scale.maximum,
            "idle": cluster.scale.idle,
            "description": body.properties.description,
            "tags": body.tags,
            "created": now if found is None else found["created"],
            "modified": now,
            "state": "Creating",
            "resizing": rule_under(Resizing) or (found or {}).get("resizing"),
        }
        self._store.put(TYPE, name, document)

        def settle(state: str) -> None:
            self._store.put(TYPE, name, {**document, "state": state})

        async def provision() -> None:
            settle("Succeeded")

        headers = self._operations.start(Kind.COMPUTE, provision, partial(settle, "Failed"))
        return render_put(self._installation, document), headers

    def get(self, name: str) -> Document:
        """The cluster.

        Raises:
            AzureError: 404 with an empty body, as Azure answers.
        """
        document = self._require(name)
        if rule := rule_under(Resizing):
            document["resizing"] = rule
            self._store.put(TYPE, name, document)
        return self._render(document)

    def all(self) -> list[Document]:
        """All clusters, oldest first."""
        return [self._render(document) for document in self._store.list(TYPE)]

    def nodes(self, name: str) -> list[Document]:
        """The nodes that are up, busy ones first. What runs on which is not kept.

        Raises:
            AzureError: 404 with an empty body, as Azure answers.
        """
        document = self._require(name)
        busy = self._busy.get(document["name"].lower(), 0)
        return [
            {
                "nodeId": f"tvmps_{number:064x}_d",
                "privateIpAddress": f"10.0.0.{4 + number}",
                "publicIpAddress": None,
                "port": 50000 + number,
                "nodeState": "running" if number < busy else "idle",
                "runId": None,
            }
            for number in range(self._nodes(document))
        ]

    def delete(self, name: str) -> dict[str, str]:
        """Deletes the cluster; returns the operation's headers."""
        document = self._require(name)
        self._store.put(TYPE, name, {**document, "state": "Deleting"})

        async def remove() -> None:
            self._store.delete(TYPE, name)

        fail = partial(self._store.put, TYPE, name, {**document, "state": "Failed"})
        return self._operations.start(Kind.COMPUTE, remove, fail)

    # ------------------------------------------------------------------------------------------------------ nodes

    def capacity(self, name: str) -> int | None:
        """The most nodes that `name` can have; None when there is no such cluster."""
        if name.lower() == SERVERLESS:
            return SERVERLESS_NODES
        document = self._store.get(TYPE, name)
        return None if document is None else int(document["maximum"])

    def is_resizing(self, name: str) -> bool:
        """Whether the cluster's nodes are yet to come, so that no job gets any."""
        document = self._store.get(TYPE, name)
        return document is not None and self._resizes(document)

    def occupy(self, name: str, nodes: int) -> None:
        """Notes that a job runs on `nodes` of the cluster."""
        self._busy[name.lower()] = self._busy.get(name.lower(), 0) + nodes

    def release(self, name: str, nodes: int) -> None:
        """Notes that they are free again."""
        self._busy[name.lower()] = max(0, self._busy.get(name.lower(), 0) - nodes)

    # ---------------------------------------------------------------------------------------------------- helpers

    def _require(self, name: str) -> Document:
        document = self._store.get(TYPE, name)
        if document is None:
            raise errors.empty_not_found()
        return document

    def _cores_in_use(self) -> Counter[tuple[str, str]]:
        """vCPUs of the nodes that are up, by family and priority."""
        cores: Counter[tuple[str, str]] = Counter()
        for document in self._store.list(TYPE):
            if sku := skus.find(document["size"]):
                cores[sku.family, document["priority"]] += sku.vcpus * self._nodes(document)
        return cores

    def _nodes(self, document: Document) -> int:
        return max(document["minimum"], self._busy.get(document["name"].lower(), 0))

    def _render(self, document: Document) -> Document:
        nodes, busy = self._nodes(document), self._busy.get(document["name"].lower(), 0)
        return render(self._installation, document, nodes, busy, resizing=self._resizes(document))

    def _resizes(self, document: Document) -> bool:
        return is_in_force(self._store, document.get("resizing"))


def _now() -> str:
    return datetime.now(UTC).isoformat()


def routes(computes: Computes, quota: Quota) -> list[Route]:
    """Computes, and the sizes and usages of the location."""
    location = "/subscriptions/{subscription}/providers/microsoft.machinelearningservices/locations/{location}"

    async def put(request: Request) -> Response:
        body, headers = computes.create(request.path_params["name"], await read_model(request, ComputeBody))
        return reply(body, 201, headers)

    async def get(request: Request) -> Response:
        return reply(computes.get(request.path_params["name"]))

    async def delete(request: Request) -> Response:
        return reply(None, 202, computes.delete(request.path_params["name"]))

    async def listed(request: Request) -> Response:
        return reply({"value": computes.all()})

    async def nodes(request: Request) -> Response:
        return reply({"nodes": computes.nodes(request.path_params["name"])})

    async def vm_sizes(request: Request) -> Response:
        return reply({"value": sizes(quota.sizes())})

    async def usages(request: Request) -> Response:
        return reply({"value": quota.usages()})

    return [
        Route(WORKSPACE + "/computes", listed),
        Route(WORKSPACE + "/computes/{name}", get),
        Route(WORKSPACE + "/computes/{name}", put, methods=["PUT"]),
        Route(WORKSPACE + "/computes/{name}", delete, methods=["DELETE"]),
        Route(WORKSPACE + "/computes/{name}/listNodes", nodes, methods=["POST"]),
        Route(location + "/vmsizes", vm_sizes),
        Route(location + "/usages", usages),
    ]
