"""The operator's stack with Prefect's server on PostgreSQL: the main job through the worker, and where its rows are.

Not part of the suite, since it needs PostgreSQL's programs (Debian: `apt-get install postgresql`): `make test-postgres`.
"""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deployments.stack.layout import DATABASE, Stack
from tests.deployments.conftest import dataset  # noqa: F401  a fixture
from tests.deployments.operated import SMALL, Operator
from tests.emulated import free_port

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
USER = "postgres"  # whom Debian's package makes: PostgreSQL does not run as root


class Postgres:
    """A cluster in a folder of its own, on a loopback port."""

    def __init__(self, folder: Path) -> None:
        assert PROGRAMS, "PostgreSQL is not installed: apt-get install postgresql"
        self.folder, self.port = folder, free_port()
        self.url = f"postgresql+asyncpg://{USER}@127.0.0.1:{self.port}/prefect"

    def start(self) -> None:
        self.run("initdb", "--pgdata", f"{self.folder}/data", "--auth", "trust", "--username", USER)
        settings = f"-c listen_addresses=127.0.0.1 -c port={self.port} -c unix_socket_directories="
        self.run("pg_ctl", "--pgdata", f"{self.folder}/data", "--log", f"{self.folder}/log", "-o", settings, "start")
        self.run("createdb", "--host", "127.0.0.1", "--port", str(self.port), "--username", USER, "prefect")

    def stop(self) -> None:
        self.run("pg_ctl", "--pgdata", f"{self.folder}/data", "--mode", "fast", "stop")

    def ask(self, query: str) -> str:
        options = ("--host", "127.0.0.1", "--port", str(self.port), "--username", USER, "--dbname", "prefect")
        return self.run("psql", *options, "--tuples-only", "--no-align", "--command", query).strip()

    def run(self, program: str, *arguments: str) -> str:
        user = {"user": USER, "group": USER, "extra_groups": []} if os.getuid() == 0 else {}
        command = [str(PROGRAMS[-1] / program), *arguments]
        # To a file: the cluster would keep a pipe open.
        with (self.folder / "said").open("w+") as said:
            done = subprocess.run(command, cwd=self.folder, stdout=said, stderr=subprocess.STDOUT, check=False, **user)  # type: ignore[call-overload]
            said.seek(0)
            text = said.read()
        assert done.returncode == 0, text
        return text


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    # Not below pytest's folder, which only its owner may enter.
    folder = Path(f"/tmp/finetune-postgres-{os.getpid()}")
    folder.mkdir(mode=0o700)
    if os.getuid() == 0:
        account = pwd.getpwnam(USER)
        os.chown(folder, account.pw_uid, account.pw_gid)
    postgres = Postgres(folder)
    try:
        postgres.start()
        yield postgres
    finally:
        postgres.stop()
        shutil.rmtree(folder)


def test_the_main_job_runs_through_a_server_on_postgresql(
    postgres: Postgres,
    dataset: dict[str, Any],  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(DATABASE, postgres.url)
    operator = Operator(Stack(tmp_path / "home", free_port(), tmp_path / "azure", free_port()))
    try:
        up = operator.command("up")
        assert up.returncode == 0, up.stdout + up.stderr
        done = operator.run_deployment("--watch", "--watch-interval", "1", dataset=dataset, **SMALL)
        assert done.returncode == 0, done.stdout + done.stderr
        assert postgres.ask("SELECT state_name FROM flow_run JOIN flow ON flow.id = flow_id WHERE flow.name = 'finetune' "
                            "AND state_type = 'COMPLETED'") == "Completed"  # fmt: skip
        assert postgres.ask("SELECT count(*) FROM deployment") == "3"
        assert "pg_trgm" in postgres.ask("SELECT extname FROM pg_extension")
        assert not list(operator.stack.prefect_home.glob("*.db")), "SQLite was used as well"
        print(postgres.ask("SELECT split_part(version(), ' (', 1)"), done.stdout.strip().splitlines()[-1], sep="\n")
    finally:
        operator.command("down")
