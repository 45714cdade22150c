"""The environment variables of a step's process."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from emulator.engine.runs import Run
from emulator.identity.tokens import ARM, Tokens
from emulator.inherited import environment
from emulator.installation import Installation

TOKEN_SECONDS = 7 * 24 * 3600  # the longest that Azure ML lets a job run without asking
DEFAULT_CACHE = "~/.cache/azureml-emulator"
NETWORK = ("https_proxy", "no_proxy", "requests_ca_bundle")


def cache_folder(state: Path) -> Path:
    """Where models are kept for all emulators of a user; with this one's state where the home folder cannot be written, as under a
    service manager."""
    usual = Path(DEFAULT_CACHE).expanduser()
    try:
        usual.mkdir(parents=True, exist_ok=True)
    except OSError:
        return state / "cache"
    return usual if os.access(usual, os.W_OK) else state / "cache"


class StepEnvironment:
    """Makes the environments. `network` holds what points a process at this emulator: the proxy and the CA bundle."""

    def __init__(self, installation: Installation, tokens: Tokens, network: Mapping[str, str]) -> None:
        self._installation = installation
        self._tokens = tokens
        self._network = {name: value for name, value in network.items() if name.lower() in NETWORK}
        self._cache = cache_folder(installation.state)

    def make(self, run: Run, error_file: Path, given: Mapping[str, str]) -> dict[str, str]:
        """The environment of `run`'s process; `given` is what the user asks for, and never overrides Azure's own."""
        return {
            "AZUREML_EMULATOR_CACHE": str(self._cache),
            **environment(given),
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
