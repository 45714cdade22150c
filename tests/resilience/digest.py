"""What a cell was seen on: the modules that its stages import, and what every run goes through. It is void when those change."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import grimp

from flows.stages import STAGES
from tests.emulated import ROOT

SOURCE = (".py", ".yaml", ".json", ".txt")
MODULES = {stage.name: stage.fn.__module__ for stage in STAGES}
OF_EVERY_CELL = ("emulator", "tests/flows/conftest.py", "tests/resilience/verdict.py", "tests/resilience/waiting.py")
"""Files and folders of what answers every run and of what judges it."""


@cache
def digest(stages: tuple[str, ...], judged_by: tuple[str, ...] = ()) -> str:
    """12 hex digits of the source that the `stages` of those names rest on, and of the files and folders it is `judged_by`."""
    flows = [module for module in _graph().modules if module.partition(".")[0] == "flows"]
    # The flows import every stage to call it; what else they import is what every run goes through.
    modules = _imported([MODULES[stage] for stage in stages]) | _imported(flows, without=MODULES.values())
    files = {_file(name) for name in modules}
    places = [ROOT / place for place in (*OF_EVERY_CELL, *judged_by)]
    files.update(file for place in places for file in (place, *place.rglob("*")) if file.suffix in SOURCE)
    whole = hashlib.sha256()
    for file in sorted(files):
        whole.update(f"{file.relative_to(ROOT)}\0".encode() + _read(file) + b"\0")
    return whole.hexdigest()[:12]


def _imported(modules: Iterable[str], without: Iterable[str] = ()) -> set[str]:
    """`modules`, what they import, and what that imports, but not by way of those `without` which it is meant."""
    found, waiting = set(without), list(modules)
    while waiting:
        if (module := waiting.pop()) not in found:
            found.add(module)
            waiting += _graph().find_modules_directly_imported_by(module)
    return found.difference(without)


@cache
def _read(file: Path) -> bytes:
    """What it was when this process first asked, whatever is edited meanwhile."""
    return file.read_bytes()


@cache
def _graph() -> grimp.ImportGraph:
    return grimp.build_graph("blocks", "flows", "tasks")


def _file(module: str) -> Path:
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
