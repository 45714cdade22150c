"""The emulator as one ASGI app: it looks at the host name, and hands over to that host's service."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Sequence
from datetime import datetime
from email.utils import format_datetime
from typing import Protocol

from starlette.types import Message, Receive, Scope, Send

from emulator import control, disk, errors
from emulator.faults.book import Faults
from emulator.faults.middleware import FaultyApp, Reset
from emulator.hosts import Service, service_of
from emulator.http import comp_of, reply_error
from emulator.installation import Installation

access = logging.getLogger("emulator.access")


class HostService(Protocol):
    """The app of one host family, which also says what it serves: methods and path templates."""

    @property
    def operations(self) -> Sequence[tuple[str, str]]: ...

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...


class Server:
    """Dispatches by Host, names every request, turns errors into answers and keeps the access record.

    An answer's `Date` is of the day that the emulator is in, by which a client can judge what is retired.
    The record has method, host, path, status, milliseconds and the time; never a query (SAS signatures), never a header (tokens,
    keys).
    """

    def __init__(
        self,
        installation: Installation,
        services: dict[Service, HostService],
        faults: Faults,
        reset: Reset,
        now: Callable[[], datetime],
    ) -> None:
        self._installation = installation
        self._services = services
        self.operations = {name: service.operations for name, service in services.items()}
        self._faults = faults
        self._reset = reset
        self._now = now
        self._calls = control.Calls(maxlen=control.KEPT_CALLS)
        self._control = control.app(installation, faults, self._calls)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        came, started = time.time(), time.perf_counter()
        host = _host(scope)
        answered: list[int] = []

        def record(status: int | None) -> None:
            if host not in control.HOSTS:
                comp = comp_of(scope)
                path = _path(scope) + (f"?comp={comp}" if comp else "")
                of_call = {"method": scope["method"], "host": host, "path": path, "status": status}
                self._calls.append({**of_call, "at": came})

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                answered.append(message["status"])
                record(message["status"])  # before the client can ask for it
                message["headers"] = [*message["headers"], *_identification(scope), self._date()]
            await send(message)

        try:
            await self._answer(host, scope, receive, sending)
        except errors.AzureError as error:
            await reply_error(error)(scope, receive, sending)
        except Exception as problem:
            trouble = disk.trouble(problem, self._installation.state)
            if trouble is None:
                access.exception("error while answering %s %s%s", scope["method"], host, _path(scope))
                failure = errors.gateway(500, "InternalServerError", "The emulator failed; its log holds the trace.")
            else:
                sentence = trouble.sentence(self._installation.state)
                access.error("%s %s%s: %s", scope["method"], host, _path(scope), sentence)
                of_storage = service_of(host, self._installation) is Service.BLOB
                failure = errors.unavailable(sentence, of_storage=of_storage)
            if not answered:
                await reply_error(failure)(scope, receive, sending)
        finally:
            if not answered:
                record(None)
            took = (time.perf_counter() - started) * 1000
            access.info(
                "%s %s%s %s %.1fms", scope["method"], host, _path(scope), answered[0] if answered else "-", took
            )

    def _date(self) -> tuple[bytes, bytes]:
        return b"date", format_datetime(self._now(), usegmt=True).encode()

    async def _answer(self, host: str, scope: Scope, receive: Receive, send: Send) -> None:
        if host in control.HOSTS:
            await self._control(scope, receive, send)
            return
        service = service_of(host, self._installation)
        app = None if service is None else self._services.get(service)
        if app is None:
            raise errors.not_emulated(scope["method"], host, _path(scope))
        await FaultyApp(app, host, self._faults, self._reset)(scope, receive, send)


def _host(scope: Scope) -> str:
    header = next((value for name, value in scope["headers"] if name == b"host"), b"")
    return header.decode("latin-1").rsplit(":", 1)[0].lower()[:255]


def _path(scope: Scope) -> str:
    # As it was sent, percent-encoded: a decoded path could forge lines of the record.
    return scope.get("raw_path", b"").decode("latin-1").split("?")[0][:1000]


def _identification(scope: Scope) -> list[tuple[bytes, bytes]]:
    client = next((value for name, value in scope["headers"] if name == b"x-ms-client-request-id"), None)
    known = [(b"x-ms-request-id", str(uuid.uuid4()).encode())]
    return known if client is None else [*known, (b"x-ms-client-request-id", client)]
