"""A pipeline: its nodes run as soon as what they need is there."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace

from emulator import disk
from emulator.engine.definitions import Binding, Command, Graph, Node, OutputPort, Port, require_literal
from emulator.engine.expressions import NodeOutput, ParentInput, ParentOutput
from emulator.engine.failure import RunCanceled, RunFailed, user_error
from emulator.engine.inputs import Asset, Inputs, Literal, Value
from emulator.engine.places import Places, share
from emulator.engine.runs import Run, RunKind, Runs, Status, child_id, now
from emulator.engine.step import Step, Steps

Values = Mapping[str, Value]


@dataclass(frozen=True)
class Scope:
    """What a graph's nodes can refer to.

    Attributes:
        run: the run that stands for the graph.
        given: the graph's inputs; an optional one that was not given is absent.
        compute: where a node runs that does not say.
    """

    run: Run
    graph: Graph
    given: Values
    compute: str


class Graphs:
    """Walks graphs. Every node's run follows from its place, so that a walk after a restart finds what was done before."""

    def __init__(self, runs: Runs, steps: Steps, inputs: Inputs, places: Places) -> None:
        self._runs = runs
        self._steps = steps
        self._inputs = inputs
        self._places = places
        self.tasks: dict[str, asyncio.Task[Values]] = {}

    async def run(self, scope: Scope) -> None:
        """Runs all nodes; what they write for the graph's outputs is in the run's outputs afterwards.

        Raises:
            RunFailed: some node did not complete.
            asyncio.CancelledError: after every node was cancelled.
        """
        waiting = dict(scope.graph.nodes)
        running: dict[asyncio.Task[Values], Node] = {}
        done: dict[str, Values] = {}
        failed: list[str] = []
        try:
            while True:
                for node in [node for node in waiting.values() if node.needs() <= done.keys()]:
                    if not failed or scope.graph.goes_on_after_failure:
                        running[self._start(scope, node, done)] = waiting.pop(node.name)
                if not running:
                    break
                finished, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in finished:
                    node = running.pop(task)
                    try:
                        done[node.name] = task.result()
                    except (RunFailed, RunCanceled, asyncio.CancelledError):
                        failed.append(node.name)
                if failed and not scope.graph.goes_on_after_failure:
                    await _cancel(running)
                    running.clear()
        except asyncio.CancelledError:
            await _cancel(running)
            raise
        if failed:
            raise RunFailed(
                "UserError",
                f"Pipeline has failed child jobs. Failed nodes: {', '.join(f'/{name}' for name in failed)}. For more details and "
                "logs, please go to the job detail page and check the child jobs.",
                component="PipelineService",
                reference="PipelineHasStepJobFailed",
            )

    # ------------------------------------------------------------------------------------------------------- nodes

    def _start(self, scope: Scope, node: Node, done: Mapping[str, Values]) -> asyncio.Task[Values]:
        run = self._child(scope, node)
        work = disk.outlasted(lambda: self._node(scope, node, run, done), f"step {node.name} of job {run.root}")
        task = asyncio.create_task(work, name=f"run {run.id}")
        self.tasks[run.id.lower()] = task
        task.add_done_callback(lambda _: self.tasks.pop(run.id.lower(), None))
        return task

    def _child(self, scope: Scope, node: Node) -> Run:
        id = child_id(scope.run.id, node.name)
        if (found := self._runs.find(id)) is not None:
            return found
        component = node.component
        is_step = isinstance(component, Command)
        run = Run(
            id=id,
            root=scope.run.root,
            kind=RunKind.STEP if is_step else RunKind.NESTED,
            experiment=scope.run.experiment,
            display_name=node.display_name or node.name,
            created=now(),
            parent=scope.run.id,
            node=node.name,
            component=f"{component.name}:{component.version}",
            properties={
                "azureml.DevPlatv2": "true",
                "azureml.runsource": "azureml.StepRun",
                "StepType": "PythonScriptStep" if is_step else "SubPipelineStep",
                "azureml.moduleName": component.name,
                "azureml.moduleVersion": component.version,
                "azureml.nodeid": id[:8],
                "azureml.pipelinerunid": scope.run.root,
                "azureml.pipelineComponent": "masterescloud",
            },
        )
        self._runs.enter(run, Status.NOT_STARTED)
        return run

    async def _node(self, scope: Scope, node: Node, run: Run, done: Mapping[str, Values]) -> Values:
        try:
            if not run.status.is_terminal:
                await self._prepare(scope, node, run)
            values: Values = {} if run.status.is_terminal else await self._values(scope, node, done)
        except RunFailed as failure:
            await self._runs.end(run, Status.FAILED, error=failure.document())
            raise
        except asyncio.CancelledError:
            await self._abandon(run)
            raise
        outputs: Values
        component = _placed(node, scope.graph)
        if isinstance(component, Command):
            outputs = await self._steps.run(run, Step(component, values, node.environment))
        else:
            outputs = await self.nested(Scope(run, component, values, run.compute))
        self._publish(scope, node, outputs)
        return outputs

    async def _prepare(self, scope: Scope, node: Node, run: Run) -> None:
        """Says where the node runs, before anything else can go wrong with it."""
        run.compute = compute_name(_literal(node.compute, scope, "compute") or scope.compute)
        component_nodes = node.component.nodes if isinstance(node.component, Command) else None
        run.nodes = _count(_literal(node.nodes or component_nodes, scope, "instance_count"))
        run.properties["_azureml.ClusterName"] = run.compute
        if run.status is Status.NOT_STARTED:
            await self._runs.begin(run)
            self._runs.enter(run, Status.PREPARING)

    async def nested(self, scope: Scope) -> Values:
        """Runs a graph that stands for a run of its own, a job or a node, and brings that to its end; returns its outputs.

        Raises:
            RunFailed, RunCanceled, asyncio.CancelledError: as it ended.
        """
        run = scope.run
        try:
            if not run.status.is_terminal:
                self._runs.enter(run, Status.RUNNING)
                await self.run(scope)
                self._runs.enter(run, Status.FINALIZING)
                await self._runs.end(run, Status.COMPLETED)
        except RunFailed as failure:
            await self._runs.end(run, Status.FAILED, error=failure.document())
        except asyncio.CancelledError:
            await self._abandon(run)
            raise
        if run.status is Status.FAILED and run.error is not None:
            raise RunFailed.load(run.error)
        if run.status is Status.CANCELED:
            raise RunCanceled(f"{run.display_name} was canceled.")
        return {name: Asset(self._places.output_path(kept["path"])) for name, kept in run.outputs.items()}

    async def _abandon(self, run: Run) -> None:
        if not self._steps.stopping and not run.status.is_terminal:
            await self._runs.end(run, Status.CANCELED)

    # ------------------------------------------------------------------------------------------------------ values

    async def values(self, ports: Mapping[str, Port], bindings: Mapping[str, Binding]) -> Values:
        """The inputs of a job, each a literal or resolved to a path.

        Raises:
            RunFailed: one can't be read.
        """
        return {name: await self._given(bindings[name], port) for name, port in ports.items() if name in bindings}

    async def _values(self, scope: Scope, node: Node, done: Mapping[str, Values]) -> Values:
        values: dict[str, Value] = {}
        for name, port in node.component.inputs.items():
            value = await self._bound(scope, node, name, port, done)
            if value is None and port.default is not None:
                value = await self._given(Binding(port.default), port)
            if isinstance(value, Literal) and port.is_data:
                value = await self._inputs.resolve(value.text)
            if value is not None:
                values[name] = value
            elif not port.optional:
                raise user_error(f"Required input '{name}' of node {node.name} has no value.")
        return values

    async def _bound(self, scope: Scope, node: Node, name: str, port: Port, done: Mapping[str, Values]) -> Value | None:
        binding = node.inputs.get(name)
        if binding is None:
            return None
        match binding.reference:
            case ParentInput(name=source):
                return scope.given.get(source)
            case NodeOutput(node=other, name=output):
                if output not in done[other]:
                    raise user_error(
                        f"Input '{name}' of node {node.name} needs output '{output}' of {other}, which {other} did not write."
                    )
                return done[other][output]
        return await self._given(binding, port)

    async def _given(self, binding: Binding, port: Port) -> Value:
        if port.is_data or Port(binding.type).is_data:
            return await self._inputs.resolve(binding.text)
        return Literal(require_literal(binding.text, "An input"))

    # ----------------------------------------------------------------------------------------------------- outputs

    def _publish(self, scope: Scope, node: Node, outputs: Values) -> None:
        """Makes a node's outputs those of the graph, where they are bound so."""
        for name, binding in node.outputs.items():
            bound, value = binding.reference, outputs.get(name)
            if not isinstance(bound, ParentOutput) or not isinstance(value, Asset):
                continue
            port = scope.graph.outputs[bound.name]
            path, blob = self._places.output(scope.run, bound.name, port.type)
            share(value.path, path)
            scope.run.outputs[bound.name] = {"type": port.type, "path": blob}
            self._runs.save(scope.run)


