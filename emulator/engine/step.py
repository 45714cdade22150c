"""One command: its inputs resolved, its nodes queued for, its process run, its outputs kept."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from emulator import disk
from emulator.engine.clusters import Clusters
from emulator.engine.definitions import Command
from emulator.engine.environment import StepEnvironment
from emulator.engine.expressions import command_line
from emulator.engine.failure import RunCanceled, RunFailed, system_error, user_error
from emulator.engine.faults import StepFaults
from emulator.engine.inputs import Asset, Inputs, Value
from emulator.engine.logs import ExecutionLog, Repeater, last_line
from emulator.engine.places import PIPELINE_LOG, STEP_LOG, Places
from emulator.engine.process import StepProcess
from emulator.engine.runs import Run, Runs, Status
from emulator.fork_server import ForkServer

log = logging.getLogger("emulator.engine")

ARTIFACT_FOLDERS = ("outputs", "logs")  # Azure ML keeps what a job writes there as the run's artifacts
WORK = "work"  # the scratch folder, which is the process's working directory
ERROR = "error.json"
MARK = "repeated"
COMPONENTS = "emulator.components."
# Azure's own text: https://github.com/MicrosoftDocs/azure-docs/issues/66288
PREEMPTION = (
    "AzureMLCompute job failed. PreemptionError: Nodes of this job got pre-empted. Check if the run has failed or restarted. "
    "Reason: Received pre-emption warning signal"
)


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

    def __init__(
        self,
        runs: Runs,
        places: Places,
        inputs: Inputs,
        clusters: Clusters,
        environment: StepEnvironment,
        faults: StepFaults,
        fork_server: ForkServer,
    ) -> None:
        self._runs = runs
        self._places = places
        self._inputs = inputs
        self._clusters = clusters
        self._environment = environment
        self._faults = faults
        self._fork_server = fork_server
        self._processes: dict[str, StepProcess] = {}
        self._preempted: dict[str, bool] = {}
        self.stopping = False

    async def run(self, run: Run, step: Step) -> dict[str, Value]:
        """Brings `run` to its end; returns its outputs.

        Raises:
            RunFailed, RunCanceled: it ended so, now or before.
            OSError, or what it is the cause of: the disk did not let it; once it does, the same call goes on with the process.
            asyncio.CancelledError: it was cancelled; its process is gone. Its status is Canceled, or, when the emulator stops,
                Queued: it goes on at the next start, as after a pre-emption.
        """
        if run.status.is_terminal:
            return self._ended(run)
        try:
            await self._runs.begin(run)
            await self._attempts(run, step)
        except RunFailed as failure:
            await self._runs.end(run, Status.FAILED, error=failure.document())
        except asyncio.CancelledError:
            if self.stopping:
                StepProcess.forget(self._places.private(run))  # also where the disk does not take the new status
                self._runs.enter(run, Status.QUEUED)
            else:
                await self._runs.end(run, Status.CANCELED)
            raise
        except Exception as error:
            if disk.passes(error):
                raise
            log.exception("step %s could not be run", run.id)
            await self._runs.end(
                run, Status.FAILED, error=system_error("The step could not be run; see the service's log.").document()
            )
        return self._ended(run)

    async def preempt(self, run_id: str, reason: str = "", *, requeue: bool = True) -> bool:
        """Takes a running step's nodes away; it goes back to the queue and starts again in the same scratch folder, or fails with
        Azure's words. False when it does not run. The step's log says so, with the reason."""
        process = self._processes.get(run_id)
        if process is None:
            return False
        self._preempted[run_id] = requeue
        sentence = " ".join(filter(None, ["The node was preempted", reason]))
        then = "goes back to the queue" if requeue else "ends"
        ExecutionLog(self._places.log(run_id, STEP_LOG)).state(f"{sentence}; the step {then}.")
        await process.stop()
        return True

    def stop(self) -> None:
        """Announces that cancellations from now on are those of a service that stops."""
        self.stopping = True

    # ---------------------------------------------------------------------------------------------------- attempts

    async def _attempts(self, run: Run, step: Step) -> None:
        started = run.status in (Status.STARTING, Status.RUNNING, Status.FINALIZING)
        adopted = StepProcess.adopt(self._places.private(run)) if started else None
        while True:
            if adopted is None:
                self._clusters.require(run.compute, run.nodes)
                self._runs.enter(run, Status.QUEUED)
                await self._clusters.acquire(run.compute, run.nodes)
            else:
                self._clusters.seize(run.compute, run.nodes)
            try:
                await self._attempt(run, step, adopted)
                return
            except Preempted:
                adopted = None
            finally:
                self._clusters.release(run.compute, run.nodes)

    async def _attempt(self, run: Run, step: Step, adopted: StepProcess | None) -> None:
        folder, log_file = self._places.private(run), self._places.log(run.id, STEP_LOG)
        process = adopted or await self._start(run, step, folder, log_file)
        repeater = Repeater(log_file, folder / MARK, self._repeat(run))
        self._processes[run.id] = process
        taking = asyncio.create_task(self._faults.take_node(run, self.preempt))
        try:
            exit_code = await process.wait(repeater.look)
        except asyncio.CancelledError:
            await process.stop()
            raise
        finally:
            taking.cancel()
            [problem] = await asyncio.gather(taking, return_exceptions=True)
            if isinstance(problem, Exception):
                log.error("step %s could not be preempted as asked", run.id, exc_info=problem)
            repeater.look(to_the_end=True)
            del self._processes[run.id]
        requeue = self._preempted.pop(run.id, None)
        if requeue is not None and exit_code != 0:
            raise Preempted if requeue else user_error(PREEMPTION)
        if exit_code != 0:
            raise _failure(exit_code, folder, log_file)
        self._runs.enter(run, Status.FINALIZING)
        self._keep_outputs(run, step)
        await self._runs.end(run, Status.COMPLETED)

    async def _start(self, run: Run, step: Step, folder: Path, log_file: Path) -> StepProcess:
        StepProcess.forget(folder)
        self._runs.enter(run, Status.STARTING, attempt=run.attempt + 1)
        self._faults.require_sound(run)
        command, work = step.command, folder / WORK
        if not work.exists():
            await self._bring_code(command.code, work, self._places.artifacts(run.id))
        (folder / ERROR).unlink(missing_ok=True)
        outputs = {name: str(self._places.make_output(run, name, port)) for name, port in command.outputs.items()}
        inputs = {
            name: str(value.path) if isinstance(value, Asset) else value.text for name, value in step.inputs.items()
        }
        paths = [name for name, value in step.inputs.items() if isinstance(value, Asset)]
        variables = {
            **command.environment,
            **step.environment,
            **{f"AZURE_ML_INPUT_{name}": value for name, value in inputs.items()},
            **{f"AZURE_ML_OUTPUT_{name}": value for name, value in outputs.items()},
        }
        environment = self._environment.make(run, folder / ERROR, variables)
        argv = self._faults.argv(run, command_line(command.command, inputs, outputs, paths))
        if may_be_forked(argv, {**command.environment, **step.environment}):
            process = await StepProcess.start_quickly(self._fork_server, folder, argv, work, log_file, environment)
        else:
            process = StepProcess.start(folder, argv, work, log_file, environment)
        self._runs.enter(run, Status.RUNNING)
        return process

    async def _bring_code(self, code: str | None, work: Path, artifacts: Path) -> None:
        """Makes the scratch folder: the component's code, or nothing, and the folders whose files are the run's artifacts."""
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
        for name in ARTIFACT_FOLDERS:
            if not (partial / name).exists():
                (artifacts / name).mkdir(parents=True, exist_ok=True)
                (partial / name).symlink_to((artifacts / name).resolve())
        partial.rename(work)

    # -------------------------------------------------------------------------------------------------------- end

    def _keep_outputs(self, run: Run, step: Step) -> None:
        for name, port in step.command.outputs.items():
            if (blob := self._places.keep_output(run, name, port)) is not None:
                run.outputs[name] = {"type": port.type, "path": blob}

    def _ended(self, run: Run) -> dict[str, Value]:
        if run.status is Status.FAILED and run.error is not None:
            raise RunFailed.load(run.error)
        if run.status is Status.CANCELED:
            raise RunCanceled(f"{run.display_name} was canceled.")
        return {name: Asset(self._places.output_path(kept["path"])) for name, kept in run.outputs.items()}

    def _repeat(self, run: Run) -> Callable[[list[str]], None]:
        if run.is_job:
            return lambda lines: None
        job_log = ExecutionLog(self._places.log(run.root, PIPELINE_LOG))
        return lambda lines: job_log.lines([f"[{run.display_name}] {line}" for line in lines])


def may_be_forked(argv: Sequence[str], variables: Mapping[str, str]) -> bool:
    """Whether a step can come from the fork server: a component of the emulator's own, of whose libraries no variable asks anything
    that they read when they are imported."""
    return [*argv[:2]] == [sys.executable, "-m"] and argv[2].startswith(COMPONENTS) and not variables


def _failure(exit_code: int | None, folder: Path, log_file: Path) -> RunFailed:
    if exit_code is None:
        return system_error(
            "The node that ran this job was lost: its process is gone and left no result. Submit the job again, or resume it from "
            "its checkpoints where it keeps any."
        )
    with suppress(OSError, ValueError, KeyError, TypeError):
        said = json.loads((folder / ERROR).read_text())
        return RunFailed("SystemError" if said["code"] == "SystemError" else "UserError", str(said["message"])[:2000])
    line = last_line(log_file)
    full = os.strerror(errno.ENOSPC) in line or disk.is_full(folder)
    return user_error(
        f"Execution failed. User process exited with status code {exit_code}. Please check log file '{STEP_LOG}' for error details."
        + (f" Error: {line}" if line else "")
        + (f" No space was left on the disk of {folder}. Make room there and run it again." if full else "")
    )
