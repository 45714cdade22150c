"""Routing as Azure does it: paths compared without case, and Azure's own errors for what is not there."""

from __future__ import annotations

import re
from collections.abc import Sequence

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from emulator import errors

# The prefix of everything that belongs to a workspace, as routes are written.
PROVIDER = "/providers/microsoft.machinelearningservices"
WORKSPACE = "/subscriptions/{subscription}/resourcegroups/{group}" + PROVIDER + "/workspaces/{workspace}"
LITERAL = re.compile(r"/([^/{}]+)(?=/|\Z)")


class AzureRouter:
    """Routes whose literal segments match in any case, while names in between keep theirs. Routes are written in lower case.

    Raises (through the server):
        AzureError: 404 for a path that no route knows, 405 for a method that the path does not have.
    """

    def __init__(self, routes: Sequence[Route]) -> None:
        self.operations = [
            (method, route.path) for route in routes for method in sorted((route.methods or set()) - {"HEAD"})
        ]
        self._literals = {literal for route in routes for literal in LITERAL.findall(route.path)}
        self._router = Router(routes, redirect_slashes=False, default=_unknown)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        folded = "/".join(part.lower() if part.lower() in self._literals else part for part in scope["path"].split("/"))
        try:
            # "app" makes Starlette raise for a wrong method rather than answer in plain text.
            await self._router({**scope, "path": folded, "app": self}, receive, send)
        except HTTPException as problem:
            if problem.status_code == 405:
                raise errors.method_not_allowed(scope["method"], scope["path"]) from None
            raise errors.gateway(problem.status_code, "BadRequest", str(problem.detail)) from None


async def _unknown(scope: Scope, receive: Receive, send: Send) -> None:
    request = Request(scope, receive)
    raise errors.not_emulated(request.method, request.url.hostname or "", request.url.path)
