"""Finds components and puts a pipeline together from them, before anything runs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Protocol

from emulator.engine.definitions import (
    Binding,
    Command,
    Graph,
    Node,
    Port,
    mapping,
    node_count,
    read_bindings,
    read_command,
    read_environment,
    read_outputs,
    read_ports,
    text,
    truth,
)
from emulator.engine.expressions import NodeOutput, ParentInput, ParentOutput
from emulator.engine.failure import user_error
from emulator.store import Document

REGISTRY = re.compile(r"\Aazureml://registries/[^/]+/components/(?P<name>[^/]+)/versions/(?P<version>[^/]+)\Z")
WORKSPACE = re.compile(
    r"\A(?:azureml:)?/subscriptions/.+/components/(?P<name>[^/]+)/versions/(?P<version>[^/]+)\Z", re.IGNORECASE
)
SHORT = re.compile(r"\A(?:azureml:)?(?P<name>[^/:]+):(?P<version>[^/:]+)\Z")
DEEPEST = 10  # pipelines within pipelines; beyond it a component surely contains itself


class AssetSource(Protocol):
    """The workspace's assets."""

    def find(self, kind: str, name: str, version: str) -> Document | None: ...


class ComponentSource(Protocol):
    """A registry's components."""

    def component(self, name: str, version: str) -> dict[str, Any] | None: ...


class Components:
    """Components of the workspace and of the system registry, by any form of their id."""

    def __init__(self, assets: AssetSource, registry: ComponentSource) -> None:
        self._assets = assets
        self._registry = registry

    def graph(self, properties: Mapping[str, Any]) -> Graph:
        """The graph of a pipeline job.

        Args:
            properties: the job's `properties`, as they came over the wire.

        Raises:
            RunFailed: a component is not there, an input is missing or unknown, a reference leads nowhere, or nodes wait for
                each other.
        """
        settings = mapping(properties.get("settings"), "settings")
        name = str(properties.get("displayName") or "pipeline")
        if component := properties.get("componentId"):
            found, _ = self._component(component, False, 1)
            if not isinstance(found, Graph):
                raise user_error(f"The component {component} is no pipeline.")
            node = Node(
                found.name, found, {name: Binding(f"${{{{parent.inputs.{name}}}}}") for name in found.inputs}, {}
            )
            nodes = {found.name: node}
        else:
            nodes = self._nodes(properties.get("jobs"), False, 1)
        return _checked(
            Graph(
                name=name,
                version="1",
                display_name=name,
                inputs=_job_ports(properties.get("inputs")),
                outputs=read_outputs(properties.get("outputs")),
                nodes=nodes,
                compute=text(settings.get("default_compute") or properties.get("computeId") or "") or None,
                goes_on_after_failure=truth(settings.get("continue_on_step_failure")),
            )
        )

    def _component(self, given: Any, in_registry: bool, depth: int) -> tuple[Command | Graph, bool]:
        if depth > DEEPEST:
            raise user_error(f"Pipelines are nested more than {DEEPEST} deep; does a component contain itself?")
        spec, in_registry = self._spec(given, in_registry)
        kind = str(spec.get("type") or "command")
        if kind == "command":
            return read_command(spec), in_registry
        if kind != "pipeline":
            raise user_error(
                f"Component {spec.get('name')} is of type '{kind[:40]}'; command and pipeline are what runs here."
            )
        name = str(spec.get("name") or "pipeline")
        graph = Graph(
            name=name,
            version=str(spec.get("version") or "1"),
            display_name=str(spec.get("display_name") or name),
            inputs=read_ports(spec.get("inputs")),
            outputs=read_outputs(spec.get("outputs")),
            nodes=self._nodes(spec.get("jobs"), in_registry, depth + 1),
        )
        return _checked(graph), in_registry

    def _spec(self, given: Any, in_registry: bool) -> tuple[Mapping[str, Any], bool]:
        if isinstance(given, dict):
            return given, in_registry
        id = str(given)
        if found := REGISTRY.match(id):
            spec, in_registry = self._registry.component(found["name"], found["version"]), True
        elif (found := SHORT.match(id)) and in_registry:
            spec = self._registry.component(found["name"], found["version"])
        elif found := WORKSPACE.match(id) or SHORT.match(id):
            document = self._assets.find("components", found["name"], found["version"])
            spec, in_registry = (document["properties"].get("componentSpec") if document else None), False
        else:
            raise user_error(f"'{id[:200]}' is no component id.")
        if not isinstance(spec, dict):
            raise user_error(f"Component {found['name']}:{found['version']} not found.")
        return spec, in_registry

    def _nodes(self, raw: Any, in_registry: bool, depth: int) -> dict[str, Node]:
        nodes = {
            name: self._node(name, mapping(job, f"job {name}"), in_registry, depth)
            for name, job in mapping(raw, "jobs").items()
        }
        if not nodes:
            raise user_error("A pipeline needs at least one job.")
        return nodes

    def _node(self, name: str, job: Mapping[str, Any], in_registry: bool, depth: int) -> Node:
        kind = job.get("type") or "command"
        if kind not in ("command", "pipeline"):
            raise user_error(f"Node {name} is of type '{str(kind)[:40]}'; command and pipeline are what runs here.")
        given = job.get("componentId") or job.get("component_id") or job.get("component")
        if given is None and "command" not in job and "jobs" not in job:
            raise user_error(f"Node {name} names no component.")
        component, _ = self._component(given or {**job, "name": name}, in_registry, depth)
        compute = job.get("computeId") or job.get("compute")
        return Node(
            name=name,
            component=component,
            inputs=read_bindings(job.get("inputs")),
            outputs=read_bindings(job.get("outputs")),
            compute=None if compute is None else str(compute),
            nodes=node_count(job),
            environment=read_environment(job.get("environment_variables")),
            display_name=job.get("display_name"),
        )


