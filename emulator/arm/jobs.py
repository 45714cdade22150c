"""Jobs: pipelines and commands, submitted, shown, cancelled, deleted."""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from emulator import errors
from emulator.arm.asset_routes import page, query
from emulator.arm.job_document import JobDocument
from emulator.engine.engine import Engine
from emulator.engine.failure import RunFailed
from emulator.engine.runs import Run
from emulator.http import read_model, reply
from emulator.identity.tokens import AZURE_ML, TokenRefused, Tokens
from emulator.installation import Installation
from emulator.names import NAMES
from emulator.operations import Kind, Operations
from emulator.routing import WORKSPACE
from emulator.store import Document

# What a job consists of; the rest of its properties can be updated.
CONTENT = ("jobType", "jobs", "command", "codeId")


class JobProperties(BaseModel):
    """What the engine reads of a job; the rest is kept as it came."""

    model_config = ConfigDict(extra="allow")
    jobType: Literal["Pipeline", "Command"]
    displayName: str | None = Field(None, max_length=500)
    experimentName: str | None = Field(None, max_length=1000)
    description: str | None = Field(None, max_length=20_000)
    tags: dict[str, str | int | float | bool | None] | None = None
    properties: dict[str, str | int | float | bool | None] | None = None
    isArchived: bool | None = False
    computeId: str | None = Field(None, max_length=1000)
    componentId: str | None = Field(None, max_length=1000)
    inputs: dict[str, dict[str, Any] | None] | None = None
    outputs: dict[str, dict[str, Any] | None] | None = None
    jobs: dict[str, dict[str, Any]] | None = None
    settings: dict[str, Any] | None = None
    command: str | None = Field(None, max_length=100_000)
    codeId: str | None = Field(None, max_length=1000)
    environmentId: str | None = Field(None, max_length=1000)
    environmentVariables: dict[str, str | None] | None = None
    resources: dict[str, Any] | None = None


class JobBody(BaseModel):
    """The body of a PUT."""

    model_config = ConfigDict(extra="allow")
    properties: JobProperties


class Jobs:
    """The jobs as Azure Resource Manager shows them; the engine runs them."""

    def __init__(self, installation: Installation, engine: Engine, operations: Operations) -> None:
        self._engine = engine
        self._document = JobDocument(installation, engine)
        self._operations = operations

    def put(self, name: str, body: JobBody) -> tuple[Document, bool]:
        """Submits a job, or updates what may be updated of one; returns it and whether it is new.

        Raises:
            AzureError: the job can't run as it is, or another job has this name.
        """
        if not NAMES["jobs"].takes(name):
            raise errors.request_invalid(NAMES["jobs"].refusal(name))
        experiment, rule = body.properties.experimentName, NAMES["experiments"]
        if experiment is not None and not rule.takes(experiment):
            raise errors.request_invalid(f"{rule.noun} must {rule.words}.")  # the service's very words
        sent = body.properties.model_dump(exclude_unset=True)
        _require_text(sent)
        run = self._engine.runs.find(name)
        if run is not None:
            return self._update(run, sent), False
        try:
            run = self._engine.submit(name, sent)
        except RunFailed as refusal:
            raise errors.request_invalid(str(refusal)) from None
        return self._document.render(run, fresh=True), True

    def get(self, name: str) -> Document:
        """The job. A pipeline's child has no properties here, as on Azure: run history has them.

        Raises:
            AzureError: 404.
        """
        return self._document.render(self._require(name))

    def list(self, view: str) -> list[Document]:
        """The jobs in view, newest first."""
        wanted = {"all": (True, False), "archivedonly": (True,)}.get(view.lower(), (False,))
        return [self._document.render(run) for run in reversed(self._engine.runs.jobs()) if run.hidden in wanted]

    def cancel(self, name: str) -> dict[str, str]:
        """Starts to cancel a job; returns the operation's headers.

        Raises:
            AzureError: 404.
        """
        run = self._require(name)

        async def work() -> None:
            await self._engine.cancel(run.id)

        return self._operations.start(Kind.JOB, work)

    def delete(self, name: str) -> dict[str, str] | None:
        """Starts to delete a job that has ended; returns the operation's headers, or None when there is no such job.

        Raises:
            AzureError: 400, it has not ended.
        """
        run = self._engine.runs.find(name)
        if run is None or not run.is_job:
            return None
        if not run.status.is_terminal:
            raise errors.bad_request(f"Job {run.id} is in state {run.status}. Cancel it before it is deleted.")

        async def work() -> None:
            self._engine.delete(run.id)

        return self._operations.start(Kind.JOB, work)

    # ----------------------------------------------------------------------------------------------------- helpers

    def _require(self, name: str) -> Run:
        run = self._engine.runs.find(name)
        if run is None:
            raise errors.run_not_found(name[:255])
        return run

    def _update(self, run: Run, sent: Document) -> Document:
        kept = self._engine.specification(run.id)
        if kept is None or any(name in sent and _plain(sent[name]) != _plain(kept.get(name)) for name in CONTENT):
            raise errors.conflict(
                "A job with this name already exists. If you are trying to create a new job, use a different name. If you are "
                "trying to update an existing job, what it runs cannot be changed. Only description, tags, displayName, "
                "properties, and isArchived can be updated."
            )
        self._engine.runs.amend(
            run,
            display_name=sent.get("displayName"),
            description=sent.get("description"),
            tags=sent.get("tags"),
            properties=sent.get("properties"),
            hidden=sent.get("isArchived"),
        )
        return self._document.render(run)


def _require_text(sent: Document) -> None:
    """Refuses what JSON can escape but no text holds: halves of surrogate pairs."""
    try:
        json.dumps(sent, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise errors.request_invalid("The job holds a character that is no valid Unicode.") from None


def _plain(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def routes(jobs: Jobs, tokens: Tokens) -> list[Route]:
    """Create or update, get, list, cancel, delete."""

    async def put(request: Request) -> Response:
        body = await read_model(request, JobBody)
        if body.properties.jobType == "Pipeline":
            _require_user_token(request, tokens)
        document, created = jobs.put(request.path_params["name"], body)
        location = {"Location": str(request.url)} if created else {}
        return reply(document, 201 if created else 200, location)

    async def get(request: Request) -> Response:
        return reply(jobs.get(request.path_params["name"]))

    async def listed(request: Request) -> Response:
        return reply(page(request, jobs.list(query(request, "listViewType", "ActiveOnly"))))

    async def cancel(request: Request) -> Response:
        return reply(None, 202, jobs.cancel(request.path_params["name"]))

    async def delete(request: Request) -> Response:
        headers = jobs.delete(request.path_params["name"])
        return reply(None, 204) if headers is None else reply(None, 202, headers)

    base = WORKSPACE + "/jobs"
    return [
        Route(base, listed),
        Route(base + "/{name}", get),
        Route(base + "/{name}", put, methods=["PUT"]),
        Route(base + "/{name}", delete, methods=["DELETE"]),
        Route(base + "/{name}/cancel", cancel, methods=["POST"]),
    ]


def _require_user_token(request: Request, tokens: Tokens) -> None:
    """A pipeline runs its steps as the submitter, whose Azure ML token comes along in a header of its own."""
    try:
        tokens.verify(f"Bearer {request.headers.get('x-azureml-token', '')}", AZURE_ML)
    except TokenRefused as refusal:
        raise errors.frontend(
            401,
            "UserError",
            f"The token of the header x-azureml-token was refused: {refusal}",
            inner=["Auth", "Authentication"],
        ) from None
