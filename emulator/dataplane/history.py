"""Run history: what every run is doing, where its logs are, what it ended with."""

from __future__ import annotations

import uuid
from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from emulator import errors
from emulator.arm.asset_routes import page
from emulator.arm.gate import authenticate, authorize
from emulator.blob.sas import blob_url
from emulator.engine.engine import Engine
from emulator.engine.places import ARTIFACTS, artifacts, data_container
from emulator.engine.runs import Run, RunKind
from emulator.http import read_model, reply
from emulator.identity.tokens import ARM, AZURE_ML, Tokens
from emulator.installation import Installation
from emulator.routing import WORKSPACE
from emulator.store import Document

HISTORY = "/history/v1.0" + WORKSPACE
LOG_FOLDERS = ("user_logs", "logs", "system_logs")
RUN_TYPES = {
    RunKind.PIPELINE: "azureml.PipelineRun",
    RunKind.COMMAND: "azureml.scriptrun",
    RunKind.STEP: "azureml.StepRun",
    RunKind.NESTED: "azureml.StepRun",
}
ERROR_TIME = "0001-01-01T00:00:00+00:00"  # what Azure writes as the time of a run's error


class RunChange(BaseModel):
    """The body of a PATCH: what is absent or null stays as it is."""

    model_config = ConfigDict(extra="allow")
    displayName: str | None = Field(None, max_length=500)
    description: str | None = Field(None, max_length=20_000)
    hidden: bool | None = None
    tags: dict[str, str | None] | None = None
    properties: dict[str, str | None] | None = None


class RunDataRequest(BaseModel):
    """The body of a rundata request."""

    model_config = ConfigDict(extra="allow")
    runId: str = Field(max_length=256)


class AssetIds(BaseModel):
    """The body of a request for the places of outputs."""

    model_config = ConfigDict(extra="allow")
    values: list[str] = Field(max_length=1000)


class History:
    """The engine's runs as run history shows them."""

    def __init__(self, installation: Installation, engine: Engine) -> None:
        self._installation = installation
        self._engine = engine

    def require(self, id: str) -> Run:
        """The run.

        Raises:
            AzureError: 404 in the data plane's shape.
        """
        run = self._engine.runs.find(id)
        if run is None:
            raise errors.dataplane(
                404, "UserError", f"Run {id[:256]} was not found", inner=["NotFoundError", "RunNotFound"]
            )
        return run

    def children(self, id: str) -> list[Document]:
        """The direct children, oldest first."""
        return [self.render(run) for run in self._engine.runs.children(self.require(id).id)]

    def render(self, run: Run) -> Document:
        """The run as the list and get answers show it."""
        return {
            "runNumber": None,
            "rootRunId": run.root,
            "createdUtc": run.created,
            "createdBy": {"userName": "emulator", "userTenantId": self._installation.tenant_id},
            "userId": self._installation.principals[0].object_id,
            "error": error_response(run),
            "warnings": None,
            "runUuid": str(uuid.uuid5(uuid.NAMESPACE_OID, run.id)),
            "rootRunUuid": str(uuid.uuid5(uuid.NAMESPACE_OID, run.root)),
            "lastModifiedUtc": run.ended or run.started or run.created,
            "duration": _duration(run),
            "runId": run.id,
            "parentRunId": run.parent,
            "experimentId": str(uuid.uuid5(uuid.NAMESPACE_OID, run.experiment)),
            "status": run.status,
            "startTimeUtc": run.started,
            "endTimeUtc": run.ended,
            "displayName": run.display_name,
            "name": run.display_name,
            "dataContainerId": data_container(run.id),
            "description": run.description,
            "hidden": run.hidden,
            "runType": RUN_TYPES[run.kind],
            "properties": run.properties,
            "tags": run.tags,
            "target": run.compute,
            "computeRequest": {"nodeCount": run.nodes, "gpuCount": 0},
            "compute": {"target": run.compute, "targetType": "AmlCompute"},
            "services": {},
            "inputs": None,
            "outputs": None,
        }

    def details(self, run: Run) -> Document:
        """The run's details with the addresses of its logs, each good for an hour."""
        same = (
            "runId",
            "target",
            "status",
            "startTimeUtc",
            "endTimeUtc",
            "error",
            "warnings",
            "tags",
            "properties",
            "services",
            "rootRunId",
        )
        shown = self.render(run)
        return {
            **{name: shown[name] for name in same},
            "parentRunId": run.parent,
            "createdTimeUtc": run.created,
            "warnings": [],
            "logFiles": {
                name: blob_url(self._installation, ARTIFACTS, f"{artifacts(run.id)}/{name}")
                for name in self.files(run.id, LOG_FOLDERS)
            },
        }

    def data(self, run: Run) -> Document:
        """Metadata, definition and specification of a run in one. A pipeline's outputs are not in it, as on Azure."""
        outputs = None
        if run.kind is not RunKind.PIPELINE:
            # A model's type would make the SDK's download fail; it finds such an output by its place.
            outputs = {
                name: {"assetId": self._asset_id(run, name), "type": kept["type"]}
                for name, kept in run.outputs.items()
                if kept["type"].startswith("uri_")
            }
        definition = {"Target": run.compute, "NodeCount": run.nodes, "Component": run.component}
        specification = self._engine.specification(run.id) if run.is_job else None
        return {
            "runMetadata": {**self.render(run), "outputs": outputs or None},
            "runDefinition": definition,
            "jobSpecification": specification,
            "systemSettings": None,
        }

    def change(self, run: Run, change: RunChange) -> Document:
        """Applies a PATCH; tags and properties are merged into those that the run has."""
        self._engine.runs.amend(
            run,
            display_name=change.displayName,
            description=change.description,
            hidden=change.hidden,
            tags=change.tags,
            properties=change.properties,
        )
        return self.render(run)

    def files(self, run_id: str, folders: tuple[str, ...] = ()) -> list[str]:
        """A run's files, by their path among its artifacts; only those in `folders` where any are given."""
        root = self._engine.places.artifacts(run_id)
        found = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
        return [name for name in found if not folders or name.split("/")[0] in folders]

    def output_uris(self, asset_ids: list[str]) -> Document:
        """Where the outputs are that `data` reported; an id of anything else is left out."""
        known = {
            self._asset_id(run, name): kept
            for run in self._engine.runs.all()
            for name, kept in run.outputs.items()
            if kept["type"].startswith("uri_")
        }
        return {
            id: {"uri": self._engine.places.output_uri(known[id]["path"], known[id]["type"]), "type": known[id]["type"]}
            for id in asset_ids
            if id in known
        }

    def _asset_id(self, run: Run, output: str) -> str:
        here = self._installation
        return f"azureml://locations/{here.region}/workspaces/{here.workspace_guid}/data/azureml_{run.id}_output_data_{output}/versions/1"


