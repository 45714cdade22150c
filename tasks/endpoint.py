"""Creates the endpoint and the deployment that serves the model.

Promise: one endpoint per run, found again by its name. An endpoint that somebody else made is never touched.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from uuid import UUID

from pydantic import BaseModel, Field

from blocks import AzureMLWorkspace
from blocks.names import ENDPOINT, EndpointName
from tasks.azure_ml.errors import AzureFailure, ErrorInfo, InvalidConfiguration, classify
from tasks.azure_ml.kinds import ABOUT, MAY_PASS, Kind
from tasks.azure_ml.polling import polls
from tasks.azure_ml.states import word
from tasks.containers import containers_said
from tasks.cost import machines_tag
from tasks.form import ParameterGroup
from tasks.held import find_deployment, find_endpoint, wait_until_idle_nodes_are_gone
from tasks.naming import DEPLOYMENT, RUN_TAG, RunNames, serves
from tasks.registration import RegisteredModel
from tasks.release import delete_endpoint, expiry
from tasks.stage import run_logger, stage
from tasks.teardown import TeardownParameters

if TYPE_CHECKING:
    from azure.ai.ml.entities import OnlineDeployment, OnlineEndpoint

ENDPOINT_DEADLINE_SECONDS = 30 * 60
OF_THE_MODEL = frozenset({Kind.PERMANENT, Kind.INVALID, Kind.NOT_FOUND})
"""What a deployment fails of that its containers may tell more about."""
MOST_TIMEOUT_MS = 180_000
"""Azure ML's limit for `request_timeout_ms` of a managed online deployment."""


class DeploymentParameters(ParameterGroup):
    """How the model is served."""

    enabled: bool = Field(
        True, title="Deploy", description="Serve the registered model and ask it. Off: it is registered only."
    )
    instance_type: str = Field(
        "Standard_NC6s_v3",
        pattern=r"^[A-Za-z0-9_-]{3,64}$",
        title="Instance type",
        description="VM size of the deployment's machines, 3 to 64 letters, digits, dashes and underscores.",
        examples=["Standard_NC24ads_A100_v4"],
    )
    instance_count: int = Field(1, ge=1, le=50, title="Instances", description="How many machines serve the model.")
    endpoint: EndpointName | None = Field(
        None,
        title="Endpoint name",
        description=f"What the endpoint is called. {ENDPOINT.bounds} Unique in the region. Default: made of the flow run's id.",
    )
    liveness_initial_delay: int = Field(
        600,
        ge=1,
        le=7200,
        title="Start-up seconds",
        description="Seconds before Azure first asks whether the container lives: time to load the model.",
    )
    request_timeout_ms: int = Field(
        90_000,
        ge=1,
        le=MOST_TIMEOUT_MS,
        title="Request timeout (ms)",
        description="Milliseconds that one request may take.",
    )
    deadline_minutes: float = Field(
        90.0,
        gt=0,
        le=720,
        title="Deadline (minutes)",
        description="Minutes after which a deployment that is not ready has failed.",
    )

    def endpoint_name(self, names: RunNames) -> str:
        """The chosen name, else the run's own."""
        return self.endpoint or names.endpoint


class Endpoint(BaseModel):
    """An endpoint without traffic."""

    name: str
    scoring_uri: str
    expires: str = ""
    """In UTC, when the reaper deletes it; empty if it is kept for good, or not kept at all."""


class Deployment(BaseModel):
    """A deployment that takes all of its endpoint's traffic."""

    name: str
    endpoint: Endpoint
    seconds: float


class DeploymentFailed(Exception):
    """The deployment did not become ready. The message carries the last lines of both containers' logs."""


@stage
def check_endpoint_name(workspace: AzureMLWorkspace, names: RunNames, choice: DeploymentParameters) -> None:
    """Refuses an endpoint name that another run or person holds, before anything is spent."""
    name = choice.endpoint_name(names)
    _refuse_foreign(find_endpoint(workspace, name), name, names)


@stage
def create_endpoint(
    workspace: AzureMLWorkspace,
    names: RunNames,
    choice: DeploymentParameters,
    policy: TeardownParameters,
    model_name: str,
) -> Endpoint:
    """Creates the run's endpoint with key authentication, or finds it. It costs nothing without a deployment."""
    from azure.ai.ml.entities import ManagedOnlineEndpoint

    name = choice.endpoint_name(names)
    found = _settled(workspace, name)
    _refuse_foreign(found, name, names)
    if found is not None and _state(found) != "succeeded":
        run_logger().warning("Endpoint %s is %s: making it anew.", name, _state(found))
        delete_endpoint(workspace, name)
        found = None
    if found is None:
        wanted = ManagedOnlineEndpoint(
            name=name,
            description=serves(model_name, names.run_id),
            auth_mode="key",
            tags=names.tags(
                **policy.tags(), machines=machines_tag(choice.instance_count, choice.instance_type, "dedicated")
            ),
        )
        workspace.client().online_endpoints.begin_create_or_update(wanted).result(timeout=ENDPOINT_DEADLINE_SECONDS)
        found = _settled(workspace, name)
        if found is None or _state(found) != "succeeded":
            raise DeploymentFailed(f"Endpoint {name} did not get ready in {ENDPOINT_DEADLINE_SECONDS // 60} minutes.")
    run_logger().info("Endpoint %s: %s", name, found.scoring_uri)
    return Endpoint(name=name, scoring_uri=str(found.scoring_uri), expires=expiry(found.tags))


