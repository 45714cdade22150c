"""A disk that is full, read-only or not this user's: a sentence, no trace, and what waits goes on once there is room."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from emulator import disk
from emulator.certificates import Certificates
from emulator.engine.logs import ExecutionLog, Repeater
from emulator.engine.runs import Run, RunKind, Runs, Status
from emulator.installation import Installation
from emulator.operations import Kind, Operations
from emulator.store import Store
from tests.emulated import Emulator, command_line, free_port, pointed_at, running_emulator
from tests.emulator.jobs.commands import details, line, status_of, wait
from tests.limits import full_disk, python, without_rights


def full() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Filling:
    """A store on a disk that is full for the first few writes."""

    def __init__(self, store: Store, times: int) -> None:
        self._store = store
        self.refused = 0
        self._times = times

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def put(self, *arguments: Any) -> None:
        if self.refused < self._times:
            self.refused += 1
            raise full()
        self._store.put(*arguments)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """An emulator whose disk becomes full, once for all that go on afterwards."""
    with running_emulator(tmp_path_factory.mktemp("full") / "state") as running, pointed_at(running):
        yield running


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "LOOK_SECONDS", 0.001)


def written(file: Path) -> None:
    """Makes the next write by `disk.replace` of this file one to a full disk."""
    file.with_name(f"{file.name}.{os.getpid()}.partial").symlink_to("/dev/full")


# ------------------------------------------------------------------------------------------------------------ start


@pytest.mark.parametrize("command", ["start", "serve"])
def test_a_folder_without_room_is_refused_in_a_sentence(tmp_path: Path, command: str) -> None:
    state = tmp_path / "state"
    done = python("emulator", command, "--state", str(state), "--port", str(free_port()), full=True)
    assert done.returncode == 1
    assert done.stderr == (
        f"The state folder {state} cannot be used: a file is as long as this process may write it. Raise the limit (ulimit -f), or "
        "name another with --state.\n"
    )
    assert list(state.iterdir()) == []


@pytest.mark.parametrize("command", ["start", "serve", "stop", "status", "env", "reset", "calls"])
def test_a_folder_of_another_users_is_refused_in_a_sentence(tmp_path: Path, command: str) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / "emulator.json").write_text("{}")
    with without_rights(state):
        done = python("emulator", command, "--state", str(state))
    assert done.returncode == 1
    assert done.stderr.startswith(f"The state folder {state} cannot be used: ")
    assert "or name another with --state." in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert list(state.iterdir()) == [state / "emulator.json"]


def test_each_refusal_of_a_disk_has_its_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def told(number: int, path: Path | None = None) -> str:
        error = OSError(number, os.strerror(number), *([str(path)] if path else []))
        try:
            raise RuntimeError("saving failed") from error
        except RuntimeError as wrapped:
            trouble = disk.trouble(wrapped, tmp_path)
            return trouble.sentence(tmp_path) if trouble else ""

    begins = f"The emulator cannot use its state folder {tmp_path}: "
    assert told(errno.ENOSPC) == begins + "no space is left on its disk. Make room there, and it goes on."
    assert "this user's quota" in told(errno.EDQUOT)
    assert told(errno.ENOENT) == told(errno.ENOTDIR) == ""
    monkeypatch.setattr(disk, "_is_read_only", lambda folder: True)
    assert told(errno.EROFS) == begins + "its disk is read-only. Mount it for writing, and it goes on."
    monkeypatch.setattr(os, "geteuid", lambda: 4294967)
    (tmp_path / "file").write_text("")
    owner = tmp_path.owner()
    assert told(errno.EACCES, tmp_path / "file") == (
        f"{begins}{tmp_path / 'file'} belongs to {owner}, and this is user 4294967. Work as {owner}, and it goes on."
    )


def test_a_full_database_is_a_full_disk(tmp_path: Path) -> None:
    store = Store(tmp_path / "documents.sqlite")
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(sqlite3.OperationalError) as refused:
        store.put("type", "id", {"much": "x" * 100_000})
    trouble = disk.trouble(refused.value, tmp_path)
    assert trouble is not None and trouble.passes
    assert trouble.what == "no space is left on its disk"


@pytest.mark.parametrize("file", ["server.pem", "bundle.pem"])
def test_certificates_that_were_half_written_are_made_at_the_next_start(tmp_path: Path, file: str) -> None:
    installation = Installation.open(tmp_path)
    (tmp_path / "certificates").mkdir()
    written(tmp_path / "certificates" / file)
    with pytest.raises(OSError, match="No space left"):
        Certificates.open(installation)
    made = Certificates.open(installation)
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(made.server)
    assert made.authority.read_bytes() in made.bundle.read_bytes()


def test_the_bundle_that_clients_read_stays_where_it_cannot_be_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Certificates.open(Installation.open(tmp_path / "state"))
    before = made.bundle.read_bytes()
    (tmp_path / "mine.pem").write_bytes(before + b"\n")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "mine.pem"))
    written(made.bundle)
    with pytest.raises(OSError, match="No space left"):
        Certificates.open(Installation.open(tmp_path / "state"))
    assert made.bundle.read_bytes() == before


# ---------------------------------------------------------------------------------------------------------- answers


def test_what_cannot_be_kept_is_answered_with_the_folder_and_may_be_tried_again(host: Emulator) -> None:
    here = host.installation
    token = host.credential().get_token("https://management.azure.com/.default").token
    bearer = {"Authorization": f"Bearer {token}"}
    compute = f"https://management.azure.com{here.workspace_id}/computes/gpu?api-version=2023-08-01-preview"
    body: dict[str, Any] = {
        "location": here.region,
        "properties": {"computeType": "AmlCompute", "properties": {"vmSize": "Standard_NC6s_v3"}},
    }
    storage = host.credential().get_token("https://storage.azure.com/.default").token
    blob = f"https://{here.blob_host}/{here.container}/said.txt"
    blob_headers = {"Authorization": f"Bearer {storage}", "x-ms-version": "2021-12-02", "x-ms-blob-type": "BlockBlob"}
    mlflow = f"{here.mlflow_base}/api/2.0/mlflow/experiments/create"
    assert requests.post(mlflow, headers=bearer, json={"name": "before"}, timeout=60).ok
    with full_disk(host.running.pid):
        refused = requests.put(compute, headers=bearer, json=body, timeout=30)
        assert requests.get(compute, headers=bearer, timeout=30).status_code == 404
        busy = requests.put(blob, headers=blob_headers, data=b"hello", timeout=30)
        untracked = requests.post(mlflow, headers=bearer, json={"name": "meanwhile"}, timeout=30)
    sentence = f"The emulator cannot use its state folder {host.state}: "
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "ServiceUnavailable")
    assert refused.json()["error"]["message"].startswith(sentence)
    assert (busy.status_code, busy.headers["x-ms-error-code"]) == (503, "ServerBusy")
    assert sentence in busy.text
    assert untracked.status_code == 503
    assert untracked.json()["message"].startswith(sentence)
    assert requests.put(compute, headers=bearer, json=body, timeout=30).status_code in (200, 201)
    assert requests.put(blob, headers=blob_headers, data=b"hello", timeout=30).status_code == 201
    assert requests.post(mlflow, headers=bearer, json={"name": "meanwhile"}, timeout=30).ok
    assert "error while answering" not in host.log


# ------------------------------------------------------------------------------------------------------------ loops


def until(happened: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def test_a_job_that_ends_on_a_full_disk_has_ended_well_once_there_is_room(host: Emulator) -> None:
    client = host.client()
    job = client.jobs.create_or_update(line("while [ ! -e go ]; do sleep 0.05; done; echo said", name="patient"))
    wait(client, job.name, lambda status: status == "Running")
    [supervisor] = [p for p in psutil.Process(host.running.pid).children() if "supervisor" in str(p.cmdline())]
    until(lambda: (host.state / "runs" / job.name / "process.json").exists())
    [shell] = supervisor.children()
    with full_disk(host.running.pid, supervisor.pid):
        (host.state / "runs" / job.name / "work" / "go").touch()
        until(lambda: not shell.is_running())
        assert status_of(client, job.name) == "Running"
    assert wait(client, job.name) == "Completed"
    assert details(client, job.name).status == "Completed"
    kept = Store(host.state / "documents.sqlite").get("run", job.name)
    assert kept is not None and kept["status"] == "Completed"


def test_a_job_whose_own_disk_was_full_says_what_to_do(host: Emulator) -> None:
    client = host.client()
    job = client.jobs.create_or_update(line("cat /dev/zero > /dev/full", name="greedy"))
    assert wait(client, job.name) == "Failed"
    folder = host.state / "runs" / job.name
    message = details(client, job.name).error.error.message
    assert message.endswith(f"No space was left on the disk of {folder}. Make room there and run it again.")


def test_an_operation_ends_once_its_end_can_be_noted(tmp_path: Path, quick: None) -> None:
    store = Store(tmp_path / "documents.sqlite")
    filling = Filling(store, 0)
    spoiled = []

    async def work() -> None:
        filling._times = 3
        raise full()

    async def run() -> str:
        operations = Operations(Installation.open(tmp_path), filling)  # type: ignore[arg-type]
        headers = operations.start(Kind.COMPUTE, work, lambda: spoiled.append(True))
        await asyncio.gather(*operations._tasks)
        return headers["Azure-AsyncOperation"].split("/")[-1].split("?")[0]

    found = store.get("operation", asyncio.run(run()))
    assert filling.refused == 3
    assert found is not None and found["status"] == "Failed"
    assert "no space is left on its disk" in found["error"]["message"]
    assert str(tmp_path) in found["error"]["message"]
    assert spoiled == [True]


def test_a_run_moves_on_in_memory_and_is_kept_once_there_is_room(tmp_path: Path, quick: None) -> None:
    store = Store(tmp_path / "documents.sqlite")
    filling = Filling(store, 3)
    run = Run(id="a", root="a", kind=RunKind.COMMAND, experiment="e", display_name="a", created="now")

    async def go_on() -> None:
        runs = Runs(filling, tracking=None)  # type: ignore[arg-type]
        runs.enter(run, Status.RUNNING)
        assert store.get("run", "a") is None
        assert runs._saving is not None
        await runs._saving

    asyncio.run(go_on())
    kept = store.get("run", "a")
    assert kept is not None and kept["status"] == "Running"


def test_no_line_of_a_step_is_lost_or_said_twice(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("one\ntwo\n")
    said: list[str] = []
    refusals = [full()]

    def hand_on(lines: list[str]) -> None:
        if refusals:
            raise refusals.pop()
        said.extend(lines)

    repeater = Repeater(tmp_path / "log", tmp_path / "mark", hand_on)
    repeater.look()
    assert said == []
    repeater.look()
    assert said == ["one", "two"]
    (tmp_path / "log").write_text("one\ntwo\nthree\n")
    Repeater(tmp_path / "log", tmp_path / "mark", hand_on).look()
    assert said == ["one", "two", "three"]


def test_a_sentence_that_a_log_has_no_room_for_stops_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "log").symlink_to("/dev/full")
    ExecutionLog(tmp_path / "log").state("Step a is Running")
    assert "Step a is Running" in caplog.text


def test_stop_is_in_good_order_on_a_full_disk(host: Emulator) -> None:
    client = host.client()
    job = client.jobs.create_or_update(line("test -e ../again || { touch ../again; sleep 600; }", name="taken-up"))
    wait(client, job.name, lambda status: status == "Running")
    until((host.state / "runs" / job.name / "again").exists)
    pid = host.running.pid
    with full_disk(pid):
        assert command_line("stop", "--state", str(host.state)).stdout == "Stopped.\n"
    host.start()
    assert wait(client, job.name) == "Completed"