def _placed(node: Node, graph: Graph) -> Command | Graph:
    """The node's component, with its outputs where the graph's outputs are wanted to which they are bound."""

    def port(name: str, declared: OutputPort) -> OutputPort:
        binding = node.outputs.get(name)
        if binding is None:
            return declared
        bound = binding.reference
        if isinstance(bound, ParentOutput):
            return graph.outputs[bound.name].handed_down(declared.type)
        return replace(declared, uri=binding.text) if bound is None else declared

    return replace(node.component, outputs={name: port(name, it) for name, it in node.component.outputs.items()})


def compute_name(text: str) -> str:
    """The name in a compute's name, ARM id or short form."""
    return text.rstrip("/").rsplit("/", 1)[-1].removeprefix("azureml:") or "serverless"


def _literal(text: str | None, scope: Scope, what: str) -> str | None:
    """`text`, which may refer to a literal input of the graph."""
    if text is None:
        return None
    bound = Binding(text).reference
    if not isinstance(bound, ParentInput):
        return require_literal(text, f"The node's {what}")
    value = scope.given.get(bound.name)
    return value.text if isinstance(value, Literal) else None


def _count(text: str | None) -> int:
    if text is None:
        return 1
    if not text.isascii() or not text.isdecimal() or not 1 <= len(text) <= 4 or int(text) < 1:
        raise user_error(f"The node's instance_count must be a positive integer, not '{text[:40]}'.")
    return int(text)


async def _cancel(tasks: Mapping[asyncio.Task[Values], Node]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
