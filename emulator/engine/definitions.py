"""Components and pipelines as the engine runs them, read from component specs and job bodies.

A registry's YAML, the REST `componentSpec` of a workspace's component and the body of a pipeline job say the same in three dialects
(plain values; snake_case with scalars as strings; camelCase outside and snake_case inside). This is where they become one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from emulator.engine.expressions import ANY, NodeOutput, Reference, reference
from emulator.engine.failure import user_error

LITERAL = "literal"
DATA_TYPES = ("uri_file", "uri_folder", "mltable", "mlflow_model", "custom_model", "triton_model", "path")
FILE_TYPES = ("uri_file",)


@dataclass(frozen=True)
class Port:
    """A declared input. `type` is Azure's; a default is kept as the text that a command line gets."""

    type: str
    optional: bool = False
    default: str | None = None

    @property
    def is_data(self) -> bool:
        return self.type in DATA_TYPES


@dataclass(frozen=True)
class Binding:
    """What is given for an input: a literal or URI as text, or a reference to something of the parent."""

    text: str
    type: str = LITERAL

    @property
    def reference(self) -> Reference | None:
        return reference(self.text)


@dataclass(frozen=True)
class OutputPort:
    """A declared output; `uri` is where the user wants it, instead of the default place.

    It is mounted, so that what is written is there at once and what an earlier run has left is seen, or else `uploaded` when
    the step has completed.
    """

    type: str
    uri: str | None = None
    uploaded: bool = False

    def handed_down(self, type: str) -> OutputPort:
        """The same place, for the output of `type` that is bound to this one."""
        return OutputPort(type, self.uri, self.uploaded)


@dataclass(frozen=True)
class Command:
    """A command component, or the command of a command job. `nodes` may be an expression."""

    name: str
    version: str
    display_name: str
    inputs: Mapping[str, Port]
    outputs: Mapping[str, OutputPort]
    command: str
    code: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    nodes: str = "1"


@dataclass(frozen=True)
class Node:
    """A node of a pipeline. `outputs` binds its outputs to the parent's; `compute` and `nodes` may be expressions."""

    name: str
    component: Command | Graph
    inputs: Mapping[str, Binding]
    outputs: Mapping[str, Binding]
    compute: str | None = None
    nodes: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    display_name: str | None = None

    def needs(self) -> set[str]:
        """The nodes whose outputs it takes."""
        return {found.node for binding in self.inputs.values() if isinstance(found := binding.reference, NodeOutput)}


@dataclass(frozen=True)
class Graph:
    """A pipeline component, or a pipeline job."""

    name: str
    version: str
    display_name: str
    inputs: Mapping[str, Port]
    outputs: Mapping[str, OutputPort]
    nodes: Mapping[str, Node]
    compute: str | None = None
    goes_on_after_failure: bool = False


def read_ports(raw: Any) -> dict[str, Port]:
    """The declared inputs of a component."""
    return {
        name: Port(str(spec.get("type", "string")), truth(spec.get("optional")), _text_or_none(spec.get("default")))
        for name, spec in mapping(raw, "inputs").items()
        if isinstance(spec, dict)
    }


def read_outputs(raw: Any) -> dict[str, OutputPort]:
    """The declared outputs of a component or a job."""
    ports = {}
    for name, spec in mapping(raw, "outputs").items():
        spec = spec if isinstance(spec, dict) else {}
        type = spec.get("jobOutputType") or spec.get("job_output_type") or spec.get("type") or "uri_folder"
        uploaded = str(spec.get("mode") or "").lower() == "upload"
        ports[name] = OutputPort(str(type), _text_or_none(spec.get("uri") or spec.get("path")), uploaded)
    return ports


def read_bindings(raw: Any) -> dict[str, Binding]:
    """What is given for inputs (or bound to outputs); what is null counts as not given."""
    bindings = {}
    for name, given in mapping(raw, "inputs").items():
        type, value = LITERAL, given
        if isinstance(given, dict):
            type = str(given.get("jobInputType") or given.get("job_input_type") or given.get("type") or LITERAL)
            value = next((given[key] for key in ("value", "uri", "path") if given.get(key) is not None), None)
        if value is not None:
            bindings[name] = Binding(text(value), type)
    return bindings


def read_command(spec: Mapping[str, Any]) -> Command:
    """A command component's spec, YAML or REST."""
    name = str(spec.get("name") or "command")
    return Command(
        name=name,
        version=str(spec.get("version") or "1"),
        display_name=str(spec.get("display_name") or name),
        inputs=read_ports(spec.get("inputs")),
        outputs=read_outputs(spec.get("outputs")),
        command=text(spec.get("command") or ""),
        code=_text_or_none(spec.get("code") or spec.get("codeId")),
        environment=read_environment(spec.get("environment_variables")),
        nodes=node_count(spec) or "1",
    )


def read_environment(raw: Any) -> dict[str, str]:
    """Environment variables for a step."""
    return {
        str(name): text(value) for name, value in mapping(raw, "environment variables").items() if value is not None
    }


def node_count(spec: Mapping[str, Any]) -> str | None:
    """`resources.instance_count`, which may be an expression."""
    resources = mapping(spec.get("resources"), "resources")
    return _text_or_none(resources.get("instance_count", resources.get("instanceCount")))


def truth(value: Any) -> bool:
    """A boolean that REST may send as the string "True"."""
    return value is True or str(value).lower() == "true"


def text(value: Any) -> str:
    """A literal as a command line gets it (Python's spelling of booleans, as on Azure)."""
    if isinstance(value, dict | list):
        raise user_error("A literal input must be a string, a number or a boolean.")
    return str(value)


def mapping(raw: Any, what: str) -> dict[str, Any]:
    """`raw` as a mapping; {} for null."""
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        raise user_error(f"The {what} must be an object.")
    return raw


def require_literal(value: str, what: str) -> str:
    """`value`, if no expression is left in it."""
    if ANY.search(value):
        raise user_error(f"{what} holds an expression that can't be resolved: {value[:100]}.")
    return value


def _text_or_none(value: Any) -> str | None:
    return None if value is None else text(value)
