"""A run's artifacts: their list, and addresses to read and write them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from emulator import errors
from emulator.arm.asset_routes import query
from emulator.arm.gate import authenticate, authorize
from emulator.blob.sas import blob_url
from emulator.dataplane.history import HISTORY, History
from emulator.dataplane.mlflow import Tracking
from emulator.engine.places import ARTIFACTS, artifacts, data_container
from emulator.http import read_model, reply
from emulator.identity.tokens import ARM, AZURE_ML, Tokens
from emulator.installation import Installation
from emulator.store import Document


class ArtifactPath(BaseModel):
    """One file to be written."""

    model_config = ConfigDict(extra="allow")
    path: str = Field(min_length=1, max_length=900)


class ArtifactPaths(BaseModel):
    """The body of a request for places to write to."""

    model_config = ConfigDict(extra="allow")
    paths: list[ArtifactPath] = Field(max_length=1000)


class Artifacts:
    """Reads and hands out the artifact container's part of a run: a job's, a step's, or one that only MLflow knows."""

    def __init__(self, installation: Installation, history: History, tracking: Tracking) -> None:
        self._installation = installation
        self._history = history
        self._tracking = tracking

    async def require(self, run: str) -> str:
        """The run's id.

        Raises:
            AzureError: 404, there is no such run.
        """
        return run if await self._tracking.has_run(run) else self._history.require(run).id

    def under(self, run: str, path: str = "") -> list[Document]:
        """The run's artifacts whose path starts with `path`."""
        return [self._artifact(run, name) for name in self._history.files(run) if name.startswith(path)]

    def content(self, run: str, path: str) -> Document:
        """An artifact with the address to read it.

        Raises:
            AzureError: 404, the run has no such artifact.
        """
        if path not in self._history.files(run):
            raise errors.dataplane(
                404, "UserError", f"Artifact {path[:200]} of run {run} was not found", inner=["NotFoundError"]
            )
        return self._content(run, path, "r")

    def places(self, run: str, paths: list[str]) -> Document:
        """Addresses to write `paths` to. A path that leaves the run's folder is refused when it is written."""
        return {
            "artifacts": {path: self._artifact(run, path) for path in paths},
            "artifactContentInformation": {path: self._content(run, path, "rcw") for path in paths},
            "errors": {},
        }

    def _artifact(self, run: str, path: str) -> Document:
        container = data_container(run)
        return {
            "artifactId": f"ExperimentRun/{container}/{path}",
            "origin": "ExperimentRun",
            "container": container,
            "path": path,
        }

    def _content(self, run: str, path: str, permissions: str) -> Document:
        address = blob_url(self._installation, ARTIFACTS, f"{artifacts(run)}/{path}", permissions=permissions)
        return {
            "contentUri": address,
            "origin": "ExperimentRun",
            "container": data_container(run),
            "path": path,
            "tags": {},
        }


def routes(found: Artifacts, tokens: Tokens) -> list[Route]:
    """List, list under a path, address of one, addresses to write to."""

    async def run_of(request: Request) -> str:
        authorize(authenticate(request.scope, tokens, ARM + AZURE_ML), request.scope)
        return await found.require(request.path_params["run"])

    async def listed(request: Request) -> Response:
        return reply({"value": found.under(await run_of(request))})

    async def listed_under(request: Request) -> Response:
        return reply({"value": found.under(await run_of(request), query(request, "path"))})

    async def content(request: Request) -> Response:
        return reply(found.content(await run_of(request), query(request, "path")))

    async def places(request: Request) -> Response:
        run = await run_of(request)
        wanted = await read_model(request, ArtifactPaths)
        return reply(found.places(run, [each.path for each in wanted.paths]))

    made: list[Route] = []
    for group in ("experiments", "experimentids"):
        base = f"{HISTORY}/{group}/{{experiment}}/runs/{{run}}/artifacts"
        made += [
            Route(base, listed),
            Route(base + "/path", listed_under),
            Route(base + "/contentinfo", content),
            Route(base + "/batch/metadata", places, methods=["POST"]),
        ]
    return made
