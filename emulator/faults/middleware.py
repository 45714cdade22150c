"""Faults of a single call: an error, a delay, a lost request, a lost answer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from starlette.responses import HTMLResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from emulator import errors
from emulator.arm.gate import action
from emulator.faults.book import Faults
from emulator.faults.rules import Delay, Page, ResetAfter, ResetBefore, Status
from emulator.http import comp_of

Reset = Callable[[int], None]


class FaultyApp:
    """An app under the rules of `faults`. `reset` cuts the client's connection, by the port it comes from."""

    def __init__(self, app: ASGIApp, host: str, faults: Faults, reset: Reset) -> None:
        self._app = app
        self._host = host
        self._faults = faults
        self._reset = reset

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method, path = scope["method"], scope["path"]
        effect = self._faults.meet(method, self._host, path, action(method, path), comp_of(scope))
        match effect:
            case Status():
                after = {} if effect.retry_after is None else {"Retry-After": f"{effect.retry_after:g}"}
                raise errors.gateway(effect.status, effect.code, effect.message, after | effect.headers)
            case Page():
                await HTMLResponse(effect.html, effect.status)(scope, receive, send)
            case Delay():
                await asyncio.sleep(effect.seconds)
                await self._app(scope, receive, send)
            case ResetBefore():
                await self._cut(scope, receive)
            case ResetAfter():
                await self._unheard(scope, receive)
                await self._cut(scope, receive)
            case _:
                await self._app(scope, receive, send)

    async def _unheard(self, scope: Scope, receive: Receive) -> None:
        """Lets the call take effect; its answer goes nowhere."""

        async def nowhere(message: Message) -> None:
            pass

        with contextlib.suppress(errors.AzureError):  # a refusal is lost too
            await self._app(scope, receive, nowhere)

    async def _cut(self, scope: Scope, receive: Receive) -> None:
        self._reset(scope["client"][1])
        while (await receive())["type"] != "http.disconnect":
            pass
