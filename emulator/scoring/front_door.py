"""{endpoint}.{region}.inference.ml.azure.com: who may score, which deployment answers, and what its answer becomes."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from emulator import errors
from emulator.arm.deployment_body import RequestSettings
from emulator.arm.durations import seconds
from emulator.http import reply_error
from emulator.identity.tokens import Tokens
from emulator.installation import Installation
from emulator.scoring import keys
from emulator.scoring.fleet import MOST_PROCESSES, Fleet
from emulator.scoring.process import ModelProcess
from emulator.store import Document

if TYPE_CHECKING:
    import httpx

PAYLOAD_LIMIT = 1536 * 1024  # bytes of a request to a managed online endpoint: 1.5 MB
ROUTES = {("POST", "/score"), ("POST", "/v1/chat/completions"), ("GET", "/"), ("GET", "/swagger.json")}
# What a model server says of a run, passed on as it came.
RUN_HEADERS = ("x-ms-run-function-failed", "x-ms-run-fn-exec-ms", "x-ms-server-version")
SERVER_VERSION = "emulator"
EVENTS = "text/event-stream"
QUEUE_FACTOR = 2  # of what can be processed at once, so much is let in (Azure's troubleshooting guide on status 429)


@dataclass
class Gauge:
    """How many requests of a deployment are being answered or wait; `turns` lets through what its processes take at once."""

    limit: int
    turns: asyncio.Semaphore
    pending: int = 0


@dataclass(frozen=True)
class Traffic:
    """Picks deployments by their share. A seeded `chance` picks the same ones again."""

    chance: random.Random = field(default_factory=random.Random)

    def pick(self, shares: dict[str, int]) -> str | None:
        """The deployment for one request; None when none has a share."""
        names = [name for name, share in shares.items() if share > 0]
        if not names:
            return None
        return self.chance.choices(names, [shares[name] for name in names])[0]


class FrontDoor:
    """All online endpoints as one ASGI app. `endpoint` and `deployment` find what is kept of them by name."""

    operations = sorted(ROUTES)

    def __init__(
        self,
        installation: Installation,
        tokens: Tokens,
        fleet: Fleet,
        endpoint: Callable[[str], Document | None],
        deployment: Callable[[str, str], Document | None],
        traffic: Traffic | None = None,
    ) -> None:
        self._suffix = installation.scoring_suffix
        self._tokens = tokens
        self._fleet = fleet
        self._endpoint = endpoint
        self._deployment = deployment
        self._traffic = traffic or Traffic()
        self._gauges: dict[tuple[str, str, str], Gauge] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        async with AsyncExitStack() as stack:
            try:
                response = await self._answer(request, stack)
            except errors.AzureError as error:
                response = reply_error(error)
            except ClientDisconnect:
                return
            response.headers["server"] = "azureml-frontdoor"
            response.headers["x-request-id"] = request.headers.get("x-request-id") or str(uuid.uuid4())
            await response(scope, receive, send)

    async def _answer(self, request: Request, stack: AsyncExitStack) -> Response:
        """The answer to a request. What it holds until it is sent, its turn and the model server's answer, is left to `stack`."""
        name = request.headers.get("host", "").rsplit(":", 1)[0].lower().removesuffix(self._suffix)
        endpoint = self._endpoint(name)
        if endpoint is None or endpoint["state"] == "Deleting":
            raise errors.scoring_endpoint_not_found(name)
        if not keys.opens(request.headers.get("authorization", ""), endpoint, self._tokens):
            raise errors.scoring_unauthorized()
        if (request.method, request.url.path) not in ROUTES:
            raise errors.scoring_path_not_found(request.url.path)
        deployment = self._choose(endpoint, request.headers.get("azureml-model-deployment"))
        body = await _payload(request)
        settings = RequestSettings.model_validate(deployment["properties"].get("requestSettings") or {})
        allowed = seconds(settings.requestTimeout)
        try:
            async with asyncio.timeout(allowed):
                process = await stack.enter_async_context(self._turn(deployment, settings))
                answer = await stack.enter_async_context(self._send(request, process, body))
                response = await _passed_on(answer)
        except TimeoutError:
            raise errors.scoring_timeout(allowed) from None
        response.headers["azureml-model-deployment"] = deployment["name"]
        response.headers["azureml-model-session"] = f"{deployment['name']}-{deployment['revision'][:8]}"
        return response

    def _choose(self, endpoint: Document, header: str | None) -> Document:
        name = header or self._traffic.pick(endpoint["traffic"])
        deployment = None if name is None else self._deployment(endpoint["name"], name)
        if deployment is None:
            raise errors.no_deployment_to_route_to()
        return deployment

    @asynccontextmanager
    async def _turn(self, deployment: Document, settings: RequestSettings) -> AsyncIterator[ModelProcess]:
        """A process of the deployment, as soon as one may take a request.

        Raises:
            AzureError: 429, twice as many requests as the processes take at once are under way; 503, no process is ready.
        """
        replicas = self._fleet.find(deployment["endpoint"], deployment["name"])
        if replicas is None or not replicas.ready:
            raise errors.deployment_unavailable(deployment["name"])
        gauge = self._gauge(deployment, settings)
        if gauge.pending >= gauge.limit:
            raise errors.too_many_pending_requests(gauge.limit)
        gauge.pending += 1
        try:
            async with gauge.turns:
                process = replicas.least_busy()
                if process is None:
                    raise errors.deployment_unavailable(deployment["name"])
                pid = process.identity.pid
                replicas.busy[pid] = replicas.busy.get(pid, 0) + 1
                try:
                    yield process
                finally:
                    replicas.busy[pid] -= 1
        finally:
            gauge.pending -= 1

    @asynccontextmanager
    async def _send(self, request: Request, process: ModelProcess, body: bytes) -> AsyncIterator[httpx.Response]:
        import httpx

        kept = {name: value for name, value in request.headers.items() if name in ("content-type", "accept")}
        client = self._fleet.client
        try:
            answer = await client.send(
                client.build_request(request.method, process.url + request.url.path, content=body, headers=kept),
                stream=True,
            )
        except httpx.HTTPError as problem:
            raise errors.scoring(
                502, "BadGateway", f"The model server ended while it answered: {type(problem).__name__}."
            ) from problem
        try:
            yield answer
        finally:
            await answer.aclose()

    def _gauge(self, deployment: Document, settings: RequestSettings) -> Gauge:
        key = (deployment["endpoint"], deployment["name"], deployment["revision"])
        if key not in self._gauges:
            self._gauges = {other: gauge for other, gauge in self._gauges.items() if other[:2] != key[:2]}
            at_once = settings.maxConcurrentRequestsPerInstance * min(deployment["capacity"], MOST_PROCESSES)
            self._gauges[key] = Gauge(QUEUE_FACTOR * at_once, asyncio.Semaphore(at_once))
        return self._gauges[key]


async def _payload(request: Request) -> bytes:
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > PAYLOAD_LIMIT:
            raise errors.scoring_payload_too_large(PAYLOAD_LIMIT)
    return bytes(body)


async def _passed_on(answer: httpx.Response) -> Response:
    """A model server's answer as the front door gives it: events as they come; anything but success as 424."""
    headers = {name: answer.headers[name] for name in RUN_HEADERS if name in answer.headers}
    headers.setdefault("x-ms-server-version", SERVER_VERSION)
    headers.setdefault("x-ms-run-function-failed", str(not answer.is_success))
    kind = answer.headers.get("content-type", "application/json")
    headers["content-type"] = kind
    if answer.is_success and kind.startswith(EVENTS):
        return StreamingResponse(answer.aiter_bytes(), answer.status_code, headers)
    content = await answer.aread()
    if answer.is_success:
        return Response(content, answer.status_code, headers)
    reason = {
        "ms-azureml-model-error-statuscode": str(answer.status_code),
        "ms-azureml-model-error-reason": "model_error",
    }
    return Response(content, 424, {**headers, **reason})
