"""A stage that meets trouble which may pass is tried again by Prefect, and its page shows it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from azure.core.exceptions import HttpResponseError
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import TaskRun
from prefect.states import Failed

from blocks import AzureMLWorkspace
from tasks.azure_ml.errors import AzureFailure, ErrorInfo, InvalidConfiguration
from tasks.azure_ml.kinds import Kind
from tasks.naming import RunNames
from tasks.release import cancel_job
from tasks.stage import RETRY_DELAYS, _may_pass, stage, step
from tests.emulated import Emulator
from tests.flows.test_finetune import run
from tests.flows.test_reap import left_running


def failing(with_status: int, calls: list[str]) -> Callable[[], None]:
    def ask_azure() -> None:
        calls.append("ask_azure")
        error = HttpResponseError("on request")
        error.status_code = with_status
        raise error

    return ask_azure


def in_a_run(function: Callable[[], Any]) -> Any:
    """What becomes of it in a flow run."""
    return flow(name="retries")(function)(return_state=True)


@pytest.mark.parametrize(("status", "tries"), [(503, 5), (429, 5), (409, 5), (403, 2), (400, 1), (404, 1), (405, 1)])
def test_a_stage_is_tried_as_often_as_its_error_deserves(workspace: AzureMLWorkspace, status: int, tries: int) -> None:
    calls: list[str] = []
    asked = stage(failing(status, calls)).with_options(retry_delay_seconds=0)
    state = in_a_run(asked)
    assert len(calls) == tries
    assert str(state.message).count("ask azure failed, ") == 1, state.message


def test_another_try_helps_the_stage_whose_own_error_may_pass_as_often_as_that_deserves() -> None:
    asked = stage(failing(503, []))
    assert asked.retries == 4 and asked.retry_condition_fn is _may_pass

    def again(error: Exception, tried: int) -> bool:
        run = TaskRun(flow_run_id=None, task_key="ask_azure", dynamic_key="1", run_count=tried)
        return _may_pass(asked, run, Failed(data=error))

    def failure(kind: Kind, doing: str = "ask azure") -> AzureFailure:
        return AzureFailure(ErrorInfo(kind, "It broke."), doing)

    assert [again(failure(Kind.TRANSIENT), tried) for tried in (1, 4, 5)] == [True, True, False]
    assert [again(failure(Kind.AUTH), tried) for tried in (1, 2)] == [True, False]
    assert not again(failure(Kind.INVALID), 1)
    assert not again(failure(Kind.TRANSIENT, "cancel job"), 1), "a step has tried it already"
    assert not again(InvalidConfiguration("That is not so."), 1)


def test_what_the_flow_itself_refuses_is_not_tried_again(workspace: AzureMLWorkspace) -> None:
    calls: list[str] = []

    def look() -> None:
        calls.append("look")
        raise InvalidConfiguration("That is not so.")

    assert in_a_run(stage(look).with_options(retry_delay_seconds=0)).is_failed()
    assert calls == ["look"]


def test_what_a_stage_has_found_hopeless_is_not_tried_again(workspace: AzureMLWorkspace) -> None:
    calls: list[str] = []

    def look() -> None:
        calls.append("look")
        raise AzureFailure(ErrorInfo(Kind.TRANSIENT, "It takes too long."), "waiting for the end")

    assert in_a_run(stage(look).with_options(retry_delay_seconds=0)).is_failed()
    assert calls == ["look"]


def test_a_step_is_tried_by_itself_and_its_stage_does_not_multiply_that(
    workspace: AzureMLWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    monkeypatch.setattr("tasks.stage.RETRY_DELAYS", [0.0] * len(RETRY_DELAYS))
    asked = step(failing(503, calls))

    @stage
    def outer() -> None:
        calls.append("outer")
        asked()

    assert in_a_run(outer).is_failed()
    assert (calls.count("outer"), calls.count("ask_azure")) == (1, 5)


def test_a_cancellation_that_azure_refuses_for_a_while_is_asked_for_again(
    emulator: Emulator, workspace: AzureMLWorkspace
) -> None:
    run_id = uuid4()
    job = left_running(workspace, RunNames(run_id).tags())
    busy = {"kind": "status", "status": 409, "code": "Conflict", "message": "Another operation is under way."}
    with emulator.fault({"method": "POST", "path": f"*/jobs/{job}/cancel"}, busy):
        state = in_a_run(lambda: cancel_job(workspace, job, logging.getLogger(), of=run_id))
    assert state.is_completed(), state.message
    assert workspace.client().jobs.get(job).status == "Canceled"


def test_outside_a_run_a_step_is_called_once() -> None:
    calls: list[str] = []
    with pytest.raises(AzureFailure, match="ask azure failed, transient"):
        step(failing(503, calls))()
    assert calls == ["ask_azure"]


def test_a_stage_that_is_throttled_beyond_the_sdks_own_tries_shows_its_retry_on_the_page(
    emulator: Emulator, workspace: AzureMLWorkspace, conversations: Path
) -> None:
    slow_down = {
        "kind": "status", "status": 429, "code": "TooManyRequests", "message": "Slow down.", "headers": {"Retry-After": "0"},
    }  # fmt: skip
    more = {"compute": {"cluster": "throttled-a"}, "training": {"other": {"no": 1}}}
    with emulator.fault({"method": "GET", "path": "management.azure.com/*/vmSizes", "times": 5}, slow_down):
        state = run(conversations, **more)
    assert state.is_failed() and "no input 'no'" in str(state.message), state.message
    assert state.state_details.flow_run_id is not None
    seen = stages_of(state.state_details.flow_run_id)["validate_compute"]
    assert seen.run_count == 2
    with get_client(sync_client=True) as client:
        states = client.request("GET", "/task_run_states/", params={"task_run_id": str(seen.id)}).json()
    assert [each["name"] for each in sorted(states, key=lambda each: each["timestamp"])] == [
        "Pending", "Running", "AwaitingRetry", "Retrying", "Completed",
    ]  # fmt: skip


def stages_of(run_id: UUID) -> dict[str, Any]:
    """The task runs of a run by the stage's name, as Prefect's server has them."""
    from prefect.events.worker import EventsWorker

    EventsWorker.drain_all()
    with get_client(sync_client=True) as client:
        found = client.read_task_runs(flow_run_filter=FlowRunFilter.model_validate({"id": {"any_": [run_id]}}))
    return {its.name.rpartition("-")[0]: its for its in found}
