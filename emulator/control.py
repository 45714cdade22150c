"""The emulator's own interface, which Azure does not have: fault rules and the record of calls.

Served at https://127.0.0.1:{tls_port}, with the installation's control key as bearer token; never through the proxy.
"""

from __future__ import annotations

import hmac
import json
import ssl
import urllib.error
import urllib.request
from collections import deque
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from emulator import errors
from emulator.faults.book import Faults
from emulator.faults.rules import Rule
from emulator.http import read_model, reply
from emulator.installation import Installation
from emulator.routing import AzureRouter

HOSTS = ("127.0.0.1", "localhost")
KEPT_CALLS = 100_000

Calls = deque[dict[str, Any]]


def app(installation: Installation, faults: Faults, calls: Calls) -> AzureRouter:
    """The interface: faults (list, add, clear) and calls (list, clear)."""

    def admit(request: Request) -> None:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode(), installation.control_key.encode()):
            raise errors.gateway(401, "Unauthorized", "The emulator's control key is needed.")

    async def list_faults(request: Request) -> Response:
        admit(request)
        return reply(faults.all())

    async def add_fault(request: Request) -> Response:
        admit(request)
        return reply({"id": faults.add(await read_model(request, Rule))}, 201)

    async def clear_faults(request: Request) -> Response:
        admit(request)
        return reply({"cleared": faults.clear(request.path_params.get("id"))})

    async def list_calls(request: Request) -> Response:
        admit(request)
        return reply(list(calls))

    async def clear_calls(request: Request) -> Response:
        admit(request)
        calls.clear()
        return reply({})

    return AzureRouter(
        [
            Route("/faults", list_faults),
            Route("/faults", add_fault, methods=["POST"]),
            Route("/faults", clear_faults, methods=["DELETE"]),
            Route("/faults/{id}", clear_faults, methods=["DELETE"]),
            Route("/calls", list_calls),
            Route("/calls", clear_calls, methods=["DELETE"]),
        ]
    )


class ControlError(Exception):
    """The emulator refused; the message is its sentence."""


def ask(installation: Installation, tls_port: int, method: str, path: str, body: Any = None) -> Any:
    """Calls the interface of a running emulator from another process.

    Raises:
        ControlError: it refused the call.
    """
    request = urllib.request.Request(
        f"https://127.0.0.1:{tls_port}{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {installation.control_key}", "Content-Type": "application/json"},
    )
    context = ssl.create_default_context(cafile=str(installation.state / "certificates" / "ca.pem"))
    # The proxy in the environment leads to Azure's hosts only.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    try:
        with opener.open(request, timeout=30) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as problem:
        error = json.load(problem)["error"]
        details = "; ".join(detail["message"] for detail in error.get("details", []))
        raise ControlError(details or error["message"]) from None
