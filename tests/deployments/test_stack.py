"""The operator's stack: up, a run through the worker, up again, down."""

import subprocess
import time
import urllib.error
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from deployments.stack import azure
from deployments.stack.layout import DATABASE, Stack
from deployments.stack.processes import Processes
from tests.deployments.operated import OF_MANUAL, SECRET_BLOCK, SMALL, Operator, until
from tests.emulated import Emulator, free_port
from tests.processes import alive_where


def test_the_stack_has_neither_the_shells_prefect_nor_its_proxies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_KEY", "of-another-server")
    monkeypatch.setenv("HTTPS_PROXY", "http://elsewhere:1")
    environment = Stack(tmp_path, 4200, tmp_path / "azure", 8888).environment()
    assert environment["PREFECT_API_URL"] == "http://127.0.0.1:4200/api"
    assert not {"PREFECT_API_KEY", "HTTPS_PROXY"} & environment.keys()


def test_status_says_that_all_of_it_runs(operator: Operator) -> None:
    status = operator.command("status")
    assert status.returncode == 0, status.stdout + status.stderr
    assert operator.stack.url in status.stdout
    assert "does not run" not in status.stdout


def test_up_twice_changes_nothing(operator: Operator) -> None:
    before = Processes(operator.stack.home).running()
    again = operator.command("up")
    assert again.returncode == 0, again.stdout + again.stderr
    assert before.keys() == {"emulator", "server", "worker"}
    assert Processes(operator.stack.home).running() == before
    assert sorted(automation["name"] for automation in operator.ask("/automations/filter")) == [
        "alert-crashed",
        "alert-failed",
        "alert-late",
        "alert-no-night",
        "alert-rejected",
        "alert-skipped-night",
        "crash-zombies",
        "go-on-after-a-stop",
        "reap-after-a-bad-end",
    ]
    assert sorted(deployment["name"] for deployment in operator.ask("/deployments/filter")) == [
        "manual",
        "nightly",
        "reaper",
    ]
    assert [pool["name"] for pool in operator.ask("/work_pools/filter")] == ["local"]


def test_the_schedules_make_the_runs_to_come(operator: Operator) -> None:
    scheduled = {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}

    def to_come(name: str) -> list[str]:
        of_deployment = {"deployments": {"name": {"any_": [name]}}}
        return [run["expected_start_time"] for run in operator.ask("/flow_runs/filter", {**scheduled, **of_deployment})]

    until(lambda: bool(to_come("nightly") and to_come("reaper")))
    assert {time[11:16] for time in to_come("nightly")} == {"02:00"}
    assert {time[14:16] for time in to_come("reaper")} == {"17"}


def test_a_stack_that_runs_cannot_be_moved_to_another_port(operator: Operator) -> None:
    moved = operator.run("deployments.stack", "up", "--home", str(operator.stack.home), "--port", str(free_port()))
    assert moved.returncode == 1
    assert "Take it down first" in moved.stderr


def test_another_database_than_it_was_brought_up_with_is_refused(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DATABASE, "postgresql+asyncpg://prefect:hunter2@elsewhere:5432/prefect")
    up = operator.command("up")
    assert up.returncode == 1
    assert "was brought up with a database of its own" in up.stderr
    assert "elsewhere:5432" in up.stderr and "hunter2" not in up.stderr


def test_two_that_bring_it_up_at_once_take_turns(operator: Operator) -> None:
    with ThreadPoolExecutor(1) as pool:
        with FileLock(operator.stack.home / "up.lock"):
            second = pool.submit(operator.command, "up")
            time.sleep(5)
            assert not second.done()
        done = second.result()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Somebody else is bringing this stack up; waiting for that." in done.stdout
    workers = alive_where(lambda process: "worker" in process.cmdline(), operator.processes())
    assert len(workers) == 1


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"training": {"learning_rate": 5}}, "5 is greater than the maximum of 1"),
        ({"dataset": {"method": "guess"}}, "guess"),
        ({"training": {"learning_rat": 0.1}}, "learning_rat"),
    ],
)
def test_wrong_parameters_are_refused_before_there_is_a_run(
    operator: Operator, parameters: dict[str, Any], reason: str
) -> None:
    [manual] = operator.ask("/deployments/filter", OF_MANUAL)
    runs = {"deployments": {"id": {"any_": [manual["id"]]}}}
    before = operator.ask("/flow_runs/count", runs)
    with pytest.raises(urllib.error.HTTPError) as refusal:
        operator.ask(f"/deployments/{manual['id']}/create_flow_run", {"parameters": parameters})
    assert refusal.value.code == 409
    assert reason in refusal.value.read().decode()
    assert operator.ask("/flow_runs/count", runs) == before


def test_the_main_job_runs_through_the_worker_to_its_end(
    operator: Operator, main_run: subprocess.CompletedProcess[str]
) -> None:
    assert main_run.returncode == 0, main_run.stdout + main_run.stderr
    runs = operator.ask("/flow_runs/filter", {"flow_runs": {"state": {"name": {"any_": ["Completed"]}}}, **OF_MANUAL})
    [run] = [run for run in runs if run["parameters"]["workspace"] == SECRET_BLOCK]
    assert "validation loss" in run["state"]["message"]


def test_down_leaves_no_process_and_up_goes_on_with_its_run(operator: Operator, dataset: dict[str, Any]) -> None:
    started = operator.run_deployment(dataset=dataset, **{**SMALL, "deployment": {"enabled": False}})
    assert started.returncode == 0, started.stdout + started.stderr
    [run] = operator.ask("/flow_runs/filter", {"sort": "EXPECTED_START_TIME_DESC", "limit": 1, **OF_MANUAL})
    submitted = {
        "flow_runs": {"id": {"any_": [run["id"]]}},
        "task_runs": {"name": {"like_": "submit_pipeline"}, "state": {"type": {"any_": ["COMPLETED"]}}},
    }
    until(lambda: operator.ask("/task_runs/count", submitted) == 1)

    down = operator.command("down")
    assert down.returncode == 0, down.stdout + down.stderr
    assert operator.processes() == []
    assert operator.command("status").returncode == 3

    up = operator.command("up")
    assert up.returncode == 0, up.stdout + up.stderr
    assert "goes on" in up.stdout

    def state() -> dict[str, Any]:
        return operator.ask("/flow_runs/filter", {"flow_runs": {"id": {"any_": [run["id"]]}}})[0]

    until(lambda: state()["state_type"] in {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})
    assert state()["state_type"] == "COMPLETED", state()["state"]
    assert state()["run_count"] == 2


def test_an_emulator_that_ran_already_is_used_and_left_alone(own_emulator: Emulator, tmp_path: Path) -> None:
    stack = Stack(tmp_path, free_port(), own_emulator.state, free_port())
    processes = Processes(tmp_path)
    assert str(own_emulator.port) in azure.start(stack, processes)
    assert azure.stop(stack, processes) is False
    assert own_emulator.running.port == own_emulator.port
    assert azure.workspace(stack)["workspace_name"] == own_emulator.installation.workspace
    assert azure.environment(stack)["HTTPS_PROXY"] == f"http://127.0.0.1:{own_emulator.port}"


def test_a_taken_port_stops_up_before_anything_is_started(own_emulator: Emulator, tmp_path: Path) -> None:
    operator = Operator(Stack(tmp_path / "home", own_emulator.port, tmp_path / "azure", free_port()))
    up = operator.command("up")
    assert up.returncode == 1
    assert f"Port {own_emulator.port} on 127.0.0.1 is taken" in up.stderr
    assert not Processes(operator.stack.home).running()
