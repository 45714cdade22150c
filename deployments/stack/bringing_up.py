"""The stack's parts, each started unless it runs, in the order in which they need each other."""

from __future__ import annotations

import itertools
import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Sequence

import psutil

from deployments.stack import azure
from deployments.stack.layout import ROOT, WORK_POOL, WORKER, Stack
from deployments.stack.nights import NEVER
from deployments.stack.processes import Processes, StackError, end_runs

SERVER_SECONDS = 120.0  # the first start makes the database; seven seconds are usual
PREFECT = (sys.executable, "-m", "prefect")
SERVER = (sys.executable, "-m", "deployments.stack.server")


def bring_up(stack: Stack, processes: Processes, *, reset: bool = False) -> None:
    """Starts emulator, server and worker, and fills the server; what runs already, or was changed by a person, is left as it is.

    Args:
        reset: what a person has changed becomes what the files say.

    Raises:
        StackError: a part did not start; it says which, why, and what its log ends with.
    """
    if "server" not in processes.running():
        _require_free(stack.port)
    _say(azure.NAME, azure.start(stack, processes))
    _say("server", start_server(stack, processes))
    idle = "worker" not in processes.running()
    if idle:
        end_runs(stack.prefect_home)
    again = ["--reset"] if reset else []
    filled = _run(
        stack,
        [sys.executable, "-m", "deployments.stack.contents", *(["--adopt"] if idle else []), *again],
        given=json.dumps(azure.workspace(stack)),
    )
    _say_things(filled.splitlines())
    if idle:
        command = [*PREFECT, "--no-prompt", "worker", "start", "--pool", WORK_POOL, "--name", WORKER]
        processes.start("worker", command, stack.worker_environment(azure.environment(stack)), ROOT)
    deployed = _run(stack, [sys.executable, "-m", "deployments.stack.deploying", *again])
    _say_things(f"deployed {line}" for line in deployed.splitlines())
    if "worker" not in processes.running():
        raise StackError(f"The worker ended while starting.\n{processes.log_end('worker')}")
    _say("worker", f"{'started' if idle else 'runs already'}, work pool {WORK_POOL}")


def start_server(stack: Stack, processes: Processes) -> str:
    """Starts the server unless it runs, and waits until it answers; returns what it did and where the server is.

    Raises:
        StackError: it ended, or does not answer, or another one answers in its place; with what its log ends with.
    """
    if "server" in processes.running():
        how = "runs already"
    else:
        command = [*SERVER, "--no-prompt", "server", "start", "--host", "127.0.0.1", "--port", str(stack.port)]
        processes.start("server", command, stack.server_environment(), ROOT)
        how = "started"
    deadline = time.monotonic() + SERVER_SECONDS
    # Another server may have been quicker to take the port: what runs here must not be filled into that one.
    while not (_listens(processes, stack.port) and is_healthy(stack)):
        if "server" not in processes.running():
            raise StackError(f"Prefect's server ended while starting.\n{processes.log_end('server')}")
        if time.monotonic() > deadline:
            raise StackError(f"Prefect's server does not answer at {stack.api}.\n{processes.log_end('server')}")
        time.sleep(0.2)
    return f"{how}, {stack.url}"


def is_healthy(stack: Stack) -> bool:
    """Whether the server answers."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"{stack.api}/health", timeout=5) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


def nights(stack: Stack) -> tuple[list[str], bool]:
    """A sentence for each deployment, and whether all that should run by themselves will.

    Raises:
        StackError: the server cannot be asked.
    """
    command = [sys.executable, "-m", "deployments.stack.nights"]
    done = subprocess.run(command, cwd=ROOT, env=stack.environment(), capture_output=True, text=True, check=False)
    if done.returncode not in (0, NEVER):
        raise StackError(f"The server does not tell of its deployments:\n{done.stderr}".rstrip())
    return done.stdout.splitlines(), done.returncode == 0


def _listens(processes: Processes, port: int) -> bool:
    """Whether the stack's own server listens on `port`."""
    server = processes.running().get("server")
    process = server.find() if server else None
    try:
        found = process.net_connections(kind="tcp") if process else []
    except psutil.NoSuchProcess:
        return False
    return any(each.status == psutil.CONN_LISTEN and each.laddr.port == port for each in found)


def _require_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as problem:
            raise StackError(
                f"Port {port} on 127.0.0.1 is taken ({problem.strerror}), perhaps by another Prefect server. "
                f"End it, or choose another with --port."
            ) from None


def _run(stack: Stack, command: Sequence[str], given: str = "") -> str:
    done = subprocess.run(
        command, cwd=ROOT, env=stack.environment(), input=given, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise StackError(f"`{' '.join(command[1:])}` failed:\n{done.stdout}{done.stderr}".rstrip())
    return done.stdout


def _say_things(lines: Iterable[str]) -> None:
    """What has become of things (the first word), those of one kind on one line, and a remark that several have in common once."""
    remarks: dict[str, list[str]] = {}
    for (what, kind), become in itertools.groupby(lines, lambda line: line.split(" ")[:2]):
        names = []
        for line in become:
            name, _, remark = line.removeprefix(f"{what} {kind}").strip().partition(" (")
            names.append(name)
            if remark:
                remarks.setdefault(remark.rstrip(")"), []).append(name)
        _say(what, f"{kind} {', '.join(names)}")
    for remark, names in remarks.items():
        _say("", f"{', '.join(names)}: {remark}")


def _say(what: str, sentence: str) -> None:
    print(f"{what:<10} {sentence}", flush=True)
