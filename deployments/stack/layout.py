"""Where a stack lives and how its parts are reached: folders, ports, environments."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FILE = "stack.json"
WORK_POOL = "local"
BLOCK = "azureml"
HEARTBEAT_SECONDS = 180  # deployments/automations/crash-zombies.yaml waits for three of them
_OF_THE_CALLER = ("https_proxy", "http_proxy", "all_proxy")


@dataclass(frozen=True)
class Stack:
    """One stack. Two with different folders and ports never meet."""

    home: Path
    port: int
    emulator_state: Path
    emulator_port: int

    @property
    def url(self) -> str:
        """The UI's address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def api(self) -> str:
        """What `PREFECT_API_URL` must be for Prefect's command line to reach this stack."""
        return f"{self.url}/api"

    @property
    def prefect_home(self) -> Path:
        """Prefect's database, and what the worker's runs keep. No other Prefect has the same."""
        return self.home / "prefect"

    @classmethod
    def saved(cls, home: Path) -> Stack | None:
        """The stack that was last brought up over `home`."""
        try:
            known = json.loads((home / FILE).read_text())
        except FileNotFoundError:
            return None
        return cls(home, known["port"], Path(known["emulator_state"]), known["emulator_port"])

    def save(self) -> None:
        """Notes it for `saved`."""
        (self.home / FILE).write_text(json.dumps(asdict(self), default=str, indent=2))

    def environment(self) -> dict[str, str]:
        """That of everything but the worker: this process's, without its proxies and its Prefect, with the stack's Prefect."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if name.lower() not in _OF_THE_CALLER and not name.startswith("PREFECT_")
        }
        return {
            **kept,
            # `prefect`, which a worker calls for each run, is the one beside this interpreter.
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
            "PREFECT_HOME": str(self.prefect_home),
            "PREFECT_API_URL": self.api,
            "PREFECT_UI_API_URL": self.api,  # otherwise the UI asks port 4200, whatever the server's is
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PYTHONUNBUFFERED": "1",
        }

    def worker_environment(self, azure: dict[str, str]) -> dict[str, str]:
        """The worker's, which its runs inherit: `azure` is how the SDK reaches the emulator, and as whom."""
        return {
            **self.environment(),
            **azure,
            "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
            "PREFECT_WORKER_QUERY_SECONDS": "2",
            "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
        }
