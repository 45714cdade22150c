"""What stages may know of each other: what they are told and what they return, and nothing of what they do."""

from __future__ import annotations

import ast
import inspect
from importlib import import_module
from pathlib import Path

import pytest
from pydantic import BaseModel

from flows.stages import STAGES

MODULES = {stage.fn.__module__ for stage in STAGES}


@pytest.mark.parametrize("module", sorted(MODULES))
def test_of_another_stage_a_stage_takes_the_types_of_parameters_and_results_alone(module: str) -> None:
    tree = ast.parse(Path(inspect.getfile(import_module(module))).read_text("utf-8"))
    taken = [
        f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module in MODULES - {module}
        for alias in node.names
        if not is_a_model(getattr(import_module(str(node.module)), alias.name))
    ]
    assert taken == []


def is_a_model(its: object) -> bool:
    return isinstance(its, type) and issubclass(its, BaseModel)
