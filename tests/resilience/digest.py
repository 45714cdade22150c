"""What a cell was seen on: the modules that its stage imports, and what every run goes through. It is void when those change."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import grimp

from flows.stages import STAGES
from tests.emulated import ROOT

PRODUCT = ("blocks", "flows", "tasks")


@cache
def digest(stage: str, judged_by: tuple[str, ...] = ()) -> str:
    """12 hex digits of the source that the `stage` of that name rests on.

    Args:
        judged_by: files and folders, below the project's, of what strikes and judges the cell.
    """
    [module] = {its.fn.__module__ for its in STAGES if its.name == stage}
    graph = _graph()
    flows = graph.find_descendants("flows") | {"flows"}
    files = [_file(name) for name in {module} | graph.find_upstream_modules(module) | flows]
    files += [file for place in judged_by for file in _python(ROOT / place)]
    return digest_of(files)


@cache
def _graph() -> grimp.ImportGraph:
    return grimp.build_graph(*PRODUCT)


def _file(module: str) -> Path:
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _python(place: Path) -> list[Path]:
    return [place] if place.is_file() else list(place.rglob("*.py"))


def digest_of(files: Iterable[Path]) -> str:
    """12 hex digits of `files` with their names, in whatever order they come."""
    whole = hashlib.sha256()
    for file in sorted(set(files)):
        whole.update(f"{file.relative_to(ROOT)}\0".encode() + file.read_bytes() + b"\0")
    return whole.hexdigest()[:12]
