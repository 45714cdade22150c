"""Where a stack lives and how its parts are reached: folders, ports, environments."""

from __future__ import annotations

import base64
import json
import os
import secrets
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FILE = "stack.json"
WORK_POOL = "local"
WORKER = f"{WORK_POOL}-worker"
BLOCK = "azureml"
DATABASE = "PREFECT_SERVER_DATABASE_CONNECTION_URL"
_OF_THE_CALLER = ("https_proxy", "http_proxy", "all_proxy")


@dataclass(frozen=True)
class Stack:
    """One stack. Two with different folders and ports never meet."""

    home: Path
    port: int
    emulator_state: Path
    emulator_port: int
    database: str = ""
    """Where the server keeps its data, without a password; empty: in `prefect_home`."""

    def __str__(self) -> str:
        """Its ports and folders in words."""
        return (
            f"port {self.port}, the emulator's state in {self.emulator_state}, the emulator's port {self.emulator_port}"
        )

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
        state = Path(known["emulator_state"])
        return cls(home, known["port"], state, known["emulator_port"], known.get("database", ""))

    def save(self) -> None:
        """Notes it for `saved`."""
        (self.home / FILE).write_text(json.dumps(asdict(self), default=str, indent=2))

    @property
    def login_file(self) -> Path:
        """Holds `user:password` once the API wants a login."""
        return self.home / "login"

    def require_login(self) -> None:
        """From the server's next start on, whoever calls the API must know what `login_file` holds."""
        _once(self.login_file, lambda: f"operator:{secrets.token_urlsafe(24)}")

    def environment(self) -> dict[str, str]:
        """That of everything but server and worker: this process's, without its proxies and its Prefect, with the stack's."""
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
            "WORKSPACE_BLOCK": BLOCK,  # what prefect.yaml deploys for
            **({"PREFECT_API_AUTH_STRING": self.login_file.read_text()} if self.login_file.exists() else {}),
        }

    def server_environment(self) -> dict[str, str]:
        """The server's: it alone has the key that its database's secrets are encrypted with, and knows the login to ask for.

        Its database is the caller's, if the stack is to have that, else SQLite in `prefect_home`: said outright, or Prefect would
        take one from a `.env` of the folder that it is started in.
        """
        own = self.environment()
        key = _once(self.home / "encryption.key", lambda: base64.urlsafe_b64encode(secrets.token_bytes(32)).decode())
        login = own.get("PREFECT_API_AUTH_STRING")
        return {
            **own,
            "PREFECT_SERVER_ENCRYPTION_KEY": key,
            # In memory, as by default, they would be lost with the process, and with them who holds which slot.
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
            **({"PREFECT_SERVER_API_AUTH_STRING": login} if login else {}),
            DATABASE: os.environ[DATABASE]
            if self.database
            else f"sqlite+aiosqlite:///{self.prefect_home / 'prefect.db'}",
        }

    def worker_environment(self, azure: dict[str, str]) -> dict[str, str]:
        """The worker's, which its runs inherit: `azure` is how the SDK reaches the emulator, and as whom."""
        return {
            **self.environment(),
            **azure,
            "PREFECT_WORKER_QUERY_SECONDS": "2",
            "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
        }


def database_of_the_caller() -> str:
    """The one that `PREFECT_SERVER_DATABASE_CONNECTION_URL` names, without a password; empty if it names none."""
    if DATABASE not in os.environ:
        return ""
    from sqlalchemy import make_url

    return make_url(os.environ[DATABASE]).render_as_string(hide_password=True)


def _once(file: Path, make: Callable[[], str]) -> str:
    """The file's text, made at the first call; only the owner may read it."""
    if not file.exists():
        partial = file.with_suffix(".partial")
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as new:
            new.write(make())
        partial.replace(file)
    return file.read_text()