@stage
def create_deployment(
    workspace: AzureMLWorkspace,
    names: RunNames,
    endpoint: Endpoint,
    model: RegisteredModel,
    choice: DeploymentParameters,
    cluster: str,
) -> Deployment:
    """Deploys `model` and gives it all traffic, or finds that done.

    The nodes of `cluster`, which has trained, hold quota for as long as they may be idle. When that is missing for the
    deployment, it is asked for again once they are gone.

    Raises:
        DeploymentFailed: not ready by the deadline, or crashed; with both containers' last log lines.
        AzureFailure: no quota or no capacity.
    """
    began = time.monotonic()
    found = find_deployment(workspace, endpoint.name)
    if found is None or _state(found) != "succeeded":
        try:
            _deploy(workspace, names, endpoint, model, choice, exists=found is not None)
        except AzureFailure as refused:
            patience = choice.deadline_minutes * 60
            if refused.info.kind not in (Kind.QUOTA, Kind.REGIONAL_QUOTA) or not wait_until_idle_nodes_are_gone(
                workspace, cluster, patience
            ):
                raise
            _deploy(
                workspace, names, endpoint, model, choice, exists=find_deployment(workspace, endpoint.name) is not None
            )
    _give_traffic(workspace, endpoint.name)
    seconds = time.monotonic() - began
    run_logger().info("Deployment %s of %s is ready.", DEPLOYMENT, endpoint.name)
    return Deployment(name=DEPLOYMENT, endpoint=endpoint, seconds=seconds)


def _refuse_foreign(found: OnlineEndpoint | None, name: str, names: RunNames) -> None:
    if found is not None and (found.tags or {}).get(RUN_TAG) != str(names.run_id):
        raise InvalidConfiguration(
            f"Endpoint {name} exists and was not made by this run. Leave deployment.endpoint empty, or choose another name."
        )


def _settled(workspace: AzureMLWorkspace, name: str) -> OnlineEndpoint | None:
    """The endpoint in a state that lasts: Azure refuses to change one that it is still changing."""
    found = None
    for _ in polls(ENDPOINT_DEADLINE_SECONDS):
        found = find_endpoint(workspace, name)
        if found is None or _state(found) in ("succeeded", "failed", "canceled"):
            break
    return found


def _deploy(
    workspace: AzureMLWorkspace,
    names: RunNames,
    endpoint: Endpoint,
    model: RegisteredModel,
    choice: DeploymentParameters,
    *,
    exists: bool,
) -> None:
    """Asks for the deployment and waits until it is ready. Asking again for the same one is how Azure resumes it."""
    from azure.ai.ml.entities import ManagedOnlineDeployment, OnlineRequestSettings, ProbeSettings

    wanted = ManagedOnlineDeployment(
        name=DEPLOYMENT,
        endpoint_name=endpoint.name,
        model=model.id,
        instance_type=choice.instance_type,
        instance_count=choice.instance_count,
        liveness_probe=ProbeSettings(initial_delay=choice.liveness_initial_delay),
        request_settings=OnlineRequestSettings(request_timeout_ms=choice.request_timeout_ms),
        tags=names.tags(model=f"{model.name}:{model.version}"),
    )
    run_logger().info("%s deployment on %s.", "Resuming the" if exists else "Creating the", choice.instance_type)
    try:
        poller = workspace.client().online_deployments.begin_create_or_update(wanted)
        poller.result(timeout=choice.deadline_minutes * 60)
    except Exception as error:
        info = classify(error)
        if info is None or info.kind in MAY_PASS:
            raise
        if info.kind not in OF_THE_MODEL:
            raise AzureFailure(info, f"creating the deployment on {choice.instance_type}") from error
        raise DeploymentFailed(_failure(workspace, endpoint.name, names.run_id, info)) from error
    if not poller.done():
        late = ErrorInfo(
            Kind.PERMANENT, f"not ready after {choice.deadline_minutes:g} minutes (deployment.deadline_minutes)"
        )
        raise DeploymentFailed(_failure(workspace, endpoint.name, names.run_id, late))


def _failure(workspace: AzureMLWorkspace, endpoint: str, run_id: UUID, info: ErrorInfo) -> str:
    parts = [f"Deployment {DEPLOYMENT} of endpoint {endpoint} failed: {info.message}"]
    parts += containers_said(workspace, endpoint)
    advice = "" if info.advice == ABOUT[Kind.PERMANENT].do else f"What to do: {info.advice}. "
    parts.append(
        f"The endpoint is being deleted. {advice}The model stays registered, and nothing need be trained again: retry this run, or "
        f"start a new one with other parameters of the deployment and resume_run {run_id}."
    )
    return "\n".join(parts)


def _give_traffic(workspace: AzureMLWorkspace, name: str) -> None:
    endpoint = _settled(workspace, name)
    if endpoint is None:
        raise DeploymentFailed(f"Endpoint {name} has been deleted by somebody while its deployment was being made.")
    if (endpoint.traffic or {}).get(DEPLOYMENT) == 100:
        return
    endpoint.traffic = {DEPLOYMENT: 100}
    workspace.client().online_endpoints.begin_create_or_update(endpoint).result(timeout=ENDPOINT_DEADLINE_SECONDS)


def _state(resource: OnlineEndpoint | OnlineDeployment) -> str:
    return word(resource.provisioning_state).lower()
