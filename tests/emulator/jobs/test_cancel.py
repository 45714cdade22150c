"""Cancelling: the processes are really gone."""

from pathlib import Path

from tests.emulated import Emulator
from tests.emulator.jobs.commands import line, pipeline_of, status_of, wait, writer
from tests.processes import is_alive

# Ignores SIGTERM, and has a child that does too.
STUBBORN = (
    "import os, signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "child = subprocess.Popen(['sleep', '600']); open({path!r}, 'w').write(str(os.getpid()) + ' ' + str(child.pid)); "
    "time.sleep(600)"
)


def pids(path: Path) -> list[int]:
    """The process ids that a step wrote down."""
    return [int(word) for word in path.read_text().split()]


def test_cancelling_a_pipeline_ends_its_steps_with_all_that_they_started(emulator: Emulator, tmp_path: Path) -> None:
    client = emulator.client()
    noted = tmp_path / "pids"
    job = client.jobs.create_or_update(pipeline_of(writer(STUBBORN.format(path=str(noted)))))
    wait(client, job.name, lambda status: noted.exists() and bool(noted.read_text()))
    assert all(is_alive(pid) for pid in pids(noted))
    client.jobs.begin_cancel(job.name).wait()
    assert status_of(client, job.name) == "Canceled"
    assert [child.status for child in client.jobs.list(parent_job_name=job.name)] == ["Canceled"]
    assert not any(is_alive(pid) for pid in pids(noted))


def test_a_step_may_put_its_affairs_in_order_before_it_is_killed(emulator: Emulator, tmp_path: Path) -> None:
    client = emulator.client()
    ready, farewell = tmp_path / "ready", tmp_path / "farewell"
    script = f"trap 'echo saved > {farewell}; exit 143' TERM; touch {ready}; while true; do sleep 0.1; done"
    job = client.jobs.create_or_update(line(script))
    wait(client, job.name, lambda status: ready.exists())
    client.jobs.begin_cancel(job.name).wait()
    assert farewell.read_text() == "saved\n"
    assert status_of(client, job.name) == "Canceled"


def test_cancelling_what_has_ended_changes_nothing(emulator: Emulator) -> None:
    client = emulator.client()
    job = client.jobs.create_or_update(line("true"))
    wait(client, job.name)
    client.jobs.begin_cancel(job.name).wait()
    assert status_of(client, job.name) == "Completed"


def test_a_job_that_waits_for_nodes_can_be_cancelled(emulator: Emulator) -> None:
    from azure.ai.ml.entities import AmlCompute

    client = emulator.client()
    client.compute.begin_create_or_update(
        AmlCompute(name="one-to-cancel", size="Standard_DS3_v2", max_instances=1)
    ).result()
    running = client.jobs.create_or_update(line("sleep 600", compute="one-to-cancel"))
    waiting = client.jobs.create_or_update(line("touch ran", compute="one-to-cancel"))
    wait(client, running.name, lambda status: status == "Running")
    wait(client, waiting.name, lambda status: status == "Queued")
    client.jobs.begin_cancel(waiting.name).wait()
    assert status_of(client, waiting.name) == "Canceled"
    client.jobs.begin_cancel(running.name).wait()
    assert status_of(client, running.name) == "Canceled"
