"""One command: its inputs resolved, its nodes queued for, its process run, its outputs kept."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from emulator.engine.clusters import Clusters
from emulator.engine.definitions import Command
from emulator.engine.environment import StepEnvironment
from emulator.engine.expressions import command_line
from emulator.engine.failure import RunCanceled, RunFailed, system_error, user_error
from emulator.engine.inputs import Asset, Inputs, Value
from emulator.engine.logs import Repeater, last_line
from emulator.engine.places import PIPELINE_LOG, STEP_LOG, Places
from emulator.engine.process import StepProcess
from emulator.engine.runs import Run, Runs, Status

WORK = "work"
ERROR = "error.json"
MARK = "repeated"


@dataclass(frozen=True)
class Step:
    """A command with all that it is given. `environment` is what the node adds to the component's variables."""

    command: Command
    inputs: Mapping[str, Value]
    environment: Mapping[str, str]


class Preempted(Exception):
    """The nodes were taken away: the step goes back to the queue."""


class Steps:
    """Runs commands. Whatever happened before a restart is taken up from the run's record and its folder."""

    def __init__(self, runs: Runs, places: Places, inputs: Inputs, clusters: Clusters, environment: StepEnvironment) -> None:
        self._runs = runs
        self._places = places
        self._inputs = inputs
        self._clusters = clusters
        self._environment = environment
        self._processes: dict[str, StepProcess] = {}
        self._preempted: set[str] = set()
        self._stopping = False

    async def run(self, run: Run, step: Step) -> dict[str, Value]:
        """Brings `run` to its end; returns its outputs.

        Raises:
            RunFailed, RunCanceled: it ended so, now or before.
            asyncio.CancelledError: it was cancelled; its process is gone. Its status is Canceled, or, when the emulator stops,
                Queued: it goes on at the next start, as after a pre-emption.
        """
        if run.status.is_terminal:
            return self._ended(run)
        try:
            await self._attempts(run, step)
        except RunFailed as failure:
            self._runs.enter(run, Status.FAILED, error=failure.document())
            raise
        except asyncio.CancelledError:
            self._runs.enter(run, Status.QUEUED if self._stopping else Status.CANCELED)
            raise
        except Exception:
            self._runs.enter(run, Status.FAILED, error=system_error("The step could not be run: see the emulator's log.").document())
            raise
        return self._ended(run)

    async def preempt(self, run_id: str) -> bool:
        """Takes a running step's nodes away; it goes back to the queue and starts again in the same scratch folder. False when
        it does not run."""
        process = self._processes.get(run_id)
        if process is None:
            return False
        self._preempted.add(run_id)
        await process.stop()
        return True

    def stop(self) -> None:
        """Announces that cancellations from now on are those of a service that stops."""
        self._stopping = True

    # ---------------------------------------------------------------------------------------------------- attempts

    async def _attempts(self, run: Run, step: Step) -> None:
        adopted = StepProcess.adopt(self._places.private(run)) if run.status in (Status.RUNNING, Status.FINALIZING) else None
        while True:
            if adopted is None:
                self._runs.enter(run, Status.QUEUED)
                await self._clusters.acquire(run.compute or "", run.nodes)
            else:
                self._clusters.seize(run.compute or "", run.nodes)
            try:
                await self._attempt(run, step, adopted)
                return
            except Preempted:
                adopted = None
            finally:
                self._clusters.release(run.compute or "", run.nodes)

    async def _attempt(self, run: Run, step: Step, adopted: StepProcess | None) -> None:
        folder, log = self._places.private(run), self._places.log(run, STEP_LOG)
        process = adopted or await self._start(run, step, folder, log)
        repeater = self._repeater(run, folder, log)
        self._processes[run.id] = process
        try:
            exit_code = await process.wait(repeater.look)
        except asyncio.CancelledError:
            await process.stop()
            raise
        finally:
            repeater.look(to_the_end=True)
            del self._processes[run.id]
        if run.id in self._preempted:
            self._preempted.discard(run.id)
            self._say(run, f"The nodes of {run.display_name} were pre-empted; it is queued again.")
            raise Preempted
        if exit_code != 0:
            raise self._failure(exit_code, folder, log)
        self._runs.enter(run, Status.FINALIZING)
        self._keep_outputs(run, step)
        self._runs.enter(run, Status.COMPLETED)

    async def _start(self, run: Run, step: Step, folder: Path, log: Path) -> StepProcess:
        work = folder / WORK
        self._runs.enter(run, Status.STARTING, attempt=run.attempt + 1)
        if not work.exists():
            await self._bring_code(step.command.code, work)
        (folder / ERROR).unlink(missing_ok=True)
        outputs = {name: self._places.output(run, name, port.type) for name, port in step.command.outputs.items()}
        inputs = {name: str(value.path) if isinstance(value, Asset) else value.text for name, value in step.inputs.items()}
        argv = command_line(step.command.command, inputs, {name: str(path) for name, (path, _) in outputs.items()})
        given = {
            **step.command.environment,
            **step.environment,
            **{f"AZURE_ML_INPUT_{name}": value for name, value in inputs.items()},
            **{f"AZURE_ML_OUTPUT_{name}": str(path) for name, (path, _) in outputs.items()},
        }
        environment = self._environment.make(run, folder / ERROR, given)
        process = StepProcess.start(folder, argv, work, log, environment)
        self._runs.enter(run, Status.RUNNING)
        return process

    async def _bring_code(self, code: str | None, work: Path) -> None:
        """Makes the scratch folder: the component's code, or nothing."""
        partial = work.with_name(WORK + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        if code is not None:
            source = (await self._inputs.resolve(code)).path
            if source.is_dir():
                # A copy: what a step does to its code must not reach the asset.
                await asyncio.to_thread(shutil.copytree, source, partial, dirs_exist_ok=True)
            else:
                shutil.copy2(source, partial)
        partial.rename(work)

    # -------------------------------------------------------------------------------------------------------- end

    def _failure(self, exit_code: int | None, folder: Path, log: Path) -> RunFailed:
        if exit_code is None:
            return system_error(
                "The node that ran this job was lost: its process is gone and left no result. Submit the job again; a step that keeps "
                "checkpoints in its outputs can resume from them."
            )
        with suppress(OSError, ValueError, KeyError, TypeError):
            said = json.loads((folder / ERROR).read_text())
            return RunFailed("SystemError" if said["code"] == "SystemError" else "UserError", str(said["message"])[:2000])
        line = last_line(log)
        return user_error(
            f"Execution failed. User process exited with status code {exit_code}. Please check log file '{STEP_LOG}' for error details."
            + (f" Error: {line}" if line else "")
        )

    def _keep_outputs(self, run: Run, step: Step) -> None:
        for name, port in step.command.outputs.items():
            path, blob = self._places.output_named(run, name, port.type)
            if path.exists():
                run.outputs[name] = {"type": port.type, "path": blob}

    def _ended(self, run: Run) -> dict[str, Value]:
        if run.status is Status.FAILED and run.error is not None:
            raise RunFailed.load(run.error)
        if run.status is Status.CANCELED:
            raise RunCanceled(f"{run.display_name} was canceled.")
        return {name: Asset(self._places.output_path(kept["path"])) for name, kept in run.outputs.items()}

    # -------------------------------------------------------------------------------------------------------- log

    def _repeater(self, run: Run, folder: Path, log: Path) -> Repeater:
        def hand_on(lines: list[str]) -> None:
            if not run.is_job:
                self._pipeline_log(run).lines([f"[{run.display_name}] {line}" for line in lines])

        return Repeater(log, folder / MARK, hand_on)
