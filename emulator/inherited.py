"""What a process that the emulator starts takes over from the emulator's own environment: a list by name.

Anything else may be a secret of whoever started the emulator, and neither a job nor a deployment has it on Azure. What one needs
is given to it, in its own environment variables.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

NAMES = (
    "AZUREML_EMULATOR_CACHE", "CUDA_VISIBLE_DEVICES", "HF_ENDPOINT", "HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "HOME", "LANG",
    "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "OMP_NUM_THREADS", "TMPDIR", "TZ", "USER", "VIRTUAL_ENV", "XDG_CACHE_HOME",
)  # fmt: skip
SOURCE = Path(__file__).resolve().parents[1]


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """The variables by which a Python process of this machine works, and those that a user has `given` it."""
    inherited = {name: os.environ[name] for name in NAMES if name in os.environ}
    interpreter = str(Path(sys.executable).parent)
    return {
        **inherited,
        "PATH": os.pathsep.join([interpreter, os.environ.get("PATH", os.defpath)]),
        **given,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(SOURCE), given.get("PYTHONPATH", "")])),
        "PYTHONUNBUFFERED": "1",
    }
