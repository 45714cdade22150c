"""The page of a run whose process is gone, written by a hook or by the reaper: what is left of the run is asked of Azure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.exceptions import ParameterTypeError
from prefect.flows import Flow

from blocks import AzureMLWorkspace
from flows.outcome import bad_end_facts, cluster_stays, endpoint_stays
from tasks.artifacts import markdown_table
from tasks.azure_ml.errors import redact
from tasks.compute import ComputeParameters
from tasks.cost import CostParameters, Prices, an_hour, read_prices
from tasks.endpoint import DeploymentParameters
from tasks.form import ParameterGroup
from tasks.held import nodes_that_stay
from tasks.models import ModelParameters
from tasks.naming import dated, model_name
from tasks.registration import RegistrationParameters, version_of_run
from tasks.release import Released
from tasks.sampling.parameters import DatasetParameters


def why_it_never_began(flow: Flow[..., Any], parameters: Mapping[str, Any]) -> str | None:
    """What is wrong with a run's parameters, which Prefect's API takes as they are; None if they are valid."""
    known = list(flow.parameters.properties)
    if unknown := sorted(parameters.keys() - known):
        meant = [close[0] for name in unknown if (close := get_close_matches(name, known, 1))]
        ask = f" Was {' and '.join(meant)} meant?" if meant else ""
        return f"The flow has no parameter {', '.join(unknown)}.{ask} Nothing was begun. Take it out and run again."
    try:
        flow.validate_parameters(dict(parameters))
    except (ParameterTypeError, ValueError) as error:
        return f"{' '.join(str(error).split())} Nothing was begun. Correct it and run again."
    return None


def publish_end_from_outside(
    flow: Flow[..., Any],
    workspace: AzureMLWorkspace,
    run: FlowRun,
    state: State[Any],
    released: str,
    endpoints: Sequence[str],
) -> None:
    """The summary and the cost of a run that ended in `state`, by another process, which knows little of it. `endpoints`:
    those that could not be deleted."""
    how = f"{'Cancelled' if _is_cancelled(state) else state.name}: {state.message or 'without a word'}"
    # A run that had begun when the form was wider may have left something.
    if released == str(Released()) and (why := why_it_never_began(flow, run.parameters)):
        facts = bad_end_facts(why, "nothing was begun", "nothing", "no machine was used")
    else:
        facts = _facts(workspace, run, state, released, endpoints)
    _publish(run.id, "summary", how, markdown_table((how, ""), facts.items()))
    _publish(run.id, "cost", facts["Cost, estimated"], facts["Cost, estimated"])


def _publish(run_id: UUID, key: str, description: str, text: str) -> None:
    from prefect.client.schemas.actions import ArtifactCreate

    page = ArtifactCreate(key=key, type="markdown", description=description, data=text, flow_run_id=run_id)
    with get_client(sync_client=True) as client:
        client.create_artifact(page)


def _is_cancelled(state: State[Any]) -> bool:
    return state.is_cancelling() or state.is_cancelled()


def _facts(
    workspace: AzureMLWorkspace, run: FlowRun, state: State[Any], released: str, endpoints: Sequence[str]
) -> dict[str, str]:
    try:
        stays = _stays(workspace, run, endpoints)
    except Exception as error:  # the page must not fail with what it tells
        stays = f"a model, if one was registered, and the cluster; Azure could not be asked ({redact(str(error))})"
    gone = "Somebody cancelled it." if _is_cancelled(state) else "The process that knew is gone."
    return bad_end_facts(
        f"{gone} The run's state and its log say what they can. Retry goes on with the job that it had submitted, if it got so "
        "far, or with a successor from its last checkpoint.",
        released,
        stays or "nothing",
        "Not known here: the process that counted is gone. What the job's steps took is in Azure ML studio.",
    )


def has_summary(run_id: UUID) -> bool:
    """Whether the run tells of its end already."""
    from prefect.client.schemas.filters import ArtifactFilter, FlowRunFilter

    of_run = FlowRunFilter.model_validate({"id": {"any_": [run_id]}})
    summary = ArtifactFilter.model_validate({"key": {"any_": ["summary"]}})
    with get_client(sync_client=True) as client:
        return bool(client.read_artifacts(artifact_filter=summary, flow_run_filter=of_run))


def _stays(workspace: AzureMLWorkspace, run: FlowRun, endpoints: Sequence[str]) -> str:
    registration, deployment = (
        _group(run, "registration", RegistrationParameters),
        _group(run, "deployment", DeploymentParameters),
    )
    prices = _prices(run)
    name = registration.name or model_name(
        _group(run, "model", ModelParameters).name, _group(run, "dataset", DatasetParameters).source
    )
    stays = []
    if version := version_of_run(workspace, name, run.id):
        stays.append(f"model {name} version {dated(version)}")
    serving = an_hour(prices, deployment.instance_type, "dedicated", deployment.instance_count)
    stays += [endpoint_stays(endpoint, serving) for endpoint in endpoints]
    cluster = _group(run, "compute", ComputeParameters).cluster
    if nodes := nodes_that_stay(workspace, cluster):
        size, tier, count = nodes
        stays.append(cluster_stays(cluster, count, an_hour(prices, size, tier, count)))
    return "; ".join(stays)


def _group(run: FlowRun, name: str, kind: type[ParameterGroup]) -> Any:
    return kind.model_validate(run.parameters.get(name) or {})


def _prices(run: FlowRun) -> Prices | None:
    try:
        return read_prices(_group(run, "cost", CostParameters))
    except Exception:  # a table of another machine
        return None
