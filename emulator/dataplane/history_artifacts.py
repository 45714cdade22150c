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
from emulator.engine.places import ARTIFACTS, artifacts
from emulator.engine.runs import Run
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
    """Reads and hands out the artifact container's part of a run."""

    def __init__(self, installation: Installation, history: History) -> None:
        self._installation = installation
        self._history = history

    def under(self, run: Run, path: str = "") -> list[Document]:
        """The run's artifacts whose path starts with `path`."""
        return [self._artifact(run, name) for name in self._history.files(run) if name.startswith(path)]

    def content(self, run: Run, path: str) -> Document:
        """An artifact with the address to read it.

        Raises:
            AzureError: 404, the run has no such artifact.
        """
        if path not in self._history.files(run):
            raise errors.dataplane(
                404, "UserError", f"Artifact {path[:200]} of run {run.id} was not found", inner=["NotFoundError"]
            )
        return self._content(run, path, "r")

    def places(self, run: Run, paths: list[str]) -> Document:
        """Addresses to write `paths` to. A path that leaves the run's folder is refused when it is written."""
        return {
            "artifacts": {path: self._artifact(run, path) for path in paths},
            "artifactContentInformation": {path: self._content(run, path, "rcw") for path in paths},
            "errors": {},
        }

    def _artifact(self, run: Run, path: str) -> Document:
        container = f"dcid.{run.id}"
        return {
            "artifactId": f"ExperimentRun/{container}/{path}",
            "origin": "ExperimentRun",
            "container": container,
            "path": path,
        }

    def _content(self, run: Run, path: str, permissions: str) -> Document:
        address = blob_url(self._installation, ARTIFACTS, f"{artifacts(run.id)}/{path}", permissions=permissions)
        return {
            "contentUri": address,
            "origin": "ExperimentRun",
            "container": f"dcid.{run.id}",
            "path": path,
            "tags": {},
        }


def routes(found: Artifacts, history: History, tokens: Tokens) -> list[Route]:
    """List, list under a path, address of one, addresses to write to."""

    def run_of(request: Request) -> Run:
        authorize(authenticate(request.scope, tokens, ARM + AZURE_ML), request.scope)
        return history.require(request.path_params["run"])

    async def listed(request: Request) -> Response:
        return reply({"value": found.under(run_of(request))})

    async def listed_under(request: Request) -> Response:
        return reply({"value": found.under(run_of(request), query(request, "path"))})

    async def content(request: Request) -> Response:
        return reply(found.content(run_of(request), query(request, "path")))

    async def places(request: Request) -> Response:
        run = run_of(request)
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
