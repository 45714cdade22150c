"""A disk without room and a user without rights, for tests of whoever runs them: root, too, is refused."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

ROOT = Path(__file__).parent.parent
POWERS = "-dac_override,-dac_read_search,-fowner,-chown"
NO_POWERS = ["setpriv", "--bounding-set", POWERS, "--inh-caps", POWERS] if os.geteuid() == 0 else []
"""Before a command: root without its powers over other's files."""
FULL = "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY)); "
"""No file of the process can have content: as on a full disk, only that the error has another number."""


def python(*arguments: str, full: bool = False) -> subprocess.CompletedProcess[str]:
    """`python -m ...` of this repository, without a user's special powers, or on a disk that is `full`."""
    if full:
        module, *rest = arguments
        run = f"sys.argv[1:] = {rest!r}; runpy.run_module({module!r}, run_name='__main__', alter_sys=True)"
        command = [sys.executable, "-c", FULL + run]
    else:
        command = [*NO_POWERS, sys.executable, "-m", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)


@contextlib.contextmanager
def full_disk(*pids: int) -> Iterator[None]:
    """Meanwhile there is no room for what these processes write."""
    processes = [psutil.Process(pid) for pid in pids]
    for process in processes:
        process.rlimit(psutil.RLIMIT_FSIZE, (0, psutil.RLIM_INFINITY))
    try:
        yield
    finally:
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.rlimit(psutil.RLIMIT_FSIZE, (psutil.RLIM_INFINITY, psutil.RLIM_INFINITY))


@contextlib.contextmanager
def without_rights(folder: Path) -> Iterator[Path]:
    """The folder, which its owner may not look into meanwhile."""
    folder.mkdir(exist_ok=True)
    folder.chmod(0)
    try:
        yield folder
    finally:
        folder.chmod(0o700)
