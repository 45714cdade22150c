"""Who brings a stack up and works with it."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psutil

from deployments.stack.layout import ROOT, Stack
from tests.processes import alive_where

SMALL: dict[str, Any] = {
    "training": {"max_steps": 2, "learning_rate": 0.001},
    "deployment": {"liveness_initial_delay": 1},
    "scoring": {"max_new_tokens": 4, "rows": 1},
}
"""A run of seconds."""
SECRET_BLOCK = "with-a-secret"
OF_MANUAL = {"deployments": {"name": {"any_": ["manual"]}}}


def ask(api: str, path: str, body: dict[str, Any] | None = None, method: str = "POST") -> Any:
    """Calls Prefect's API; None where it has nothing to answer."""
    sent = None if method == "GET" else json.dumps(body or {}).encode()
    request = urllib.request.Request(f"{api}{path}", sent, {"Content-Type": "application/json"}, method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for wait in (1.0, 2.0, 4.0, 8.0, None):
        try:
            # Longer than the minute for which Prefect's server waits for SQLite's lock before it says 503.
            with opener.open(request, timeout=90) as answer:
                return json.loads(answer.read() or "null")
        except urllib.error.HTTPError as error:
            # SQLite was locked for too long; Prefect's own client asks again, too.
            if error.code != 503 or wait is None:
                raise
            time.sleep(wait)
    return None


def until(happened: Callable[[], object], seconds: float = 120) -> None:
    """Returns when it has happened; fails if it never does."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.2)


@dataclass(frozen=True)
class Operator:
    """Who brings a stack up and works with it, by the command line and the API."""

    stack: Stack

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`python -m deployments.stack ...`."""
        options = ["--home", str(self.stack.home)]
        if arguments[:1] == ("up",):
            options += ["--port", str(self.stack.port), "--emulator-port", str(self.stack.emulator_port)]
            options += ["--emulator-state", str(self.stack.emulator_state)]
        return self.run("deployments.stack", *arguments, *options)

    def run_deployment(self, *options: str, **parameters: Any) -> subprocess.CompletedProcess[str]:
        """`prefect deployment run finetune/manual -p ...`."""
        given = [f"-p={name}={json.dumps(value)}" for name, value in parameters.items()]
        return self.run("prefect", "deployment", "run", "finetune/manual", *options, *given)

    def ask(self, path: str, body: dict[str, Any] | None = None, method: str = "POST") -> Any:
        """As above."""
        return ask(self.stack.api, path, body, method)

    def processes(self) -> list[psutil.Process]:
        """Everything that runs out of the stack's folders."""
        folder = str(self.stack.home.parent)
        return alive_where(
            lambda process: any(folder in text for text in (*process.cmdline(), *process.environ().values()))
        )

    def run(self, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`python -m module ...` as somebody who points at the stack's server."""
        env = {**os.environ, "PREFECT_API_URL": self.stack.api, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
        return subprocess.run(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            env=env,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
