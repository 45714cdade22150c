"""What happens after a run was cancelled or crashed. A worker calls these in a process of its own, by their arguments' names."""

from __future__ import annotations

from typing import Any

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.flows import Flow
from prefect.logging.loggers import flow_run_logger
from prefect.states import Failed, State

from flows.from_outside import publish_end_from_outside, why_it_never_began
from flows.vital_signs import had_not_begun
from flows.workspaces import load_workspace
from tasks.release import release_what_one_can
from tasks.runs import names_of


def release_what_it_made(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """After a cancellation or a crash: releases what the run is known to have made by nothing but its id and parameters."""
    logger = flow_run_logger(flow_run, flow)
    if had_not_begun(flow_run.id):
        # Not handed back here: the worker is about to report the same end once more.
        logger.warning("The run was told to end before it had begun. Nothing is released: the reaper lets it go on.")
        return
    block = load_workspace(flow_run.parameters.get("workspace", "azureml"))
    deployment: Any = flow_run.parameters.get("deployment")
    chosen = deployment.get("endpoint") if isinstance(deployment, dict) else None
    names = names_of(flow_run.id, flow_run.parameters)
    released, endpoints = release_what_one_can(block, names, chosen=chosen, log=logger)
    logger.info("Run ended as %s. Released: %s.", state.name, released)
    try:
        publish_end_from_outside(flow, block, flow_run, state, released, endpoints)
    except Exception as error:
        logger.warning("The summary could not be shown in Prefect's UI: %s", error)
    # A process that was told to end does not wait for its log to be sent.
    for handler in logger.logger.handlers:
        handler.flush()


def name_unknown_parameters(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """After a crash. Prefect's API takes parameters that the flow does not have, and the run then ends before it begins,
    with nothing but an exit status: this says why, as the run's final state."""
    if not flow_run.parameters.keys() <= flow.parameters.properties.keys():
        why = why_it_never_began(flow, flow_run.parameters)
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(flow_run.id, Failed(message=why), force=True)
