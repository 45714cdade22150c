"""A parameter that the flow does not have, sent past the form: Prefect's API takes it, and its engine crashes on it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from prefect.client.orchestration import get_client
from prefect.settings import get_current_settings

from blocks import AzureMLWorkspace
from flows.finetune import finetune

ROOT = Path(__file__).parents[2]


def test_the_run_ends_as_failed_and_names_it(workspace: AzureMLWorkspace) -> None:
    with get_client(sync_client=True) as client:
        deployment = client.create_deployment(
            flow_id=client.create_flow(finetune),
            name="unknown-parameter",
            entrypoint="flows/finetune.py:finetune",
            pull_steps=[{"prefect.deployments.steps.set_working_directory": {"directory": str(ROOT)}}],
            parameter_openapi_schema=finetune.parameters.model_dump_for_openapi(),
            enforce_parameter_schema=True,
        )
        run = client.create_flow_run_from_deployment(deployment, parameters={"nonsense": 1})
        command = [sys.executable, "-m", "prefect", "flow-run", "execute", str(run.id)]
        here = {**os.environ, **get_current_settings().to_environment_variables(exclude_unset=True)}
        done = subprocess.run(command, cwd=ROOT, env=here, capture_output=True, text=True, check=False, timeout=300)
        state = client.read_flow_run(run.id).state
    assert state is not None
    assert state.is_failed(), f"{state.name}: {state.message}\n{done.stdout}{done.stderr}"
    assert state.message == "The flow has no parameter nonsense. Nothing was begun. Take it out and run again."
