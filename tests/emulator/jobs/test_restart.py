"""State survives: a job that runs is found again after the emulator was killed, and goes on after it was stopped."""

import os
import signal
from pathlib import Path

import psutil

from tests.emulated import Emulator
from tests.emulator.jobs.commands import failure, line, log_text, pipeline_of, status_of, wait, writer
from tests.processes import is_alive


def kill(emulator: Emulator) -> None:
    """Kills the emulator as the kernel would, and waits until it is gone."""
    process = psutil.Process(emulator.running.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(10)


def waiting_for(gate: Path, ready: Path) -> str:
    """Code that says that it runs and goes on when `gate` is there."""
    return (
        f"import os, pathlib, time; print('begun'); pathlib.Path({str(ready)!r}).write_text(str(os.getpid())); "
        f"[time.sleep(0.1) for _ in iter(pathlib.Path({str(gate)!r}).exists, True)]; print('ended')"
    )


def test_a_step_that_outlived_a_killed_emulator_is_found_and_its_job_completes(
    own_emulator: Emulator, tmp_path: Path
) -> None:
    gate, ready = tmp_path / "gate", tmp_path / "ready"
    client = own_emulator.client()
    job = client.jobs.create_or_update(pipeline_of(writer(waiting_for(gate, ready))))
    wait(client, job.name, lambda status: ready.exists())
    kill(own_emulator)
    assert is_alive(int(ready.read_text()))
    own_emulator.start()
    wait(client, job.name, lambda status: status == "Running")
    gate.touch()
    assert wait(client, job.name) == "Completed"
    [child] = client.jobs.list(parent_job_name=job.name)
    assert log_text(client, child.name) == "begun\nended\n"
    log = log_text(client, job.name, "logs/azureml/executionlogs.txt")
    assert (log.count("begun"), log.count("ended")) == (1, 1)


def test_a_step_that_ended_while_no_emulator_ran_has_its_result(own_emulator: Emulator, tmp_path: Path) -> None:
    gate, ready = tmp_path / "gate", tmp_path / "ready"
    client = own_emulator.client()
    job = client.jobs.create_or_update(pipeline_of(writer(waiting_for(gate, ready))))
    wait(client, job.name, lambda status: ready.exists())
    step = psutil.Process(int(ready.read_text()))
    kill(own_emulator)
    gate.touch()
    psutil.wait_procs([step], timeout=10)
    own_emulator.start()
    assert wait(client, job.name) == "Completed"


def test_a_step_that_vanished_with_its_node_fails_as_lost(own_emulator: Emulator, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    client = own_emulator.client()
    job = client.jobs.create_or_update(line(f"echo $$ > {ready}; sleep 600"))
    wait(client, job.name, lambda status: ready.exists() and bool(ready.read_text()))
    step = psutil.Process(int(ready.read_text()))
    supervisor = step.parent()
    assert supervisor is not None
    kill(own_emulator)
    supervisor.kill()
    step.kill()
    own_emulator.start()
    assert wait(client, job.name) == "Failed"
    assert "The node that ran this job was lost" in failure(client, job.name)


def test_a_stopped_emulator_leaves_no_process_and_its_job_goes_on_where_it_was(
    own_emulator: Emulator, tmp_path: Path
) -> None:
    gate, ready = tmp_path / "gate", tmp_path / "ready"
    client = own_emulator.client()
    script = f"echo start >> starts; cat starts; echo $$ > {ready}; while [ ! -e {gate} ]; do sleep 0.1; done"
    job = client.jobs.create_or_update(line(script))
    wait(client, job.name, lambda status: ready.exists() and bool(ready.read_text()))
    own_emulator.stop()
    assert not is_alive(int(ready.read_text()))
    gate.touch()
    own_emulator.start()
    assert wait(client, job.name) == "Completed"
    assert log_text(client, job.name) == "start\n" + "start\nstart\n"


def test_jobs_and_their_runs_are_remembered(own_emulator: Emulator) -> None:
    client = own_emulator.client()
    job = client.jobs.create_or_update(pipeline_of(writer()))
    assert wait(client, job.name) == "Completed"
    own_emulator.stop()
    own_emulator.start()
    assert status_of(client, job.name) == "Completed"
    assert [child.status for child in client.jobs.list(parent_job_name=job.name)] == ["Completed"]
