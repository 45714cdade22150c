"""How quickly the emulator is ready and answers, against a bare server: `python -m benchmarks.emulator`

The bare server is Starlette on uvicorn behind TLS, which answers the same document from memory and checks nothing. Both are
asked in turn by one client that keeps its connections; the emulator through its proxy, with a token, as the SDK does.
Exits 1 above a bound.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from benchmarks.bare_server import CERTIFICATE
from tests.emulated import Emulator, command_line, free_port, pointed_at

ROUNDS = 5
ONE_BY_ONE, AT_ONCE, CLIENTS = 200, 1500, 16
READY_SECONDS, P50_MILLISECONDS, PER_SECOND = 2.0, 5.0, 500.0


@dataclass(frozen=True)
class Target:
    """A server and how it is reached."""

    url: str
    ssl: ssl.SSLContext
    headers: dict[str, str]
    proxy: str | None = None


@dataclass(frozen=True)
class Speed:
    """What one round of requests took."""

    p50_milliseconds: float
    per_second: float


async def measure(target: Target) -> Speed:
    """Asks one by one, then from several clients at once."""
    async with aiohttp.ClientSession(headers=target.headers) as session:

        async def ask() -> float:
            began = time.perf_counter()
            async with session.get(target.url, ssl=target.ssl, proxy=target.proxy) as answer:
                await answer.read()
                answer.raise_for_status()
            return time.perf_counter() - began

        await ask()
        alone = [await ask() for _ in range(ONE_BY_ONE)]

        async def client() -> None:
            for _ in range(AT_ONCE // CLIENTS):
                await ask()

        began = time.perf_counter()
        await asyncio.gather(*(client() for _ in range(CLIENTS)))
        return Speed(statistics.median(alone) * 1000, AT_ONCE / (time.perf_counter() - began))


@contextlib.contextmanager
def bare(folder: Path) -> Iterator[Target]:
    """The bare server, as long as it is needed."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.bare_server", str(port), str(folder)])
    try:
        trusted, deadline = folder / CERTIFICATE, time.monotonic() + 30
        while not (trusted.exists() and _listens(port)):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the bare server did not start")
            time.sleep(0.05)
        yield Target(f"https://127.0.0.1:{port}/", ssl.create_default_context(cafile=str(trusted)), {})
    finally:
        process.terminate()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def of_emulator(emulator: Emulator) -> Target:
    """The emulator's workspace document, as the SDK reads it."""
    environment = emulator.environment()
    token = emulator.credential().get_token("https://management.azure.com/.default").token
    return Target(
        f"https://management.azure.com{emulator.installation.workspace_id}?api-version=2024-10-01",
        ssl.create_default_context(cafile=environment["REQUESTS_CA_BUNDLE"]),
        {"Authorization": f"Bearer {token}"},
        environment["HTTPS_PROXY"],
    )


def main() -> int:
    """Measures, prints, and returns the exit status."""
    ready: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        emulator = Emulator(Path(folder) / "state", free_port())
        for _ in range(ROUNDS):
            began = time.perf_counter()
            emulator.start()
            ready.append(time.perf_counter() - began)
            command_line("stop", "--state", str(emulator.state))
        emulator.start()
        try:
            with pointed_at(emulator), bare(Path(folder)) as reference:
                target = of_emulator(emulator)
                pairs = [(asyncio.run(measure(target)), asyncio.run(measure(reference))) for _ in range(ROUNDS)]
        finally:
            emulator.stop()
    ours, theirs = zip(*pairs, strict=True)
    p50, bare_p50 = (statistics.median(speed.p50_milliseconds for speed in side) for side in (ours, theirs))
    rate, bare_rate = (statistics.median(speed.per_second for speed in side) for side in (ours, theirs))
    print(f"ready                {statistics.median(ready):7.2f} s    at most {READY_SECONDS:g}")
    print(
        f"GET, median          {p50:7.2f} ms   at most {P50_MILLISECONDS:g};  bare {bare_p50:.2f}, ratio {p50 / bare_p50:.2f}"
    )
    print(
        f"GETs a second        {rate:7.0f}      at least {PER_SECOND:g}; bare {bare_rate:.0f}, ratio {rate / bare_rate:.2f}"
    )
    held = statistics.median(ready) <= READY_SECONDS and p50 <= P50_MILLISECONDS and rate >= PER_SECOND
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
