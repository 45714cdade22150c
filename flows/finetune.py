"""Fine-tunes a chat model on Azure ML and lets it serve only if it is good: one run, top to bottom.

Every stage finds what an earlier try has made and goes on from there, so running again is always safe. Whatever ends the
run, what costs money is released: here after success and after an error, in a hook after a cancellation or a crash, and
by the reaper when nobody was left to run a hook. Never in a `finally`, which also runs when a run is only suspended or
rescheduled.
"""

# ruff: noqa: B008 - the groups' defaults are the form's, and the groups are immutable.

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.flows import Flow
from prefect.logging.loggers import flow_run_logger
from prefect.runtime import flow_run as this_run
from prefect.settings import PREFECT_HOME
from prefect.states import Cancelled, Completed, Failed, State
from pydantic import ValidationError

from blocks import AzureMLWorkspace
from blocks.names import JobKey
from flows.outcome import FlowResult, spent, staying
from flows.stage_clock import StageClock
from tasks.compute import ComputeChoice, validate_compute
from tasks.cost import CostChoice, CostEstimate, Prices, read_prices
from tasks.credentials import resolve_credentials
from tasks.dataset import DatasetSampling, sample_dataset
from tasks.endpoint import DeploymentChoice, check_endpoint_name, create_deployment, create_endpoint
from tasks.errors import Refused, redact
from tasks.jobs import JobFailed, JobPreempted
from tasks.metrics import MetricGate, review_metrics
from tasks.models import ModelChoice, find_foundation_model
from tasks.naming import RunNames, dataset_label, model_name
from tasks.parameters import TrainingParameters
from tasks.pipeline import PipelineChoice, submit_pipeline
from tasks.registration import Registration, register_model
from tasks.scoring import SmokeScoring, smoke_score
from tasks.stage import run_logger
from tasks.teardown import StillThere, TeardownPolicy, release
from tasks.teardown import teardown as tear_down
from tasks.waiting import FinishedJob, RunCancelled, wait_for_pipeline
from tasks.watch import MachineTime

STAGES, STAGES_OF_SERVING = 13, 4
"""How many a run that goes all the way has, and how many of them are only for the endpoint."""


