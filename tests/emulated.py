"""An emulator for tests: its own state folder and port, reached by the unmodified SDK through the printed environment."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

    from blocks import AzureMLWorkspace
    from emulator.daemon import Running
    from emulator.installation import Installation

ROOT = Path(__file__).parent.parent
# The distinct calls of the last test session, for docs/emulator-coverage.md.
CALLS = ROOT / ".cache" / "calls.jsonl"
# The public notebook's time, whose model and sizes the flow has as its defaults; they are retired since.
AS_OF = "2025-03-01"
_RUNNING: list[Emulator] = []


@dataclass(frozen=True)
class Emulator:
    """A running emulator."""

    state: Path
    port: int
    options: tuple[str, ...] = ()
    """Of `python -m emulator start`."""

    @property
    def installation(self) -> Installation:
        """Who and where it is."""
        from emulator.installation import Installation

        return Installation.open(self.state)

    @property
    def running(self) -> Running:
        """Its process and ports."""
        from emulator import daemon

        found = daemon.find(self.state)
        assert found is not None, "the emulator does not run"
        return found

    @property
    def log(self) -> str:
        """All that it wrote to its log."""
        return (self.state / "emulator.log").read_text()

    def environment(self, principal: str = "contributor") -> dict[str, str]:
        """What `python -m emulator env` prints."""
        from emulator.environment import environment

        return environment(self.installation, self.port, principal)

    def start(self) -> None:
        """Starts it, or starts it again over the same state."""
        command_line("start", "--state", str(self.state), "--port", str(self.port), *self.options)

    def stop(self) -> None:
        """Stops it in good order."""
        command_line("stop", "--state", str(self.state))

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Calls the emulator's own interface: fault rules and the record of calls."""
        from emulator import control

        return control.ask(self.installation, self.running.tls_port, method, path, body)

    @contextlib.contextmanager
    def rule(self, match: dict[str, Any], effect: dict[str, Any]) -> Iterator[str]:
        """A fault rule in force for a while; yields its id."""
        id = self.ask("POST", "/faults", {"match": match, "effect": effect})["id"]
        try:
            yield id
        finally:
            self.ask("DELETE", f"/faults/{id}")

    def hits(self, id: str) -> int:
        """How many calls a rule in force has met."""
        [rule] = [rule for rule in self.ask("GET", "/faults") if rule["id"] == id]
        return int(rule["hits"])

    @contextlib.contextmanager
    def fault(self, match: dict[str, Any], effect: dict[str, Any]) -> Iterator[str]:
        """A fault rule in force for a while; yields its id. What it was never needed for fails the test."""
        with self.rule(match, effect) as id:
            yield id
            assert self.hits(id) > 0, f"no call met the fault {match}"

    def publish(self, name: str, version: str = "1", **facts: Any) -> str:
        """Puts a model without files into its registry, with the facts that `RegistryModel` has fields for; its name."""
        folder = self.state / "registry" / "models" / name / version
        folder.mkdir(parents=True, exist_ok=True)
        document = {"name": name, "version": version, "description": "Of a test.", **facts}
        (folder / "model.json").write_text(json.dumps(document))
        return name

    def credential(self, principal: str = "contributor") -> Any:
        """A credential of the real azure-identity."""
        from azure.identity import ClientSecretCredential

        env = self.environment(principal)
        return ClientSecretCredential(env["AZURE_TENANT_ID"], env["AZURE_CLIENT_ID"], env["AZURE_CLIENT_SECRET"])

    def client(self, principal: str = "contributor") -> MLClient:
        """The real MLClient for the workspace."""
        from azure.ai.ml import MLClient

        here = self.installation
        return MLClient(
            self.credential(principal),
            here.subscription_id,
            here.resource_group,
            here.workspace,
            enable_telemetry=False,
        )

    def block(self) -> AzureMLWorkspace:
        """The flow's way to the workspace. It signs in by the default chain, with what the environment holds."""
        from blocks import AzureMLWorkspace

        here = self.installation
        return AzureMLWorkspace(
            subscription_id=here.subscription_id, resource_group=here.resource_group, workspace_name=here.workspace
        )


def command_line(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Runs `python -m emulator ...` as a user does."""
    done = subprocess.run(
        [sys.executable, "-m", "emulator", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


PORTS_A_PROCESS = 1000


def _ports() -> Iterator[int]:
    """Those of this process alone, below what Linux gives to who asks for any: a server takes seconds until it listens, and by
    then another test's could have the same."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    mine = 20000 + PORTS_A_PROCESS * (worker % 12)
    begin = os.getpid() % PORTS_A_PROCESS  # another session on this machine begins elsewhere
    while True:
        yield from (mine + (begin + step) % PORTS_A_PROCESS for step in range(PORTS_A_PROCESS))


_FREE = _ports()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, and that no test of this session is given again soon."""
    for port in _FREE:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError


@contextlib.contextmanager
def running_emulator(state: Path, *options: str, as_of: str = AS_OF) -> Iterator[Emulator]:
    """Starts an emulator over `state`, on that day; stops it at the end."""
    emulator = Emulator(state, free_port(), ("--as-of", as_of, *options))
    emulator.start()
    _RUNNING.append(emulator)
    try:
        yield emulator
    finally:
        _RUNNING.remove(emulator)
        _keep_calls(emulator)
        emulator.stop()


def keep_calls() -> None:
    """Adds what the running emulators were asked so far to the session's record: they keep only their latest calls themselves."""
    for emulator in _RUNNING:
        _keep_calls(emulator)


def _keep_calls(emulator: Emulator) -> None:
    """Moves the calls that were answered well to the session's record; a test may have killed the emulator."""
    from emulator import daemon

    if daemon.find(emulator.state) is None:
        return
    CALLS.parent.mkdir(parents=True, exist_ok=True)
    known = set(CALLS.read_text().splitlines()) if CALLS.exists() else set()
    made = emulator.ask("GET", "/calls")
    emulator.ask("DELETE", "/calls")
    answered = {
        json.dumps({key: call[key] for key in ("method", "host", "path")})
        for call in made
        if call["status"] is not None and call["status"] < 400
    }
    with CALLS.open("a") as file:
        file.writelines(f"{line}\n" for line in sorted(answered - known))


@contextlib.contextmanager
def pointed_at(emulator: Emulator, principal: str = "contributor") -> Iterator[None]:
    """This process's environment as `eval "$(python -m emulator env)"` makes it."""
    before = dict(os.environ)
    os.environ.update(emulator.environment(principal))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
