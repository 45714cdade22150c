"""Whichever stage fails, the run ends as Failed, says where and what, and leaves no endpoint and no running job.

The stages after training take over the job of one finished run by that run's id, so none of them trains again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from blocks import AzureMLWorkspace
from flows.outcome import FlowResult
from flows.reap import reap
from flows.stages import STAGES
from tests.emulated import Emulator
from tests.flows.test_finetune import endpoints, of_run, page_of, run, running_jobs

REFUSED = {"kind": "status", "status": 400, "code": "Injected", "message": "Refused on request."}
FORBIDDEN = {"kind": "status", "status": 403, "code": "AuthorizationFailed", "message": "Not allowed on request."}
ARM = "management.azure.com/*"
AFTER_TRAINING = ("review_metrics", "create_endpoint", "register_model", "create_deployment", "smoke_score")


@pytest.fixture(scope="module")
def trained(workspace: AzureMLWorkspace, conversations: Path) -> FlowResult:
    """A run whose job the others take over."""
    state = run(conversations)
    assert state.is_completed(), state.message
    return state.result()  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("method", "path", "effect", "says"),
    [
        pytest.param(
            "GET", ARM + "/workspaces/emulator-ws", FORBIDDEN, "The identity has no role", id="resolve_credentials"
        ),
        pytest.param("GET", "*/registries/azureml/models/*", FORBIDDEN, "on request", id="find_foundation_model"),
        pytest.param("GET", ARM + "/vmSizes", FORBIDDEN, "on request", id="validate_compute"),
        pytest.param("GET", "*/mlflow/*", FORBIDDEN, "on request", id="review_metrics"),
        pytest.param("PUT", ARM + "/models/*", REFUSED, "on request", id="register_model"),
        pytest.param("PUT", ARM + "/onlineEndpoints/ft-*", REFUSED, "on request", id="create_endpoint"),
        pytest.param("PUT", ARM + "/deployments/*", REFUSED, "on request", id="create_deployment"),
        pytest.param("POST", "*.inference.ml.azure.com/score", REFUSED, "on request", id="smoke_score"),
    ],
)
def test_a_stage_that_is_refused_ends_the_run_and_leaves_nothing(
    emulator: Emulator,
    workspace: AzureMLWorkspace,
    conversations: Path,
    trained: FlowResult,
    method: str,
    path: str,
    effect: dict[str, Any],
    says: str,
    request: pytest.FixtureRequest,
) -> None:
    stage = request.node.callspec.id
    with emulator.fault({"method": method, "path": path, "times": 0}, effect):
        # Under another name, so that the model which the first run registered is not simply found.
        state = run(conversations, resume_run=of_run(trained), registration={"name": f"again-{uuid4().hex[:6]}"})
    assert state.is_failed(), f"{state.name}: {state.message}"
    assert says in str(state.message), state.message
    assert f"Stage {stage} failed: " in str(state.message), state.message
    assert (" Used: " in str(state.message)) == (stage in AFTER_TRAINING), state.message
    summary = page_of("summary")
    assert f"Failed in {stage}, " in summary and f" of {len(STAGES)} stages done" in summary
    assert says in summary and "| What stays | " in summary and "| Torn down | " in summary
    assert ("No machine was used." in page_of("cost")) == (stage not in AFTER_TRAINING)
    assert endpoints(workspace) == []
    assert running_jobs(workspace) == []


def test_a_deployment_that_crashes_tells_the_last_lines_of_both_containers(
    emulator: Emulator, workspace: AzureMLWorkspace, conversations: Path, trained: FlowResult
) -> None:
    crash = {"kind": "deployment_crash", "message": "The GPU fell off the bus."}
    with emulator.fault({"method": "PUT", "path": ARM + "/deployments/*", "times": 0}, crash):
        state = run(conversations, resume_run=of_run(trained))
    message = str(state.message)
    assert state.is_failed(), message
    assert message.startswith("Stage create_deployment failed: ")
    inference, storage = (
        message.index(f"Last lines of {container}:\n") for container in ("inference-server", "storage-initializer")
    )
    assert "The GPU fell off the bus." in message[inference:]
    assert message[storage:].splitlines()[1].strip(), "the log is not empty"
    assert endpoints(workspace) == []


def test_a_model_that_fails_tells_its_own_status_and_its_containers_last_lines(
    emulator: Emulator, workspace: AzureMLWorkspace, conversations: Path, trained: FlowResult
) -> None:
    failing = {
        "kind": "status", "status": 424, "code": "ModelError", "message": "An unexpected error occurred in scoring script.",
        "headers": {"ms-azureml-model-error-statuscode": "507"},
    }  # fmt: skip
    with emulator.fault({"method": "POST", "path": "*.inference.ml.azure.com/score", "times": 0}, failing):
        state = run(conversations, resume_run=of_run(trained), scoring={"retry_budget_seconds": 1})
    message = str(state.message)
    assert message.startswith("Stage smoke_score failed: Deployment ")
    assert "does not score (HTTP 424; the model's container itself answered 507): " in message
    assert "An unexpected error occurred in scoring script" in message
    said = message[message.index("Last lines of inference-server:\n") :]
    assert said.splitlines()[1].strip()
    assert said.splitlines()[1].strip() in page_of("containers")
    assert "What stays: model " in message
    assert endpoints(workspace) == []


def test_an_endpoint_that_cannot_be_deleted_fails_the_run_and_is_the_reapers(
    emulator: Emulator, workspace: AzureMLWorkspace, conversations: Path, trained: FlowResult
) -> None:
    with emulator.fault({"method": "DELETE", "path": ARM + "/onlineEndpoints/*", "times": 0}, REFUSED):
        state = run(conversations, resume_run=of_run(trained))
        assert state.is_failed(), f"{state.name}: {state.message}"
        [left] = endpoints(workspace)
    assert [row.name for row in reap(grace_minutes=0, ttl_hours=0).released] == [left]
    assert endpoints(workspace) == []


@pytest.mark.parametrize(
    ("method", "path", "effect"),
    [
        pytest.param("GET", "*/registries/azureml/components/*", FORBIDDEN, id="component"),
        pytest.param("PUT", ARM + "/jobs/*", REFUSED, id="job"),
    ],
)
def test_a_submit_that_is_refused_leaves_no_job(
    emulator: Emulator,
    workspace: AzureMLWorkspace,
    conversations: Path,
    method: str,
    path: str,
    effect: dict[str, Any],
) -> None:
    jobs = len(list(workspace.client().jobs.list()))
    with emulator.fault({"method": method, "path": path, "times": 0}, effect):
        state = run(conversations)
    assert state.is_failed()
    assert "on request." in str(state.message)
    assert len(list(workspace.client().jobs.list())) == jobs
    assert endpoints(workspace) == []


def test_a_lost_answer_to_the_submit_does_not_submit_twice(
    emulator: Emulator, workspace: AzureMLWorkspace, conversations: Path
) -> None:
    jobs = {str(job.name) for job in workspace.client().jobs.list() if job is not None}
    with emulator.fault({"method": "PUT", "path": ARM + "/jobs/*"}, {"kind": "reset_after"}):
        state = run(conversations)
    assert state.is_completed(), state.message
    assert len({str(job.name) for job in workspace.client().jobs.list() if job is not None} - jobs) == 1
    assert endpoints(workspace) == []