def _job_ports(raw: Any) -> dict[str, Port]:
    """The inputs of a job, which declares each by giving it."""
    return {name: Port(binding.type, optional=True) for name, binding in read_bindings(raw).items()}


def _checked(graph: Graph) -> Graph:
    """`graph`, when every node's inputs can be met and some order of the nodes exists."""
    for node in graph.nodes.values():
        _check_inputs(graph, node)
        for name, bound in node.outputs.items():
            if name not in node.component.outputs:
                raise user_error(f"Node {node.name} has no output '{name}'.")
            found = bound.reference
            if isinstance(found, ParentOutput) and found.name not in graph.outputs:
                raise user_error(
                    f"Output '{name}' of node {node.name} is bound to '{found.name}', which the pipeline does not declare."
                )
    _check_order(graph)
    return graph


def _check_inputs(graph: Graph, node: Node) -> None:
    for name, binding in node.inputs.items():
        if name not in node.component.inputs:
            raise user_error(
                f"Node {node.name} is given the input '{name}', which component {node.component.name} does not have."
            )
        found = binding.reference
        if isinstance(found, ParentInput) and found.name not in graph.inputs:
            raise user_error(
                f"Input '{name}' of node {node.name} refers to '{found.name}', which is no input of the pipeline."
            )
        if isinstance(found, NodeOutput):
            source = graph.nodes.get(found.node)
            if source is None or found.name not in source.component.outputs:
                raise user_error(
                    f"Input '{name}' of node {node.name} refers to output '{found.name}' of '{found.node}', which is not there."
                )
    for name, port in node.component.inputs.items():
        if name not in node.inputs and not port.optional and port.default is None:
            raise user_error(f"Required input '{name}' of node {node.name} is missing.")


def _check_order(graph: Graph) -> None:
    waiting = {name: node.needs() for name, node in graph.nodes.items()}
    while waiting:
        free = {name for name, needs in waiting.items() if not needs & waiting.keys()}
        if not free:
            raise user_error(f"The nodes {', '.join(sorted(waiting))} wait for each other's outputs.")
        waiting = {name: needs for name, needs in waiting.items() if name not in free}
