"""A stack whose API wants a login, over the session's emulator."""

import base64
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from deployments.stack.layout import ROOT, Stack
from tests.emulated import Emulator, free_port


@dataclass(frozen=True)
class Guarded:
    """Who knows the login of a stack that asks for one."""

    stack: Stack

    @property
    def login(self) -> str:
        return self.stack.login_file.read_text()

    def options(self) -> list[str]:
        """Those of `up` that say which stack."""
        stack = self.stack
        ports = ["--port", str(stack.port), "--emulator-port", str(stack.emulator_port)]
        return ["--home", str(stack.home), "--emulator-state", str(stack.emulator_state), *ports]

    def environment(self, **variables: str) -> dict[str, str]:
        """That of a shell which points at the stack and knows its login."""
        login = {"PREFECT_API_AUTH_STRING": self.login} if self.stack.login_file.exists() else {}
        return {**os.environ, "PREFECT_API_URL": self.stack.api, **login, **variables}

    def run(self, module: str, *arguments: str, cwd: Path = ROOT, **variables: str) -> subprocess.CompletedProcess[str]:
        """`python -m module ...` in that shell."""
        return subprocess.run(
            [sys.executable, "-m", module, *arguments],
            cwd=cwd,
            env=self.environment(**variables),
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def ask(self, path: str, body: Mapping[str, Any] | None = None, *, login: str | None = None) -> Any:
        """GETs from Prefect's API, or POSTs `body`; with the login unless another is given ("": none)."""
        headers = {"Content-Type": "application/json"}
        if secret := self.login if login is None else login:
            headers["Authorization"] = f"Basic {base64.b64encode(secret.encode()).decode()}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.stack.api}{path}", data, headers)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
            return json.load(answer)


@pytest.fixture(scope="session")
def guarded(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """It is up. The emulator ran before, so `down` leaves it alone."""
    home = tmp_path_factory.mktemp("guarded") / "home"
    guarded = Guarded(Stack(home, free_port(), emulator.state, emulator.port))
    try:
        up = guarded.run("deployments.stack", "up", "--login", *guarded.options())
        assert up.returncode == 0, up.stdout + up.stderr
        assert guarded.login not in up.stdout
        yield guarded
    finally:
        guarded.run("deployments.stack", "down", "--home", str(home))
