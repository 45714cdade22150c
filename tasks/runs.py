"""What Prefect says of runs: whether one lives, and whose job it goes on with."""

from __future__ import annotations

from base64 import b32decode
from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

from pydantic import BeforeValidator

from tasks.naming import PREFIX, RunNames, is_derived

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun


class RunState(StrEnum):
    """What Prefect says of a run. One that waits, is paused or suspended lives."""

    ALIVE = "alive"
    SUCCEEDED = "succeeded"
    ENDED_BADLY = "failed, crashed or cancelled"
    UNKNOWN = "unknown to Prefect"


def _run_id(given: object) -> UUID:
    try:
        return UUID(str(given))
    except ValueError as error:
        raise ValueError(
            f"'{given}' is not a flow run's id. Give the id, as the address of the run's page ends; a name may be several runs'."
        ) from error


RunId = Annotated[UUID, BeforeValidator(_run_id)]
"""A flow run's id, for the form."""


def read_run(run_id: UUID) -> FlowRun | None:
    """The run; None if Prefect's server does not know it."""
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    try:
        with get_client(sync_client=True) as client:
            return client.read_flow_run(run_id)
    except ObjectNotFound:
        return None


def state_of(run: FlowRun | None) -> RunState:
    """What has become of it."""
    if run is None:
        return RunState.UNKNOWN
    if run.state is None or not run.state.is_final():
        return RunState.ALIVE
    return RunState.SUCCEEDED if run.state.is_completed() else RunState.ENDED_BADLY


def lives(run: FlowRun, what: str) -> str:
    """Why `what` is not another run's to take over."""
    state = run.state.name if run.state else "there"
    return (
        f"{what} belongs to flow run {run.name} ({run.id}), which is not over: it is {state}. Nothing of it was touched. Wait for "
        "its end or cancel it, and start this run again."
    )


def names_of(run_id: UUID, parameters: Mapping[str, Any], **more: Any) -> RunNames:
    """The names of a run with these parameters of the flow. A run that goes on with the job of one that went on with another's
    goes on with that."""
    resumed, word = _whose_job(parameters)
    return RunNames(run_id, resumed, word, **more)


def _whose_job(parameters: Mapping[str, Any]) -> tuple[UUID | None, str | None]:
    """The run that submitted the job, or the word that names it; None of both for a run with a job of its own."""
    resumed, word = parameters.get("resume_run"), parameters.get("job_key")
    run_id = _run_id(resumed) if resumed else _run_in(word) if word else None
    if run_id is None:
        return None, word
    before = read_run(run_id)
    found = _whose_job(before.parameters) if before else (None, None)
    return found if any(found) else (run_id, None)


def _run_in(job_key: str) -> UUID | None:
    """The run that a `job_key` of older versions means: by its id or by the name of its job."""
    try:
        if not is_derived(job_key):
            return UUID(job_key)
        run_id = UUID(bytes=b32decode(f"{job_key.removeprefix(PREFIX)[:26].upper()}======"))
    except ValueError:
        return None
    return run_id if RunNames(run_id).job(1) == job_key[:29] else None
