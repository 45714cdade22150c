"""The components that the system registry holds, read from their YAML files."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Component:
    """One component version as Azure ML describes it.

    Attributes:
        document: the YAML's content: `name`, `version`, `type`, `inputs`, `outputs`, and `command` or `jobs`.
    """

    name: str
    version: str
    document: dict[str, Any]


@cache
def system_components() -> tuple[Component, ...]:
    """Every component of the system registry; the pipeline's jobs name the others as `azureml:{name}:{version}`."""
    documents = (yaml.safe_load(path.read_text("utf-8")) for path in sorted(FOLDER.glob("*/*.yaml")))
    return tuple(Component(document["name"], str(document["version"]), document) for document in documents)


def component(name: str) -> Component:
    """The component called `name`.

    Raises:
        KeyError: the system registry holds no such component.
    """
    for candidate in system_components():
        if candidate.name == name:
            return candidate
    raise KeyError(f"the system registry holds no component {name!r}")
