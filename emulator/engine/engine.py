"""The engine: jobs are submitted to it, cancelled through it, and found again by it after a restart."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from emulator import disk
from emulator.engine.clusters import Clusters
from emulator.engine.components import Components
from emulator.engine.definitions import (
    Command,
    Graph,
    Port,
    mapping,
    node_count,
    read_bindings,
    read_environment,
    read_outputs,
)
from emulator.engine.definitions import text as literal
from emulator.engine.expressions import ANY
from emulator.engine.failure import RunCanceled, RunFailed, system_error, user_error
from emulator.engine.faults import StepFaults
from emulator.engine.graph import Graphs, Scope, compute_name
from emulator.engine.logs import ExecutionLog
from emulator.engine.places import PIPELINE_LOG, Places
from emulator.engine.process import StepProcess
from emulator.engine.runs import Run, RunKind, Runs, Status, now
from emulator.engine.step import Step, Steps
from emulator.store import Document, Store

log = logging.getLogger("emulator.engine")

TYPE = "job"
DEFAULT_EXPERIMENT = "Default"
NOTED = (Status.QUEUED, Status.RUNNING, Status.CANCEL_REQUESTED, Status.COMPLETED, Status.FAILED, Status.CANCELED)


class Engine:
    """Runs jobs in the server's event loop; only the steps' own processes are elsewhere."""

    def __init__(
        self,
        store: Store,
        runs: Runs,
        places: Places,
        components: Components,
        clusters: Clusters,
        steps: Steps,
        graphs: Graphs,
        faults: StepFaults,
    ) -> None:
        self.runs = runs
        self.places = places
        self._store = store
        self._components = components
        self._clusters = clusters
        self._steps = steps
        self._graphs = graphs
        self._faults = faults
        self._jobs: dict[str, asyncio.Task[None]] = {}
        runs.listen = self._note

    def specification(self, name: str) -> Document | None:
        """A job's `properties` as they were submitted, or None."""
        return self._store.get(TYPE, name)

    def submit(self, name: str, properties: Document) -> Run:
        """Takes a job and starts it; returns its run.

        Raises:
            RunFailed: the job can't run as it is.
        """
        kind = RunKind.PIPELINE if properties["jobType"] == "Pipeline" else RunKind.COMMAND
        compute = compute_name(str(properties.get("computeId") or "serverless"))
        if kind is RunKind.PIPELINE:
            self._require_computes(self._components.graph(properties))
        else:
            self._clusters.require(compute, int(_command(properties).nodes))
        run = Run(
            id=name,
            root=name,
            kind=kind,
            experiment=properties.get("experimentName") or DEFAULT_EXPERIMENT,
            display_name=properties.get("displayName") or name,
            created=now(),
            description=properties.get("description"),
            hidden=bool(properties.get("isArchived")),
            compute=compute,
            tags={key: str(value) for key, value in mapping(properties.get("tags"), "tags").items()},
            properties={key: str(value) for key, value in mapping(properties.get("properties"), "properties").items()},
        )
        self._store.put(TYPE, name, properties)
        self._faults.attach(name)
        self.runs.enter(run, Status.NOT_STARTED)
        self._launch(run)
        return run

    async def cancel(self, id: str) -> None:
        """Ends a job, or a single step, as Canceled; returns when its processes are gone. Nothing happens to one that has ended."""
        run = self.runs.find(id)
        if run is None or run.status.is_terminal:
            return
        self.runs.enter(run, Status.CANCEL_REQUESTED)
        task = self._jobs.get(run.id.lower()) or self._graphs.tasks.get(run.id.lower())
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        await self._end_canceled(run)

    def delete(self, name: str) -> None:
        """Forgets a job that has ended, with its children and their logs."""
        for run in self.runs.descendants(name):
            self.places.forget(run)
            self.runs.delete(run.id)
        if (job := self.runs.find(name)) is not None:
            self.places.forget(job)
            self.runs.delete(job.id)
        self._faults.forget(name)
        self._store.delete(TYPE, name)

    # -------------------------------------------------------------------------------------------------- start, stop

    async def start(self) -> None:
        """Takes up the jobs that were not at their end when the emulator stopped or was killed."""
        for run in self.runs.jobs():
            if run.status is Status.CANCEL_REQUESTED:
                await self._end_canceled(run)
            elif not run.status.is_terminal:
                self._launch(run)

    async def stop(self) -> None:
        """Ends every process. The jobs stay as they are, their steps queued: they go on at the next start."""
        self._steps.stop()
        tasks = list(self._jobs.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --------------------------------------------------------------------------------------------------------- jobs

    def _launch(self, run: Run) -> None:
        task = asyncio.create_task(self._run(run), name=f"job {run.id}")
        self._jobs[run.id.lower()] = task
        task.add_done_callback(lambda _: self._jobs.pop(run.id.lower(), None))

    async def _run(self, run: Run) -> None:
        try:
            properties = self.specification(run.id) or {}
            work = self._pipeline if run.kind is RunKind.PIPELINE else self._single
            await disk.outlasted(lambda: work(run, properties), f"job {run.id}")
        except (RunFailed, RunCanceled) as end:
            if not run.status.is_terminal and isinstance(end, RunFailed):
                await self.runs.end(run, Status.FAILED, error=end.document())
        except Exception:
            log.exception("job %s could not be run", run.id)
            await self.runs.end(
                run, Status.FAILED, error=system_error("The job could not be run; see the service's log.").document()
            )

    def _require_computes(self, graph: Graph) -> None:
        """Refuses a pipeline that names a cluster that is not there. What an input names is looked up when the step runs."""
        named = [graph.compute, *(node.compute for node in graph.nodes.values())]
        for text in named:
            if text is not None and not ANY.search(text):
                self._clusters.require(compute_name(text), 1)

    async def _pipeline(self, run: Run, properties: Mapping[str, Any]) -> None:
        if run.status is Status.NOT_STARTED:
            self.runs.enter(run, Status.PREPARING)
        await self.runs.begin(run)
        graph = self._components.graph(properties)
        given = await self._graphs.values(graph.inputs, read_bindings(properties.get("inputs")))
        await self._graphs.nested(Scope(run, graph, given, graph.compute or "serverless"))

    async def _single(self, run: Run, properties: Mapping[str, Any]) -> None:
        if run.status is Status.NOT_STARTED:
            self.runs.enter(run, Status.PREPARING)
        command = _command(properties)
        run.nodes = int(command.nodes)
        inputs = await self._graphs.values(command.inputs, read_bindings(properties.get("inputs")))
        await self._steps.run(run, Step(command, inputs, {}))

    async def _end_canceled(self, run: Run) -> None:
        """Brings a run and all under it to Canceled, whatever is left of their processes included."""
        for each in (*reversed(self.runs.descendants(run.id)), run):
            if each.status.is_terminal:
                continue
            process = StepProcess.adopt(self.places.private(each))
            if process is not None:
                await process.stop()
            await self.runs.end(each, Status.CANCELED)

    def _note(self, run: Run) -> None:
        """Writes a change of status into the pipeline's log."""
        job = run if run.is_job else self.runs.find(run.root)
        if job is None or job.kind is not RunKind.PIPELINE or run.status not in NOTED:
            return
        what = "Pipeline" if run.is_job else "Step"
        reason = f": {run.error['message']}" if run.status is Status.FAILED and run.error else ""
        where = f" for {run.nodes} node(s) of {run.compute}" if run.status is Status.QUEUED else ""
        sentence = f"{what} {run.display_name} ({run.id}) is {run.status}{where}{reason}"
        ExecutionLog(self.places.log(job.id, PIPELINE_LOG)).state(sentence)


def _command(properties: Mapping[str, Any]) -> Command:
    """The command of a command job.

    Raises:
        RunFailed: it has none, or asks for no proper number of nodes.
    """
    line = literal(properties.get("command") or "")
    if not line.strip():
        raise user_error("Required property 'command' is missing.")
    nodes = node_count(properties) or "1"
    if not nodes.isascii() or not nodes.isdecimal() or len(nodes) > 4 or int(nodes) < 1:
        raise user_error(f"resources.instanceCount must be a positive integer, not '{nodes[:40]}'.")
    inputs = read_bindings(properties.get("inputs"))
    return Command(
        name="command",
        version="1",
        display_name=str(properties.get("displayName") or "command"),
        inputs={name: Port(binding.type, optional=True) for name, binding in inputs.items()},
        outputs=read_outputs(properties.get("outputs")),
        command=line,
        code=properties.get("codeId"),
        environment=read_environment(properties.get("environmentVariables")),
        nodes=nodes,
    )
