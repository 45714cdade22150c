"""Fine-tunes a chat model on Azure ML and lets it serve only if it is good: one run, top to bottom.

Every stage finds what an earlier try has made and goes on from there, so running again is always safe. Whatever ends the
run, what costs money is released: here after success and after an error, in a hook after a cancellation or a crash, and
by the reaper when nobody was left to run a hook. Never in a `finally`, which also runs when a run is only suspended or
rescheduled.
"""

# ruff: noqa: B008 - the groups' defaults are the form's, and the groups are immutable.

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast
from uuid import UUID

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run as this_run
from prefect.settings import PREFECT_HOME
from prefect.states import Cancelled, Completed, Failed

from blocks.names import JobKey
from flows import stages
from flows.hooks import name_unknown_parameters, release_what_it_made
from flows.outcome import FlowResult, Verdict, publish_bad_end, spent, staying
from flows.pipes import outlive_the_reader
from flows.run import RunRecord
from flows.server_identity import server_id
from flows.stage_runner import StageRunner
from flows.turns import NotItsTurn, take_turn
from flows.workspaces import load_workspace
from tasks.azure_ml.errors import InvalidConfiguration, redact, says_all
from tasks.compute import ComputeParameters, validate_compute
from tasks.cost import CostParameters, read_prices
from tasks.credentials import resolve_credentials
from tasks.dataset import sample_dataset
from tasks.endpoint import DeploymentParameters, check_endpoint_name, create_deployment, create_endpoint
from tasks.jobs import JobFailed, JobPreempted
from tasks.metrics import GateParameters, review_metrics
from tasks.models import ModelParameters, find_foundation_model
from tasks.naming import RunNames, dataset_label, model_name, night_label
from tasks.parameters import TrainingParameters
from tasks.pipeline import PipelineParameters, SubmittedJob, submit_pipeline
from tasks.registration import RegistrationParameters, register_model
from tasks.release import Released, release, release_what_one_can
from tasks.runs import RunId, RunState, lives, names_of, read_run, state_of
from tasks.sampling.parameters import DatasetParameters
from tasks.scoring import ScoringParameters, smoke_score
from tasks.stage import run_logger
from tasks.teardown import TeardownParameters
from tasks.teardown import teardown as tear_down
from tasks.waiting import FinishedJob, RunCancelled, wait_for_pipeline


def name_of_run() -> str:
    """Model, data and the time in UTC for which the run was scheduled, for the list of runs."""
    given = this_run.parameters
    return f"{given['model'].name} on {dataset_label(given['dataset'].source)}, {night_label(this_run.scheduled_start_time)}"


