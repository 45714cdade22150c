"""Where the matrix runs: a stack of its own, the runs on it, and their processes."""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psutil

from deployments.stack import azure
from deployments.stack.layout import ROOT, WORK_POOL, Stack
from deployments.stack.processes import Processes
from tasks.naming import RunNames
from tests.deployments.operated import SMALL, Operator
from tests.emulated import Emulator, free_port, pointed_at
from tests.flows.conftest import write_conversations
from tests.processes import alive_where
from tests.resilience.verdict import FINAL, Records
from tests.resilience.waiting import await_until

HEARTBEAT_SECONDS = 30
"""The least that Prefect takes; the stack's own is 180."""
SILENT_SECONDS, ASKED_SECONDS = 50, 40
"""After which a run is asked after, and then given up; the project's own are 300 s and 240 s."""
ZOMBIES = "crash-zombies"
AWAY_SECONDS = 120


@dataclass(frozen=True)
class Site:
    """A stack that is up, whose dead runs are noticed after three heartbeats of half a minute."""

    operator: Operator
    emulator: Emulator
    conversations: Path

    def ask(self, path: str, body: dict[str, Any] | None = None, method: str = "POST") -> Any:
        """Calls Prefect's API, as long as the server is away or its database is busy."""
        return await_until(lambda: (self.operator.ask(path, body, method),), AWAY_SECONDS, f"an answer to {path}")[0]

    @cached_property
    def processes(self) -> Processes:
        """Its emulator, server and worker."""
        return Processes(self.operator.stack.home)

    @cached_property
    def records(self) -> Records:
        """For judging what is there."""
        return Records(self.emulator.client(), self.ask)

    def start(self, *, from_asset: bool = False, **job_variables: Any) -> Run:
        """A run of seconds on things of its own. `from_asset`: its dataset is a data asset, else a folder."""
        word = f"a{uuid4().hex[:7]}"  # a cluster's name must not end in a dash and digits
        source = self._asset(f"deaths-{word}") if from_asset else str(self.conversations)
        env = {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS), **job_variables.pop("env", {})}
        parameters = {
            **SMALL,
            "dataset": {"source": source, "percent": 90, "seed": int(word, 16) % 2**31},
            "compute": {"cluster": f"deaths-{word}"},
            "registration": {"name": f"deaths-{word}"},
        }
        made = self._schedule("manual", word, parameters, job_variables={"env": env, **job_variables})
        return Run(self, UUID(made["id"]), word)

    def reap(self, name: str) -> None:
        """Has the reaper run as its schedule does, in a run called `name`. An hour later nothing of the run is young any more."""
        self._schedule("reaper", name, {"grace_minutes": 0})

    def _schedule(self, deployment: str, name: str, parameters: dict[str, Any], **more: Any) -> dict[str, Any]:
        [found] = self.ask("/deployments/filter", {"deployments": {"name": {"any_": [deployment]}}})
        parameters = {**found["parameters"], **parameters}
        made = {"name": name, "idempotency_key": name, "parameters": parameters, "state": {"type": "SCHEDULED"}}
        return self.ask(f"/deployments/{found['id']}/create_flow_run", {**made, **more})

    def up(self) -> None:
        """`make up`: starts what does not run. Afterwards dead runs are noticed sooner than the project's automation does."""
        up = self.operator.command("up")
        assert up.returncode == 0, up.stdout + up.stderr
        [zombies] = [made for made in self.ask("/automations/filter") if made["name"] == ZOMBIES]
        wanted = {key: zombies[key] for key in ("name", "description", "enabled", "trigger", "actions")}
        if wanted["trigger"]["within"] != SILENT_SECONDS:  # what is written begins to count anew
            wanted["trigger"]["within"] = SILENT_SECONDS
            wanted["actions"][0]["parameters"]["silent_seconds"] = ASKED_SECONDS
            self.ask(f"/automations/{zombies['id']}", wanted, method="PUT")

    def start_worker(self) -> None:
        """As a service manager does after the worker has died."""
        stack = self.operator.stack
        name = f"{WORK_POOL}-{uuid4().hex[:4]}"
        self.processes.start(
            "worker",
            [sys.executable, "-m", "prefect", "--no-prompt", "worker", "start", "--pool", WORK_POOL, "--name", name],
            stack.worker_environment(azure.environment(stack)),
            ROOT,
        )

    def _asset(self, name: str) -> str:
        from azure.ai.ml.entities import Data

        folder = self.conversations.with_name(name)
        shutil.copytree(self.conversations, folder)
        # The SDK names an upload by its content, and two at the same time would meet.
        (folder / "README.md").write_text(name)
        self.records.client.data.create_or_update(Data(name=name, version="1", type="uri_folder", path=str(folder)))
        return f"azureml:{name}:1"


@dataclass(frozen=True)
class Run:
    """A flow run, by its id."""

    site: Site
    id: UUID
    word: str
    """In the name of all that it makes."""

    @cached_property
    def names(self) -> RunNames:
        return RunNames(self.id)

    @property
    def given(self) -> str:
        """The name of everything that the parameters may name: cluster, model, data asset."""
        return f"deaths-{self.word}"

    def read(self) -> dict[str, Any]:
        """The run as Prefect's server knows it."""
        [found] = self.site.records.runs(flow_runs={"id": {"any_": [str(self.id)]}})
        return found

    @property
    def is_final(self) -> bool:
        return self.read()["state_type"] in FINAL

    def is_in(self, stage: str) -> bool:
        """Whether Prefect says that the stage's task is running."""
        tasks = self.site.records.tasks(str(self.id))
        return any(task["name"].startswith(stage) and task["state_type"] == "RUNNING" for task in tasks)

    def processes(self) -> list[psutil.Process]:
        """The flow's processes, the outermost first; not those of a worker or a hook's parent."""
        return alive_where(lambda process: process.environ().get("PREFECT__FLOW_RUN_ID") == str(self.id))

    def said(self) -> Iterator[str]:
        """Its log, as Prefect's server has it."""
        wanted = {"logs": {"flow_run_id": {"any_": [str(self.id)]}}, "sort": "TIMESTAMP_ASC", "limit": 200}
        for offset in range(0, 5000, 200):
            lines = self.site.ask("/logs/filter", {**wanted, "offset": offset})
            yield from (str(line["message"]) for line in lines)
            if len(lines) < 200:
                return


@contextlib.contextmanager
def site(folder: Path) -> Iterator[Site]:
    """Brings a stack up in `folder` and takes it down at the end."""
    stack = Stack(folder / "home", free_port(), folder / "azure", free_port())
    emulator = Emulator(stack.emulator_state, stack.emulator_port)
    here = Site(Operator(stack), emulator, write_conversations(folder / "conversations"))
    try:
        here.up()
        with pointed_at(emulator):
            yield here
    finally:
        here.operator.command("down")
