"""The operator's stack on ports and folders of its own: up, a run through the worker, up again, down."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from deployments.stack import azure
from deployments.stack.layout import ROOT, Stack
from deployments.stack.processes import Processes
from tests.emulated import Emulator, free_port

SMALL = {
    "training": {"max_steps": 2, "learning_rate": 0.001},
    "deployment": {"liveness_initial_delay": 1},
    "scoring": {"max_new_tokens": 4, "rows": 1},
}

OF_MANUAL = {"deployments": {"name": {"any_": ["manual"]}}}


def until(happened: Callable[[], bool], seconds: float = 120) -> None:
    """Returns when it has happened; fails if it never does."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.2)


@dataclass(frozen=True)
class Operator:
    """Who brings a stack up and works with it, by the command line and the API."""

    stack: Stack

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`python -m deployments.stack ...`."""
        options = ["--home", str(self.stack.home)]
        if arguments == ("up",):
            options += ["--port", str(self.stack.port), "--emulator-port", str(self.stack.emulator_port)]
            options += ["--emulator-state", str(self.stack.emulator_state)]
        return self._run("deployments.stack", *arguments, *options)

    def run_deployment(self, *options: str, **parameters: Any) -> subprocess.CompletedProcess[str]:
        """`prefect deployment run finetune/manual -p ...`."""
        given = [f"-p={name}={json.dumps(value)}" for name, value in parameters.items()]
        return self._run("prefect", "deployment", "run", "finetune/manual", *options, *given)

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """POSTs to Prefect's API."""
        request = urllib.request.Request(
            f"{self.stack.api}{path}", json.dumps(body or {}).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
            return json.load(answer)

    def processes(self) -> list[psutil.Process]:
        """Everything that runs out of the stack's folders."""
        found = []
        for process in psutil.process_iter():
            try:
                known = [*process.cmdline(), *process.environ().values()]
            except psutil.Error:
                continue
            if process.status() != psutil.STATUS_ZOMBIE and any(str(self.stack.home.parent) in text for text in known):
                found.append(process)
        return found

    def _run(self, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "PREFECT_API_URL": self.stack.api, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
        return subprocess.run(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            env=env,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """A stack that is up."""
    folder = tmp_path_factory.mktemp("stack")
    operator = Operator(Stack(folder / "home", free_port(), folder / "azure", free_port()))
    try:
        up = operator.command("up")
        assert up.returncode == 0, up.stdout + up.stderr
        assert operator.stack.url in up.stdout
        yield operator
    finally:
        operator.command("down")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Conversations in the reference's schema, as the flow's parameter."""
    folder = tmp_path_factory.mktemp("conversations")
    for split, rows in (("train_sft", 40), ("test_sft", 10), ("test_gen", 5)):
        with (folder / f"{split}.jsonl").open("w", encoding="utf-8") as file:
            for number in range(rows):
                question = f"What is {number} plus {number}? Asked for {split}."
                said = [("user", question), ("assistant", f"It is {2 * number}.")]
                messages = [{"role": role, "content": content} for role, content in said]
                file.write(
                    json.dumps({"prompt": question, "messages": messages, "prompt_id": f"{split}-{number}"}) + "\n"
                )
    return {"source": str(folder), "percent": 100}


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
        "crash-zombies",
        "reap-after-a-bad-end",
    ]
    assert sorted(deployment["name"] for deployment in operator.ask("/deployments/filter")) == [
        "manual",
        "nightly",
        "reaper",
    ]
    assert [pool["name"] for pool in operator.ask("/work_pools/filter")] == ["local"]


def test_a_stack_that_runs_cannot_be_moved_to_another_port(operator: Operator) -> None:
    moved = operator._run("deployments.stack", "up", "--home", str(operator.stack.home), "--port", str(free_port()))
    assert moved.returncode == 1
    assert "Take it down first" in moved.stderr


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


def test_the_main_job_runs_through_the_worker_to_its_end(operator: Operator, dataset: dict[str, Any]) -> None:
    done = operator.run_deployment("--watch", "--watch-interval", "1", dataset=dataset, **SMALL)
    assert done.returncode == 0, done.stdout + done.stderr
    [run] = operator.ask("/flow_runs/filter", {"flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}})
    assert run["state_name"] == "Completed"
    assert run["parameters"]["workspace"] == "azureml"
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
