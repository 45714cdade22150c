"""A way to Prefect's API on which an answer of each kind is bad once."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from tests.emulated import free_port

Fault = Literal["500", "lost"]
REFUSAL = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
IDS = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}")


@dataclass
class Flaky:
    """Where it listens, and the calls of which one was answered badly: method and path, ids left out."""

    target: int
    fault: Fault
    port: int = field(default_factory=free_port)
    spoilt: set[str] = field(default_factory=set)

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    async def serve(self, stop: asyncio.Event) -> None:
        async with await asyncio.start_server(self._carry, "127.0.0.1", self.port, limit=1 << 24):
            await stop.wait()
            # The websockets of a run that is over.
            rest = asyncio.all_tasks() - {asyncio.current_task()}
            for task in rest:
                task.cancel()
            await asyncio.gather(*rest, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request a connection; a websocket is let through."""
        with contextlib.suppress(asyncio.IncompleteReadError, OSError), contextlib.closing(writer):
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.decode("latin-1").split("\r\n")
            named = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
            body = await reader.readexactly(int(named.get("content-length", "0")))
            call = IDS.sub("{}", " ".join(lines[0].split(" ")[:2]))
            bad = call not in self.spoilt and "upgrade" not in named
            if bad:
                self.spoilt.add(call)
            if bad and self.fault == "500":
                writer.write(REFUSAL)
                await writer.drain()
                return
            answers, server = await asyncio.open_connection("127.0.0.1", self.target)
            with contextlib.closing(server):
                if "upgrade" in named:
                    server.write(head + body)
                    await asyncio.gather(_pipe(reader, server), _pipe(answers, writer))
                    return
                kept = [line for line in lines if not line.lower().startswith("connection:")]
                kept.insert(1, "Connection: close")
                server.write("\r\n".join(kept).encode("latin-1") + body)
                answer = await answers.read(-1)
                if not bad:
                    writer.write(answer)
                    await writer.drain()


async def _pipe(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while some := await source.read(1 << 16):
            sink.write(some)
            await sink.drain()
    sink.close()


@contextlib.contextmanager
def flaky(target: int, fault: Fault) -> Iterator[Flaky]:
    """Carries calls to the server at the port `target`."""
    way, loop, stop = Flaky(target, fault), asyncio.new_event_loop(), asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=[way.serve(stop)], daemon=True)
    thread.start()
    try:
        yield way
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
