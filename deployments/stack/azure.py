"""The stack's Azure ML: the emulator, spoken to by its command line only."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys

from deployments.stack.layout import ROOT, Stack
from deployments.stack.processes import Processes, StackError, Started

NAME = "emulator"


def start(stack: Stack, processes: Processes) -> str:
    """Starts the emulator unless one runs over the same state, which is then used and left alone by `stop`; says which.

    Raises:
        StackError: it did not start.
    """
    if port := _status(stack).get("port"):
        return f"runs already, proxy 127.0.0.1:{port}"
    try:
        _run(stack, "start", "--port", str(stack.emulator_port))
    except StackError as problem:
        # Its own options have other names here.
        said = str(problem).replace("--port", "--emulator-port").replace("--state", "--emulator-state")
        raise StackError(said) from problem
    processes.record(NAME, Started.of(_status(stack)["pid"]))
    return f"started, proxy 127.0.0.1:{stack.emulator_port}"


def stop(stack: Stack, processes: Processes) -> bool:
    """Stops the emulator if `start` started it, with all that it runs; its state stays."""
    if ours := processes.running().get(NAME):
        if _status(stack).get("pid") == ours.pid:
            _run(stack, "stop")
        else:
            processes.stop(NAME)
    processes.forget(NAME)
    return ours is not None


def running(stack: Stack) -> str | None:
    """Where the emulator listens, or None."""
    found = _status(stack)
    return (
        f"proxy 127.0.0.1:{found['port']}, process {found['pid']}, state {stack.emulator_state}"
        if "port" in found
        else None
    )


def environment(stack: Stack) -> dict[str, str]:
    """What `python -m emulator env` prints, as variables."""
    words = [shlex.split(line)[-1] for line in _run(stack, "env").splitlines()]
    return dict(word.split("=", 1) for word in words)


def workspace(stack: Stack) -> dict[str, str]:
    """The workspace's config.json."""
    return json.loads(_run(stack, "env", "--config"))


def _status(stack: Stack) -> dict[str, int]:
    found = json.loads(_run(stack, "status", "--json", fine=(0, 3)))
    return found if found["running"] else {}


def _run(stack: Stack, command: str, *options: str, fine: tuple[int, ...] = (0,)) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "emulator", command, "--state", str(stack.emulator_state), *options],
        cwd=ROOT,
        env=stack.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in fine:
        raise StackError(f"`python -m emulator {command}` failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout
