"""The environment variables of a step's process."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from emulator.engine.runs import Run
from emulator.identity.tokens import ARM, Tokens
from emulator.installation import Installation

# What a step takes over from the emulator's own environment; anything else could be a secret of the user's.
INHERITED = (
    "HOME",
    "USER",
    "LANG",
    "TMPDIR",
    "TZ",
    "VIRTUAL_ENV",
    "OMP_NUM_THREADS",
    "NO_PROXY",
    "no_proxy",
    "LD_LIBRARY_PATH",
)
PREFIXES = ("LC_", "AZUREML_EMULATOR_", "HF_", "XDG_")
TOKEN_SECONDS = 7 * 24 * 3600  # the longest that Azure ML lets a job run without asking
SOURCE = Path(__file__).resolve().parents[2]
DEFAULT_CACHE = "~/.cache/azureml-emulator"


class StepEnvironment:
    """Makes the environments. `network` holds what points a process at this emulator: the proxy and the CA bundle."""

    def __init__(self, installation: Installation, tokens: Tokens, network: Mapping[str, str]) -> None:
        self._installation = installation
        self._tokens = tokens
        self._network = {
            name: value for name, value in network.items() if name.lower() in ("https_proxy", "requests_ca_bundle")
        }

    def make(self, run: Run, error_file: Path, given: Mapping[str, str]) -> dict[str, str]:
        """The environment of `run`'s process; `given` is what the user asks for, and never overrides Azure's own."""
        inherited = {
            name: value for name, value in os.environ.items() if name in INHERITED or name.startswith(PREFIXES)
        }
        interpreter = str(Path(sys.executable).parent)
        return {
            "AZUREML_EMULATOR_CACHE": str(Path(DEFAULT_CACHE).expanduser()),
            **inherited,
            "PATH": os.pathsep.join([interpreter, os.environ.get("PATH", os.defpath)]),
            **given,
            "PYTHONPATH": os.pathsep.join(filter(None, [str(SOURCE), given.get("PYTHONPATH", "")])),
            "PYTHONUNBUFFERED": "1",
            **self._network,
            **self._azure(run),
            "AZUREML_ERROR_FILE": str(error_file),
        }

    def _azure(self, run: Run) -> dict[str, str]:
        here = self._installation
        return {
            "MLFLOW_TRACKING_URI": here.mlflow_base,
            "MLFLOW_TRACKING_TOKEN": self._tokens.issue(here.principals[0], ARM[0], TOKEN_SECONDS),
            "MLFLOW_RUN_ID": run.id,
            "MLFLOW_EXPERIMENT_NAME": run.experiment,
            "AZUREML_RUN_ID": run.id,
            "AZUREML_ROOT_RUN_ID": run.root,
            "AZUREML_ARM_SUBSCRIPTION": here.subscription_id,
            "AZUREML_ARM_RESOURCEGROUP": here.resource_group,
            "AZUREML_ARM_WORKSPACE_NAME": here.workspace,
            "AZUREML_ARM_PROJECT_NAME": run.experiment,
        }