@flow(
    name="finetune",
    flow_run_name=name_of_run,
    on_cancellation=[release_what_it_made],
    on_crashed=[name_unknown_parameters, release_what_it_made],
)
def finetune(
    workspace: str = "azureml",
    model: ModelParameters = ModelParameters(),
    compute: ComputeParameters = ComputeParameters(),
    dataset: DatasetParameters = DatasetParameters(),
    training: TrainingParameters = TrainingParameters(),
    pipeline: PipelineParameters = PipelineParameters(),
    gate: GateParameters = GateParameters(),
    registration: RegistrationParameters = RegistrationParameters(),
    deployment: DeploymentParameters = DeploymentParameters(),
    scoring: ScoringParameters = ScoringParameters(),
    teardown: TeardownParameters = TeardownParameters(),
    cost: CostParameters = CostParameters(),
    resume_run: RunId | None = None,
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
        resume_run: Id of a run that is over, whose job this one takes over. A job that completed is never trained again, so a
            schedule must not set it. Default: the run has a job of its own.
        job_key: What older versions had in place of resume_run: a run's id, the name of its job, or a word of 1 to 248 letters,
            digits, dashes and underscores that runs one after the other share a job by; for example june-trial.
    """
    outlive_the_reader()
    run_id = UUID(str(this_run.id))
    try:
        take_turn(run_id)
    except NotItsTurn as other:
        run_logger().warning(str(other))
        return cast(FlowResult, _cancelled(str(other), name=other.name))
    try:
        names = _own_names(run_id, workspace, resume_run, job_key)
        block = load_workspace(workspace)
    except InvalidConfiguration as error:
        publish_bad_end(
            "Failed before the first stage", str(error), RunRecord(), cost=None, released="nothing was begun", stays=""
        )
        raise
    runner = StageRunner(stages.count(serves=deployment.enabled))
    record = RunRecord(seconds=runner.seconds)
    try:
        record.prices = read_prices(cost)
        where = runner.run(resolve_credentials, block)
        record.tracking_uri = where.tracking_uri
        foundation_found = runner.submit(find_foundation_model, block, model, deployment.enabled)
        sampled = runner.submit(sample_dataset, dataset, samples_folder(), block)
        if deployment.enabled:
            runner.run(check_endpoint_name, block, names, deployment)
        record.base_model = foundation = foundation_found.result()
        record.compute = cluster = runner.run(
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
        record.dataset = data = sampled.result()
        tuned_name = registration.name or model_name(foundation.name, data.source)
        serving = (block, names, deployment, teardown, tuned_name)

        def submit() -> SubmittedJob:
            job = runner.run(
                submit_pipeline, block, names, foundation, cluster, data, training, pipeline, dataset.tokenizer
            )
            record.resumed = record.resumed or (job.adopted and names.shares)
            if deployment.enabled:
                # It costs nothing without a deployment, and is there when the model is.
                runner.submit(create_endpoint, *serving)
            return job

        def wait(job: SubmittedJob) -> FinishedJob:
            # What is refused beside it need not be trained for; what may pass is asked for again in the end.
            in_vain = partial(runner.refused, create_endpoint)
            return runner.run(wait_for_pipeline, block, where, job, pipeline, cluster.cluster, record.machines, in_vain)

        record.job = finished = _train(runner, submit, wait, pipeline.max_attempts)
        record.review = review = runner.run(review_metrics, block, where, finished, gate, tuned_name)
        if not review.accepted:
            runner.wait_all()
            released = release(block, names, chosen=deployment.endpoint)
            return cast(FlowResult, _end(record, "rejected", released, runner))

        description = registration.description or f"{foundation.name} fine-tuned on {data.source} for chat completion"
        record.model = registered = runner.run(register_model, block, names, finished, review, tuned_name, description)
        if deployment.enabled:
            record.endpoint = runner.result(create_endpoint, *serving)
            deployed = runner.run(
                create_deployment, block, names, record.endpoint, registered, deployment, cluster.cluster
            )
            record.smoke = runner.run(smoke_score, block, deployed, data, scoring)
        released = runner.run(tear_down, block, names, teardown, record.endpoint_name)
        return cast(FlowResult, _end(record, "accepted", released, runner))
    except Exception as error:
        runner.wait_all()
        left = release_what_one_can(block, names, made=record.endpoint_name, chosen=deployment.endpoint)
        return cast(FlowResult, _bad_end(error, runner, record, *left))


def _own_names(run_id: UUID, workspace: str, resume_run: UUID | None, job_key: str | None) -> RunNames:
    """The run's names.

    Raises:
        InvalidConfiguration: the run whose job it is to take over is not over, or two are named.
    """
    if resume_run and job_key:
        raise InvalidConfiguration(
            "resume_run and job_key both name a job to go on with. Leave job_key empty. Nothing was begun."
        )
    if job_key:
        run_logger().warning("The parameter job_key will go: give the other run's id as resume_run instead.")
    given = {"resume_run": resume_run, "job_key": job_key}
    names = names_of(run_id, given, night=this_run.scheduled_start_time, server=server_id(), block=workspace)
    asked = resume_run or names.resume_run
    resumed = read_run(asked) if asked else None
    if resumed and state_of(resumed) is RunState.ALIVE:
        raise InvalidConfiguration(
            lives(resumed, "The job that resume_run asks for" if resume_run else "The job that job_key asks for")
        )
    return names


def samples_folder() -> Path:
    """Where samples are kept between runs of this machine."""
    return Path(PREFECT_HOME.value()) / "finetune-samples"


def _train(
    runner: StageRunner, submit: Callable[[], SubmittedJob], wait: Callable[[SubmittedJob], FinishedJob], most: int
) -> FinishedJob:
    """Submits and waits, and after a pre-emption again: a successor goes on from the checkpoint. `most`: how many jobs.

    Raises:
        JobFailed: the job ended without a model, or the last one lost its nodes.
    """
    while True:
        job = submit()
        try:
            return wait(job)
        except JobPreempted as preempted:
            if job.attempt >= most:
                limit = (
                    f"The run may submit no more than {most} (pipeline.max_attempts). Start a new run, with more of them or with "
                    "compute.priority dedicated on another cluster."
                )
                raise JobFailed(f"{preempted}\n{limit}") from preempted
            run_logger().warning("%s\nSubmitting a successor.", preempted)
            runner.failed = None


def _end(record: RunRecord, verdict: Verdict, released: Released, runner: StageRunner) -> State[FlowResult]:
    """The run's final state with its name and sentence; Prefect hands the caller the result in it."""
    result = FlowResult.of(record, verdict, released)
    result.publish()
    name = "Completed" if verdict == "accepted" else "Rejected"
    runner.complete(name)
    told = f"{result.sentence().rstrip('.')}. {_what_stays(result.stays)}".strip()
    return Completed(name=name, message=told, data=result)


def _what_stays(stays: str) -> str:
    """What a run leaves, a sentence and a blank; empty where it got to nothing."""
    return f"What stays: {stays}. " if stays else ""


def _bad_end(
    error: Exception, runner: StageRunner, record: RunRecord, released: str, endpoints: Sequence[str]
) -> State[Any]:
    """The run's end for the person on call, as its page and as its state: where it failed, why, what it cost, what has been cleaned
    up and what stays."""
    why, stage, cost = redact(str(error)), runner.stage_of(error), spent(record)
    cancelled = isinstance(error, RunCancelled)
    how = runner.stop("Cancelled" if cancelled else "Failed", stage)
    stays = staying(record, endpoints)
    publish_bad_end(how, why, record, cost=cost, released=released, stays=stays)
    left = f"{_what_stays(stays)}Released: {released}."
    if cancelled:
        return _cancelled(f"{why} {left}")
    run_logger().error("Stage %s failed: %s", stage, why)
    trace = redact("".join(traceback.format_exception(error)))
    run_logger().log(logging.DEBUG if says_all(error) else logging.ERROR, "%s", trace)
    used = f"Used: {cost.sentence()}. " if cost else ""
    return Failed(message=f"Stage {stage or 'finetune'} failed: {why} {used}{left}", data=error)


def _cancelled(sentence: str, name: str = "Cancelled") -> State[Any]:
    """The end of a run that was not in turn, or found itself cancelled: Prefect lets that one end as nothing else."""
    return Cancelled(name=name, message=sentence)


if __name__ == "__main__":
    import sys

    from flows.__main__ import main  # as scripts call it: `python -m flows.finetune`

    raise SystemExit(main(["finetune", *sys.argv[1:]]))
