"""What was tested: the commit, and a digest of the source, since files may differ from it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.emulated import ROOT
from tests.resilience.digest import digest_of

TESTED = ("emulator", "flows", "tasks", "blocks", "tests/chaos")
# How the matrix is driven and shown does not change what a cell means.
_AROUND = frozenset({"__main__.py", "calls.py", "report.py", "seen.py", "shards.py", "version.py", "test_slice.py"})


def source() -> str:
    """A digest of the product's source and of what judges it: 12 hex digits."""
    return digest_of(file for folder in TESTED for file in (ROOT / folder).rglob("*") if _judged(file, folder))


def _judged(file: Path, folder: str) -> bool:
    is_source = file.suffix in (".py", ".yaml", ".json") and "__pycache__" not in file.parts
    return is_source and not (folder == "tests/chaos" and file.name in _AROUND)


def commit() -> str:
    """The commit that is checked out, in words; files may differ from it."""
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        return "no commit"
    name, dirty, _ = done.stdout.strip().partition("-dirty")
    return f"commit {name}" + (" with changes" if dirty else "")
