"""`python -m demo`: starts an emulator, runs the flow on it with real data and a real model, shows what came out, leaves nothing.

This is the one place that knows both halves, and it joins them as a user would: by environment variables and a Prefect block.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import socket
import sys
import time
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from deployments.stack.bringing_up import start_server
from deployments.stack.layout import Stack
from deployments.stack.processes import Processes
from emulator import daemon

ROOT = Path(__file__).resolve().parent.parent
SCRATCH = ROOT / ".cache" / "demo"
STATE = SCRATCH / "azure"
SERVER = SCRATCH / "server"
DATA = SCRATCH / "chitchat"
LOCK = SCRATCH / "running.lock"
PARAMETERS = Path(__file__).with_name("parameters.yaml")
BLOCK = "demo"


def main(arguments: list[str] | None = None) -> int:
    """Runs the demo; returns the exit status: 0 only if a model was registered, deployed, asked and torn down."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__.splitlines()[0].split(": ", 1)[1])
    parser.add_argument("--params", type=Path, default=PARAMETERS, metavar="FILE", help="the run's parameters, as YAML")
    parameters = parser.parse_args(arguments).params.resolve()
    os.chdir(ROOT)
    SCRATCH.mkdir(parents=True, exist_ok=True)
    try:
        alone = FileLock(LOCK).acquire(blocking=False)
    except Timeout:
        print(
            f"Another demo is running over {SCRATCH}. Wait until it has ended, or run this one in a second clone.",
            file=sys.stderr,
        )
        return 1
    with alone:
        return _demo(parameters)


def _demo(parameters: Path) -> int:
    started = time.monotonic()
    processes = Processes(SERVER)
    try:
        _prepare_data()
        _start_emulator()
        _start_prefect(processes)
        _set_environment()
        return _run(parameters, started)
    finally:
        processes.stop("server")
        daemon.stop(STATE)


def _prepare_data() -> None:
    from demo.chitchat import convert

    if not (DATA / "data").is_dir():
        rows = convert(DATA)
        _say("Data", ", ".join(f"{split} {count}" for split, count in rows.items()) + " real conversations")


def _start_emulator() -> None:
    daemon.stop(STATE)
    shutil.rmtree(STATE, ignore_errors=True)
    port = _free_port()
    running = daemon.start(STATE, port)
    _say("Azure ML", f"on this machine, process {running.pid}, reached through 127.0.0.1:{port}")


def _start_prefect(processes: Processes) -> None:
    """A server of the demo's own, and nothing but its address and folder in the environment: what a shell, a profile or a `.env`
    say of other servers and databases is for other work."""
    SERVER.mkdir(parents=True, exist_ok=True)
    processes.stop("server")
    stack = Stack(SERVER, _free_port(), STATE, emulator_port=0)
    _say("Prefect", start_server(stack, processes))
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        del os.environ[name]
    os.environ.update({name: value for name, value in stack.environment().items() if name.startswith("PREFECT_")})
    os.environ["PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW"] = "ignore"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _set_environment() -> None:
    """What `eval "$(python -m emulator env)"` does in a shell."""
    from emulator.environment import environment
    from emulator.installation import Installation

    running = daemon.find(STATE)
    assert running is not None
    os.environ.update(environment(Installation.open(STATE), running.port))
    # Which models the SDK still calls experimental is no news to who watches a demo.
    for noisy in ("azure", "azure.ai.ml", "azure.identity", "mlflow", "httpx"):
        logging.getLogger(noisy).setLevel(logging.ERROR)


def _run(file: Path, started: float) -> int:
    import yaml
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    from blocks import AzureMLWorkspace
    from demo.summary import show
    from emulator.environment import workspace_config
    from emulator.installation import Installation
    from flows.finetune import finetune
    from flows.terminal import progress_bars

    here = workspace_config(Installation.open(STATE))
    AzureMLWorkspace(**here).save(BLOCK, overwrite=True)
    parameters = yaml.safe_load(file.read_text("utf-8"))
    with progress_bars():
        state: Any = finetune(**parameters, return_state=True)
    # Sent by threads, which would go on when the server is gone.
    EventsWorker.drain_all()
    APILogWorker.drain_all()
    if not state.is_completed():
        print(f"\nThe run ended as {state.name}: {state.message}", file=sys.stderr)
        return 1
    result = state.result()
    show(result, seconds=time.monotonic() - started)
    return 0 if result.verdict == "accepted" else 1


def _say(what: str, sentence: str) -> None:
    print(f"{what + ':':<10} {sentence}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
