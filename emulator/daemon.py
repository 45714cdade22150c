"""The emulator's process: starting it detached, finding it again, stopping it; and the loop that it runs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from emulator import births, disk
from emulator.conditions import Conditions

if TYPE_CHECKING:
    import psutil
    import uvicorn

PROCESS_FILE = "emulator.json"
LOG_FILE = "emulator.log"
START_SECONDS = 60.0  # for a machine whose disk is cold; two seconds are usual
STOP_SECONDS = 30.0


class DaemonError(Exception):
    """What the command line prints instead of a trace."""


@dataclass(frozen=True)
class Running:
    """A running emulator: its process and its two loopback ports (the CONNECT proxy's and the TLS server's)."""

    pid: int
    created: births.Birth
    port: int
    tls_port: int


def find(state: Path) -> Running | None:
    """The emulator that runs over `state`, or None.

    Raises:
        DaemonError: the folder is another user's, who alone can tell.
    """
    try:
        running = Running(**json.loads((state / PROCESS_FILE).read_text()))
    except PermissionError as error:
        raise DaemonError(unusable(state, error)) from error
    except (OSError, ValueError, TypeError):
        return None
    return running if births.lives(running.pid, running.created) else None


def start(
    state: Path,
    port: int,
    *,
    faithful: bool = False,
    faults: Path | None = None,
    as_of: str | None = None,
    quota: Path | None = None,
    region: str | None = None,
) -> Running:
    """Starts an emulator in the background and returns when it is ready.

    Raises:
        DaemonError: the port is taken, the region is another, or it ended or hung while starting; with the end of its log.
        ConditionsError: `as_of` is no date or `quota` no file of limits.
    """
    kept = Conditions.kept(state)
    conditions = kept.changed(as_of, quota)
    _require_region(state, region)
    if running := find(state):
        if running.port != port:
            raise DaemonError(f"The emulator over {state} already runs on port {running.port}; stop it first.")
        if conditions != kept:
            raise DaemonError(
                f"The emulator over {state} already runs, {kept}; stop it first to change that or its quota."
            )
        return running
    keep_private(state)
    _require_free(port)
    conditions.keep(state)
    (state / PROCESS_FILE).unlink(missing_ok=True)
    command = [sys.executable, "-m", "emulator", "serve", "--state", str(state), "--port", str(port)]
    with open(state / LOG_FILE, "ab") as log:
        process = subprocess.Popen(
            [
                *command,
                *(["--faithful"] if faithful else []),
                *(["--faults", str(faults)] if faults else []),
                *(["--region", region] if region else []),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=_environment(),
        )
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if running := find(state):
            return running
        if process.poll() is not None:
            raise DaemonError(
                f"The emulator ended while starting (exit status {process.returncode}).\n{_log_end(state)}"
            )
        time.sleep(0.02)
    process.kill()
    raise DaemonError(f"The emulator was not ready after {START_SECONDS:.0f} s and was ended.\n{_log_end(state)}")


def stop(state: Path) -> bool:
    """Stops the emulator over `state` with everything that it started; False when none runs."""
    import psutil

    from emulator.scoring.leftovers import end_leftovers

    running = find(state)
    if running is None:
        end_leftovers(state)
        return False
    process = psutil.Process(running.pid)
    children = process.children(recursive=True)
    process.terminate()
    if _outlasting([process], STOP_SECONDS):
        process.kill()
        _outlasting([process], 5)
    for child in _outlasting(children, 5):
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    (state / PROCESS_FILE).unlink(missing_ok=True)
    return True


def _outlasting(processes: list[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Waits until they have ended, reaped or not: an orphan's end may be noticed late. Returns those that still run then."""
    deadline = time.monotonic() + seconds
    while (alive := [process for process in processes if _runs(process)]) and time.monotonic() < deadline:
        time.sleep(0.01)
    return alive


