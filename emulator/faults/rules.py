"""A fault rule: which calls it matches, and its one effect. This is the form that scripts write."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Match(_Strict):
    """Which calls. Of those that match, the `nth` and the following ones are hit, `times` in all (0: for ever)."""

    method: str = Field("*", max_length=10, description="HTTP method, or * for any")
    path: str = Field("*", max_length=500, description="glob over host and path, compared without case")
    comp: str = Field(
        "*",
        max_length=50,
        description="glob over the query's comp, which tells blob operations on one path apart; empty: none",
    )
    operation: str = Field("*", max_length=200, description="glob over Azure's action, as in */workspaces/jobs/write")
    nth: int = Field(1, ge=1, description="the first call to hit")
    times: int = Field(1, ge=0, description="how many calls to hit; 0 for ever")
    each_path: bool = Field(False, description="count the calls of each method and path by themselves")
    probability: float = Field(1.0, gt=0, le=1, description="share of those calls, decided by the seed")


class Status(_Strict):
    """The call is answered with an error and has no effect."""

    kind: Literal["status"]
    status: int = Field(ge=400, le=599)
    code: str = "InjectedFault"
    message: str = "The emulator was asked to fail this call."
    retry_after: float | None = Field(None, ge=0, le=3600, description="seconds")
    headers: dict[str, str] = Field({}, description="of the answer")


class Page(_Strict):
    """The call is answered with a page of HTML and has no effect, as by a proxy on the way that has something to say."""

    kind: Literal["page"]
    status: int = Field(200, ge=200, le=599)
    html: str = "<html><head><title>Service temporarily unavailable</title></head><body>Back shortly.</body></html>"


class Delay(_Strict):
    """The call is answered late."""

    kind: Literal["delay"]
    seconds: float = Field(ge=0, le=3600)


class ResetBefore(_Strict):
    """The connection is reset and the call has no effect."""

    kind: Literal["reset_before"]


class ResetAfter(_Strict):
    """The call takes effect, and the connection is reset before the answer arrives."""

    kind: Literal["reset_after"]


class OperationFailed(_Strict):
    """The long-running operation that the call starts ends as Failed."""

    kind: Literal["operation_failed"]
    code: str | None = None
    message: str = "The emulator was asked to fail this operation."


class StepFailed(_Strict):
    """A step of the job that the call submits fails when it starts."""

    kind: Literal["step_failed"]
    node: str = Field("*", description="glob over the step's name; the first that matches")
    code: str = "UserError"
    message: str = "The emulator was asked to fail this step."


class StepHang(_Strict):
    """A step of the job that the call submits runs for ever and does nothing."""

    kind: Literal["step_hang"]
    node: str = Field("*", description="glob over the step's name; the first that matches")


class Preempt(_Strict):
    """The node that trains is taken away once the training has logged this step. The job fails with Azure's PreemptionError, as
    pipelines do; or its step goes back to the queue, as Azure's documentation has it."""

    kind: Literal["preempt"]
    step: int = Field(ge=0, description="training step")
    requeue: bool = Field(False, description="the step goes back to the queue instead of failing")


class DeploymentNeverReady(_Strict):
    """The deployment that the call makes never answers its readiness probe."""

    kind: Literal["deployment_never_ready"]


class DeploymentCrash(_Strict):
    """The container of the deployment that the call makes ends while starting, with Azure's text."""

    kind: Literal["deployment_crash"]
    message: str = (
        "User container has crashed or terminated: Liveness probe failed: HTTP probe failed with statuscode: 502"
    )


class QuotaExhausted(_Strict):
    """The call is refused for want of quota: of a compute, a deployment, or the number of endpoints, by what it makes."""

    kind: Literal["quota"]


class Resizing(_Strict):
    """The compute that the call makes or reads stays Resizing: its nodes never come."""

    kind: Literal["resizing"]


Effect = Annotated[
    Status
    | Page
    | Delay
    | ResetBefore
    | ResetAfter
    | OperationFailed
    | StepFailed
    | StepHang
    | Preempt
    | DeploymentNeverReady
    | DeploymentCrash
    | QuotaExhausted
    | Resizing,
    Field(discriminator="kind"),
]


class Rule(_Strict):
    """One fault."""

    match: Match = Match()
    effect: Effect
    seed: int = Field(0, description="decides, with the call's number, where the probability is below 1")


def read_rules(file: Path | None) -> list[Rule]:
    """The rules of a JSON file that holds a list of them; none without a file.

    Raises:
        ValueError: the file holds no such list.
    """
    return [] if file is None else TypeAdapter(list[Rule]).validate_json(file.read_bytes())
