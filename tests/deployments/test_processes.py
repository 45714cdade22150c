"""The record of processes: it ends those that it started, and no other."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from deployments.stack.processes import Processes, StackError, Started, end_runs
from tests.processes import is_alive

WAIT = [sys.executable, "-c", "import time; time.sleep(600)"]
PARENT = [
    sys.executable,
    "-c",
    "import subprocess, sys, time\n"
    "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)\n"
    "print('ready', flush=True)\n"
    "time.sleep(600)",
]


def test_a_process_is_ended_with_its_children_even_those_in_sessions_of_their_own(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    parent = processes.start("server", PARENT, os.environ, tmp_path)
    while not processes.log_end("server"):
        assert parent.find()
    [child] = psutil.Process(parent.pid).children()
    assert processes.stop("server") is True
    assert not is_alive(parent.pid)
    assert not is_alive(child.pid)
    assert processes.running() == {}
    assert processes.stop("server") is False


def test_a_stranger_with_a_recorded_id_is_not_touched(tmp_path: Path) -> None:
    with subprocess.Popen(WAIT) as stranger:
        try:
            processes = Processes(tmp_path)
            born = psutil.Process(stranger.pid).create_time()
            processes.record("worker", Started(stranger.pid, born - 3600))
            assert processes.running() == {}
            assert processes.stop("worker") is False
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_a_process_of_another_boot_or_of_another_moment_is_a_stranger() -> None:
    ours = Started.of(os.getpid())
    assert ours.find()
    boot, _, ticks = str(ours.created).rpartition(" ")
    assert Started(ours.pid, f"another-{boot} {ticks}").find() is None
    assert Started(ours.pid, f"{boot} {int(ticks) - 1}").find() is None
    assert Started.of(1).created != ours.created


def test_only_the_stacks_own_orphaned_runs_are_ended(tmp_path: Path) -> None:
    ours = {"PREFECT_HOME": str(tmp_path), "PREFECT__FLOW_RUN_ID": "6f6e"}
    elsewhere = {**ours, "PREFECT_HOME": "/elsewhere"}
    no_run = {"PREFECT_HOME": str(tmp_path)}
    orphan, other, server = [subprocess.Popen(WAIT, env={**os.environ, **env}) for env in (ours, elsewhere, no_run)]
    try:
        end_runs(tmp_path)
        assert not is_alive(orphan.pid)
        assert is_alive(other.pid)
        assert is_alive(server.pid)
    finally:
        for process in (orphan, other, server):
            process.kill()
            process.wait()


def test_an_unreadable_record_is_said_and_nothing_is_guessed(tmp_path: Path) -> None:
    (tmp_path / "processes.json").write_text("{")
    with pytest.raises(StackError, match=r"processes\.json is not readable"):
        Processes(tmp_path).running()


def test_a_process_is_ended_also_where_the_record_cannot_be_written(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    started = processes.start("server", WAIT, os.environ, tmp_path)
    (tmp_path / "processes.partial").symlink_to("/dev/full")
    assert processes.stop("server") is True
    assert not is_alive(started.pid)
    assert processes.running() == {}
    assert processes.stop("server") is False