def error_response(run: Run) -> Document | None:
    """The error of a failed run, in the data plane's shape."""
    if run.error is None:
        return None
    kept = run.error
    inner = ["BadArgument"] if kept["code"] == "UserError" else None
    return {
        "error": errors.root_error(kept["code"], kept["message"], inner=inner, reference=kept["reference"]),
        "correlation": {
            "operation": uuid.uuid5(uuid.NAMESPACE_OID, run.root).hex,
            "request": uuid.uuid5(uuid.NAMESPACE_OID, run.id).hex[:16],
        },
        "environment": "eastus",
        "location": "eastus",
        "time": ERROR_TIME,
        "componentName": kept["component"],
    }


def _duration(run: Run) -> str | None:
    if run.started is None or run.ended is None:
        return None
    return str(datetime.fromisoformat(run.ended) - datetime.fromisoformat(run.started))


def routes(history: History, tokens: Tokens) -> list[Route]:
    """Get, details, children, rundata, change."""

    def allow(request: Request) -> None:
        authorize(authenticate(request.scope, tokens, ARM + AZURE_ML), request.scope)

    def run_of(request: Request) -> Run:
        allow(request)
        return history.require(request.path_params["run"])

    async def get(request: Request) -> Response:
        return reply(history.render(run_of(request)))

    async def details(request: Request) -> Response:
        return reply(history.details(run_of(request)))

    async def children(request: Request) -> Response:
        return reply(page(request, history.children(run_of(request).id)))

    async def change(request: Request) -> Response:
        run = run_of(request)
        return reply(history.change(run, await read_model(request, RunChange)))

    async def rundata(request: Request) -> Response:
        allow(request)
        wanted = await read_model(request, RunDataRequest)
        return reply(history.data(history.require(wanted.runId)))

    async def resolved(request: Request) -> Response:
        allow(request)
        wanted = await read_model(request, AssetIds)
        return reply({"values": history.output_uris(wanted.values)})

    return [
        Route(HISTORY + "/runs/{run}", get),
        Route(HISTORY + "/runs/{run}/details", details),
        Route(HISTORY + "/runs/{run}/children", children),
        Route(HISTORY + "/rundata", rundata, methods=["POST"]),
        Route(HISTORY + "/experiments/{experiment}/runs/{run}", get),
        Route(HISTORY + "/experiments/{experiment}/runs/{run}", change, methods=["PATCH"]),
        Route("/data/v1.0" + WORKSPACE + "/dataversion/batchgetresolveduris", resolved, methods=["POST"]),
    ]