def _runs(process: psutil.Process) -> bool:
    import psutil

    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def serve(
    state: Path,
    port: int,
    *,
    faithful: bool = False,
    faults: Path | None = None,
    as_of: str | None = None,
    quota: Path | None = None,
    region: str | None = None,
) -> None:
    """Runs the emulator in this process until SIGTERM or SIGINT.

    Raises:
        DaemonError, ConditionsError: as `start`.
    """
    conditions = Conditions.kept(state).changed(as_of, quota)
    _require_region(state, region)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for noisy in ("httpx", "httpcore", "alembic", "mlflow"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    keep_private(state)
    conditions.keep(state)
    asyncio.run(_serve(state, port, conditions, region, faithful=faithful, faults=faults))


async def _serve(
    state: Path, port: int, conditions: Conditions, region: str | None, *, faithful: bool, faults: Path | None
) -> None:
    import uvicorn

    from emulator.assembly import Azure
    from emulator.certificates import Certificates
    from emulator.faults.rules import read_rules
    from emulator.installation import Installation
    from emulator.proxy import HEAD_LIMIT, Proxy

    installation = Installation.open(state, region)
    certificates = Certificates.open(installation)
    with socket.create_server(("127.0.0.1", 0), backlog=512) as tls_socket:
        # asyncio does it only for sockets that name their protocol; without it, each answer's body waits for an acknowledgement.
        tls_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        tls_port = tls_socket.getsockname()[1]
        tunnels = Proxy(installation, tls_port)
        proxy = await asyncio.start_server(tunnels.serve, "127.0.0.1", port, limit=HEAD_LIMIT)
        azure = Azure(installation, conditions, port, tunnels.reset, faithful=faithful)
        for rule in read_rules(faults):
            azure.faults.add(rule)
        config = uvicorn.Config(
            azure.server,
            ssl_certfile=certificates.server,
            lifespan="off",
            http="h11",
            h11_max_incomplete_event_size=64 * 1024,
            ws="none",
            access_log=False,
            server_header=False,
            date_header=False,  # the server's own, of the emulator's day
            log_config=None,
            timeout_graceful_shutdown=2,
        )

        def cut() -> None:
            proxy.close()
            tunnels.close()

        server = _server(config, cut)
        for number in (signal.SIGTERM, signal.SIGINT):
            # uvicorn hears them first, and raises them again once it has ended: that must not end what comes after it.
            signal.signal(number, lambda *_: None)
        await azure.start()
        serving = asyncio.create_task(server.serve(sockets=[tls_socket]))
        while not server.started and not serving.done():  # noqa: ASYNC110  uvicorn offers no event for it
            await asyncio.sleep(0.005)
        _write_process_file(state, port, tls_port)
        try:
            await serving  # returns on SIGTERM and SIGINT, which uvicorn handles
        finally:
            cut()
            await azure.stop()
            (state / PROCESS_FILE).unlink(missing_ok=True)


def _server(config: uvicorn.Config, at_shutdown: Callable[[], None]) -> uvicorn.Server:
    """A server that does not wait for idle clients when it is told to end: `at_shutdown` cuts them off first."""
    import uvicorn

    class Server(uvicorn.Server):
        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            at_shutdown()
            await super().shutdown(sockets)

    return Server(config)


def _write_process_file(state: Path, port: int, tls_port: int) -> None:
    running = Running(os.getpid(), births.began(os.getpid()), port, tls_port)
    disk.replace(state / PROCESS_FILE, json.dumps(asdict(running)).encode())


def _require_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as problem:
            raise DaemonError(
                f"Port {port} on 127.0.0.1 is taken ({problem.strerror}); choose another with --port."
            ) from None


def _require_region(state: Path, region: str | None) -> None:
    """Refuses a region that cannot be one, or that is not that of the installation in `state`: its ids name it."""
    from emulator.installation import FILE, Installation

    if region is None:
        return
    if not re.fullmatch(r"[a-z][a-z0-9]{2,40}", region):
        raise DaemonError(
            f"--region {region[:64]!r} is no region. Write it as Azure does: small letters and digits, westeurope."
        )
    if (state / FILE).exists() and (here := Installation.open(state).region) != region:
        raise DaemonError(
            f"The emulator over {state} is in {here}, which is part of its ids. Start one in {region} over another --state, or "
            "reset this one first."
        )


def keep_private(state: Path) -> None:
    """From now on what this process and its children write is their user's alone, and so is the folder, whatever the umask was:
    blobs are people's conversations, and logs what jobs print.

    Raises:
        DaemonError: the folder cannot be made, is another user's, or has no room.
    """
    os.umask(0o077)
    try:
        state.mkdir(parents=True, exist_ok=True)
        if state.stat().st_mode & 0o077:
            state.chmod(0o700)
        disk.probe(state)
    except OSError as error:
        raise DaemonError(unusable(state, error)) from error


def unusable(state: Path, error: BaseException) -> str:
    """Why the folder cannot be used, and what to do."""
    if trouble := disk.trouble(error, state):
        return f"The state folder {state} cannot be used: {trouble.what}. {trouble.do}, or name another with --state."
    why = (error.strerror if isinstance(error, OSError) else None) or error
    return f"The state folder {state} cannot be used: {why}. Name another with --state, on a disk where this user may write."


def _environment() -> dict[str, str]:
    """The child's environment: this one, so that it finds its modules from any folder."""
    root = str(Path(__file__).resolve().parent.parent)
    paths = [root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    proxies = {"https_proxy", "http_proxy", "all_proxy"}
    kept = {name: value for name, value in os.environ.items() if name.lower() not in proxies}
    return {**kept, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}


def _log_end(state: Path) -> str:
    try:
        return "\n".join((state / LOG_FILE).read_text(errors="replace").splitlines()[-20:])
    except OSError:
        return ""
