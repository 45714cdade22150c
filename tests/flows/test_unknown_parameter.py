"""A parameter that the flow does not have, sent past the form: Prefect's API takes it, and its engine crashes on it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter
from prefect.settings import get_current_settings
from prefect.states import Cancelled, Failed, State

from blocks import AzureMLWorkspace
from flows.finetune import finetune
from flows.from_outside import why_it_never_began
from flows.reap import reap
from tests.flows.test_reap import run_in

ROOT = Path(__file__).parents[2]


def test_what_is_wrong_with_parameters_is_told_in_a_sentence() -> None:
    assert why_it_never_began(finetune, {"trainning": {}, "zebra": 1, "workspace": "azureml"}) == (
        "The flow has no parameter trainning, zebra. Was training meant? Nothing was begun. Take it out and run again."
    )
    refused = str(why_it_never_began(finetune, {"dataset": {"percent": 0}}))
    assert "dataset.percent" in refused and refused.endswith(" Nothing was begun. Correct it and run again.")
    assert why_it_never_began(finetune, {"workspace": "azureml", "dataset": {"percent": 5}}) is None


def test_the_run_ends_as_failed_and_names_it(workspace: AzureMLWorkspace) -> None:
    with get_client(sync_client=True) as client:
        deployment = client.create_deployment(
            flow_id=client.create_flow(finetune),
            name="unknown-parameter",
            entrypoint="flows.finetune.finetune",
            pull_steps=[{"prefect.deployments.steps.set_working_directory": {"directory": str(ROOT)}}],
            parameter_openapi_schema=finetune.parameters.model_dump_for_openapi(),
            enforce_parameter_schema=True,
        )
        run = client.create_flow_run_from_deployment(deployment, parameters={"trainning": {}})
        command = [sys.executable, "-m", "prefect", "flow-run", "execute", str(run.id)]
        here = {**os.environ, **get_current_settings().to_environment_variables(exclude_unset=True)}
        done = subprocess.run(command, cwd=ROOT, env=here, capture_output=True, text=True, check=False, timeout=300)
        state = client.read_flow_run(run.id).state
    assert state is not None
    assert state.is_failed(), f"{state.name}: {state.message}\n{done.stdout}{done.stderr}"
    assert state.message == (
        "The flow has no parameter trainning. Was training meant? Nothing was begun. Take it out and run again."
    )
    pages = pages_of(run.id)
    assert pages["cost"] == "no machine was used"
    assert f"| What happened, what to do | {state.message} |" in pages["summary"]
    assert "| Torn down | nothing was begun |" in pages["summary"] and "| What stays | nothing |" in pages["summary"]


def test_a_value_that_the_form_refuses_is_told_as_that_by_the_reaper(workspace: AzureMLWorkspace) -> None:
    failed: State[Any] = Failed(message="Flow run encountered an exception: ParameterTypeError: ...")
    run = run_in(failed, resume_run="my-run")
    reap(resource=str(run))
    pages = pages_of(run)
    assert "'my-run' is not a flow run's id. Give the id" in pages["summary"]
    assert "| Torn down | nothing was begun |" in pages["summary"] and pages["cost"] == "no machine was used"


def test_a_run_that_was_cancelled_is_told_as_that(workspace: AzureMLWorkspace) -> None:
    run = run_in(Cancelled(message="By hand."), compute={"cluster": "was-never-made"})
    reap(resource=str(run))
    pages = pages_of(run)
    assert "| Cancelled: By hand. |" in pages["summary"] and "Somebody cancelled it." in pages["summary"]
    assert pages["cost"].startswith("Not known here")


def pages_of(run: UUID) -> dict[str, str]:
    of_run = ArtifactFilter.model_validate({"flow_run_id": {"any_": [run]}})
    with get_client(sync_client=True) as client:
        return {str(page.key): str(page.data) for page in client.read_artifacts(artifact_filter=of_run)}