def release_what_it_made(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Hook after a cancellation or a crash. A worker calls it in a process of its own, by these very argument names, so
    it knows the run by nothing but its id and parameters."""
    logger = flow_run_logger(flow_run, flow)
    block = load_workspace(flow_run.parameters.get("workspace", "azureml"))
    deployment = DeploymentChoice.model_validate(flow_run.parameters.get("deployment") or {})
    released = release(block, flow_run.id, flow_run.parameters.get("job_key"), chosen=deployment.endpoint, log=logger)
    logger.info("Run ended as %s. Released: %s.", state.name, released)
    # A process that was told to end does not wait for its log to be sent.
    for handler in logger.logger.handlers:
        handler.flush()


def name_unknown_parameters(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Hook after a crash. Prefect's API takes parameters that the flow does not have, and the run then ends before it begins,
    with nothing but an exit status: this says why, as the run's final state."""
    unknown = sorted(flow_run.parameters.keys() - flow.parameters.properties.keys())
    if unknown:
        sentence = f"The flow has no parameter {', '.join(unknown)}. Nothing was begun. Take it out and run again."
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(flow_run.id, Failed(message=sentence), force=True)


def name_of_run() -> str:
    """Model, data and night, for the list of runs. The night is the date in UTC for which the run was scheduled."""
    given = this_run.parameters
    return (
        f"{given['model'].name} on {dataset_label(given['dataset'].source)}, {this_run.scheduled_start_time:%Y-%m-%d}"
    )


@flow(
    name="finetune",
    flow_run_name=name_of_run,
    on_cancellation=[release_what_it_made],
    on_crashed=[name_unknown_parameters, release_what_it_made],
)
def finetune(
    workspace: str = "azureml",
    model: ModelChoice = ModelChoice(),
    compute: ComputeChoice = ComputeChoice(),
    dataset: DatasetSampling = DatasetSampling(),
    training: TrainingParameters = TrainingParameters(),
    pipeline: PipelineChoice = PipelineChoice(),
    gate: MetricGate = MetricGate(),
    registration: Registration = Registration(),
    deployment: DeploymentChoice = DeploymentChoice(),
    scoring: SmokeScoring = SmokeScoring(),
    teardown: TeardownPolicy = TeardownPolicy(),
    cost: CostChoice = CostChoice(),
    job_key: JobKey | None = None,
) -> FlowResult:
    """Fine-tunes a chat model, reviews, registers, deploys, scores and tears down.

    Args:
        workspace: Name of the AzureMLWorkspace block: where to work, and as whom.
        model: Which foundation model.
        compute: Where to train.
        dataset: With which conversations.
        training: How to train.
        pipeline: Which pipeline component, and how long it may take.
        gate: What the model must reach to be registered.
        registration: What the registered model is called.
        deployment: How it is served.
        scoring: What it is asked.
        teardown: What becomes of the endpoint after success.
        cost: What the machines cost.
        job_key: Takes over the job of the run with this id, or shares one job among all runs with this key. A job that completed
            is never trained again, so a schedule must not set it. Default: the run has its own. 1 to 248 letters, digits, dashes
            and underscores, a letter or a digit first; for example june-trial.
    """
    block = load_workspace(workspace)
    names = RunNames(UUID(str(this_run.id)), job_key, this_run.scheduled_start_time)
    clock = StageClock(STAGES if deployment.enabled else STAGES - STAGES_OF_SERVING)
    machines = MachineTime()
    made: dict[str, Any] = {"seconds": clock.seconds}
    prices: Prices | None = None
    try:
        prices = read_prices(cost)
        where = clock.run(resolve_credentials, block)
        foundation_found = clock.start(find_foundation_model, block, model)
        sampled = clock.start(sample_dataset, dataset, samples_folder(), block)
        if deployment.enabled:
            clock.run(check_endpoint_name, block, names, deployment)
        foundation = foundation_found.result()
        cluster = clock.run(
            validate_compute,
            block,
            foundation,
            compute,
            nodes=training.num_nodes_finetune or int(foundation.defaults.get("num_nodes_finetune", 1)),
            instance_type=deployment.instance_type if deployment.enabled else None,
            instance_count=deployment.instance_count,
            names=names,
            endpoint=deployment.endpoint_name(names),
        )
        data = sampled.result()
        made |= {"base_model": foundation, "compute": cluster, "dataset": data, "tracking_uri": where.tracking_uri}
        tuned_name = registration.name or model_name(foundation.name, data.source)

        while True:
            job = clock.run(
                submit_pipeline, block, names, foundation, cluster, data, training, pipeline, dataset.tokenizer
            )
            # It costs nothing without a deployment, and is there when the model is.
            endpoint_made = (
                clock.start(create_endpoint, block, names, deployment, teardown, tuned_name)
                if deployment.enabled
                else None
            )
            try:
                # What is refused beside it need not be trained for; what may pass is asked for again in the end.
                in_vain = partial(clock.refused, create_endpoint)
                finished: FinishedJob = clock.run(
                    wait_for_pipeline, block, where, job, pipeline, cluster.cluster, machines, in_vain
                )
                break
            except JobPreempted as preempted:
                if job.attempt >= pipeline.max_attempts:
                    limit = (
                        f"The run may submit no more than {pipeline.max_attempts} (pipeline.max_attempts). Start a new run, with "
                        "more of them or with compute.priority dedicated on another cluster."
                    )
                    raise JobFailed(f"{preempted}\n{limit}") from preempted
                run_logger().warning("%s\nSubmitting a successor.", preempted)
                clock.failed = None

        made["job"] = finished
        made["review"] = review = clock.run(review_metrics, block, where, finished, gate, tuned_name)
        if not review.accepted:
            clock.settle()
            released = release(block, names.run_id, job_key, chosen=deployment.endpoint)
            result = FlowResult(verdict="rejected", released=released, machine_seconds=machines.seconds, **made)
            return _end(result, "Rejected", clock, prices)

        description = registration.description or f"{foundation.name} fine-tuned on {data.source} for chat completion"
        registered = clock.run(register_model, block, names, finished, review, tuned_name, description)
        made["model"] = registered
        if endpoint_made is not None:
            endpoint_made.wait()
            made["endpoint"] = (
                clock.run(create_endpoint, block, names, deployment, teardown, tuned_name)
                if create_endpoint.name in clock.errors
                else endpoint_made.result()
            )
            deployed = clock.run(
                create_deployment, block, names, made["endpoint"], registered, deployment, cluster.cluster
            )
            made["smoke"] = clock.run(smoke_score, block, deployed, data, scoring)
        released = clock.run(tear_down, block, names, teardown, _endpoint_of(made))
        result = FlowResult(verdict="accepted", released=released, machine_seconds=machines.seconds, **made)
        return _end(result, "Completed", clock, prices)
    except RunCancelled as cancelled:
        clock.settle()
        told, endpoints = _release_after_error(block, names, made, deployment)
        return _cancelled(cancelled, f"{_staying(made, prices, endpoints)}Released: {told}.")
    except Exception as error:
        clock.settle()
        told, endpoints = _release_after_error(block, names, made, deployment)
        stage = clock.stage_of(error)
        return _fail(
            error, stage, spent(made, machines.seconds, prices), f"{_staying(made, prices, endpoints)}Released: {told}."
        )


def load_workspace(name: str) -> AzureMLWorkspace:
    """The block called `name`.

    Raises:
        Refused: there is none, what it holds is not what Azure takes, or it does not say as whom to sign in.
    """
    try:
        block: AzureMLWorkspace = AzureMLWorkspace.load(name)  # type: ignore[assignment]
    except RuntimeError as error:
        if not isinstance(error.__cause__, ValidationError):
            raise
        raise Refused(_what_a_block_lacks(name, error.__cause__)) from error
    except ValueError as error:
        raise Refused(
            f"There is no AzureMLWorkspace block '{name}'. Create it in the UI, or set workspace to one of "
            f"`prefect block ls`. ({error})"
        ) from error
    # With a block that others refer to, Prefect deletes the reference: the field is missing then, as if none had been chosen.
    if "credentials" not in block.model_fields_set:
        raise Refused(
            f"The AzureMLWorkspace block '{name}' does not say as whom to sign in: its credentials block was deleted (one that is "
            "made anew is another one), or none was ever chosen. Choose one in the UI and save; for the identity of the machine "
            "itself, an AzureCredentials block with auth 'default'."
        )
    return block


def _what_a_block_lacks(name: str, invalid: ValidationError) -> str:
    """What the person is to fill in who keeps the AzureMLWorkspace block `name`."""
    lacks = [str(each["loc"][0]) for each in invalid.errors() if each["type"] == "missing"]
    if lacks:
        return f"The AzureMLWorkspace block '{name}' has no {', '.join(lacks)}. Fill it in in the UI and save the block again."
    why = "; ".join(each["msg"].removeprefix("Value error, ") for each in invalid.errors())
    return f"The AzureMLWorkspace block '{name}' is filled in wrongly: {why} Correct it in the UI."


def samples_folder() -> Path:
    """Where samples are kept between runs of this machine."""
    return Path(PREFECT_HOME.value()) / "finetune-samples"


def _end(result: FlowResult, name: str, clock: StageClock, prices: Prices) -> Any:
    """The run's final state with its name and sentence; Prefect hands the caller the result in it."""
    result.add_up(prices)
    result.publish()
    clock.finish(name)
    stays = _staying({"compute": result.compute}, prices, result.serving)
    told = f"{result.sentence().rstrip('.')}. {stays}".strip()
    return Completed(name=name, message=told, data=result)


def _staying(made: Mapping[str, Any], prices: Prices | None, endpoints: Sequence[str]) -> str:
    """What a run leaves, a sentence and a blank; empty where it got to nothing."""
    stays = staying(made, prices, endpoints)
    return f"What stays: {stays}. " if stays else ""


def _fail(error: Exception, stage: str | None, cost: CostEstimate | None, left: str) -> Any:
    """The run's end for the person on call: where it failed, why, what it cost and what has been cleaned up."""
    run_logger().error("Stage %s failed.\n%s", stage, redact("".join(traceback.format_exception(error))))
    used = f"Used: {cost.sentence()}. " if cost else ""
    return Failed(message=f"Stage {stage or 'finetune'} failed: {error} {used}{left}", data=error)


def _cancelled(error: RunCancelled, left: str) -> Any:
    """The end of a run that found itself cancelled. Prefect lets it end as nothing else."""
    return Cancelled(message=f"{error} {left}")


def _endpoint_of(made: Mapping[str, Any]) -> str | None:
    """The name of the endpoint that the run has made, if it got so far."""
    return made["endpoint"].name if "endpoint" in made else None


def _release_after_error(
    block: AzureMLWorkspace, names: RunNames, made: Mapping[str, Any], deployment: DeploymentChoice
) -> tuple[str, list[str]]:
    """What was released, or that it could not be, and the endpoints that are still there. Must not hide why the run failed:
    what cannot be released now is left to the reaper."""
    try:
        return str(release(block, names.run_id, names.job_key, made=_endpoint_of(made), chosen=deployment.endpoint)), []
    except Exception as error:
        left = error.endpoints if isinstance(error, StillThere) else []
        return f"not everything; the reaper will try again ({error})", left


if __name__ == "__main__":
    from flows.console import main

    raise SystemExit(main())
