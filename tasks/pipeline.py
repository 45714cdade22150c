"""Submits the fine-tuning pipeline.

Promise: for one run there is at most one job that is alive or has completed, whatever is retried, killed or answered
late. A job that is found is taken over; one that failed gets a numbered successor, which goes on from its checkpoint.
"""

from __future__ import annotations

import json
from hashlib import sha256
from threading import Lock
from typing import TYPE_CHECKING, Any, cast

from pydantic import BaseModel, Field

from blocks import AzureMLWorkspace
from blocks.names import COMPONENT, EXPERIMENT, ComponentName, ExperimentName
from tasks.artifacts import publish_table
from tasks.azure_ml.errors import InvalidConfiguration, is_not_found
from tasks.azure_ml.foundation import FoundationModel
from tasks.azure_ml.states import CANCELLING, ENDED_BADLY, word
from tasks.compute import ValidatedCompute
from tasks.cost import machines_tag
from tasks.forecast import Forecast, forecast_learning
from tasks.form import ParameterGroup
from tasks.jobs import JobFailed, attempts, studio_url, take_over
from tasks.naming import NIGHT_TAG, OUTPUT, RunNames, dataset_word, experiment_name
from tasks.parameters import DEFAULTS, DeclaredInput, MergedParameter, TrainingParameters, display_name, merge
from tasks.release import cancel_job
from tasks.sampling.assets import register_data_assets
from tasks.sampling.results import SampledDataset
from tasks.stage import run_logger, stage

if TYPE_CHECKING:
    from azure.ai.ml.entities import Component, Job, PipelineJob

CHECKPOINTS, RESUME = "pytorch_model_folder", "resume_from_checkpoint"
"""The component's output that holds the checkpoints while it trains, and the input that makes it look for them there."""

_BUILDING = Lock()
"""The SDK's pipeline builder gathers nodes on one stack for the whole process: runs in threads would take each other's."""


class PipelineParameters(ParameterGroup):
    """Which pipeline trains, under which experiment, and how long it may take."""

    component: ComponentName = Field(
        "chat_completion_pipeline",
        title="Component",
        description=f"The registry's pipeline component. {COMPONENT.bounds}",
    )
    component_version: str | None = Field(
        None,
        title="Component version",
        description="The pipeline component's version. Default: the latest. The run records which it was.",
        examples=["0.0.65"],
    )
    experiment: ExperimentName | None = Field(
        None,
        title="Experiment",
        description=f"The experiment that the job is listed under. {EXPERIMENT.bounds} Default: `chat_completion_` "
        "and the model's name, with dashes for dots.",
    )
    max_attempts: int = Field(
        3,
        ge=1,
        le=20,
        title="Most jobs",
        description="How many jobs one run may submit: a successor is submitted after a pre-emption, or when a failed run is "
        "retried.",
    )
    deadline_hours: float = Field(
        48.0,
        gt=0,
        le=720,
        title="Deadline (hours)",
        description="Hours after which a job that has not ended is cancelled, and the run fails. From when the run began to watch "
        "it; a successor has as long again.",
    )
    stuck_after_minutes: float = Field(
        240.0,
        gt=0,
        title="Stuck after (minutes)",
        description="A job that shows no new state, step or metric for so many minutes is cancelled, and the run fails.",
    )
    tolerate_errors_minutes: float = Field(
        20.0,
        gt=0,
        le=1440,
        title="Tolerate errors (minutes)",
        description="For how many minutes Azure may fail to answer while the job is watched, before the run fails and cancels it. "
        "Raise it where the network is poor.",
    )


class SubmittedJob(BaseModel):
    """The run's job."""

    name: str
    attempt: int
    adopted: bool
    """Whether it was there already: submitted by an earlier try of this run, or by the run that `resume_run` names."""
    display_name: str
    experiment: str
    studio_url: str
    tags: dict[str, str]
    """What the job was made from: base model, component, data. Written at submission, so true of an adopted job too."""
    parameters: list[MergedParameter]
    """What was passed on, and why; empty for an adopted job."""
    forecast: Forecast = Forecast()
    """What it can learn at most."""


@stage
def submit_pipeline(
    workspace: AzureMLWorkspace,
    names: RunNames,
    model: FoundationModel,
    compute: ValidatedCompute,
    data: SampledDataset,
    training: TrainingParameters,
    choice: PipelineParameters,
    tokenizer: str | None = None,
) -> SubmittedJob:
    """Finds the run's job or submits it, after it has told what can be learnt: by `tokenizer`, a tokenizer.json or its
    folder, else by the model's own.

    Raises:
        InvalidConfiguration: a parameter is not one the component takes, there is no such component, or no job to go on with.
        JobTaken: the job is that of a run that is not over.
        JobFailed: the run has had as many jobs as it may.
    """
    found = attempts(workspace, names)
    if found and word(found[-1].status) == CANCELLING:
        run_logger().info("Job %s is being cancelled: waiting for its end.", found[-1].name)
        cancel_job(workspace, str(found[-1].name), run_logger(), of=names.run_id)
        found = attempts(workspace, names)
    if found and word(found[-1].status) not in ENDED_BADLY:
        run_logger().info("Job %s is there already (%s): taking it over.", found[-1].name, word(found[-1].status))
        job = take_over(workspace, found[-1], names)
        forecast = forecast_learning(workspace, model, data, tokenizer, job.tags or {})
        return _describe(job, len(found), adopted=True, parameters=[], forecast=forecast)
    if names.resume_run and not found:
        raise InvalidConfiguration(
            f"Flow run {names.resume_run} has no job in workspace {workspace.workspace_name}: there is no such run, it ended "
            "before it could submit one, or it worked elsewhere. Nothing was trained. Leave resume_run empty to train anew."
        )
    if len(found) >= choice.max_attempts:
        raise JobFailed(
            f"Job {found[-1].name} ended as {word(found[-1].status)}, and the run may submit no more than {choice.max_attempts} "
            f"(pipeline.max_attempts). See {studio_url(found[-1])}."
        )
    component = _component(workspace, choice)
    declared = {name: _declared(spec) for name, spec in component.inputs.items()}
    parameters = _merged(declared, training, model)
    publish_table("parameters", "Training parameters and where each is from", [row.model_dump() for row in parameters])
    for row in parameters:
        if not row.passed:
            run_logger().warning("Parameter %s of the model is left out: %s.", row.name, row.note)
    values = {row.name: row.value for row in parameters if row.passed}
    tags = names.tags(
        base_model=model.id,
        component=str(component.id),
        data_source=data.source,
        data_revision=data.revision,
        data_sha256=data.sha256,
        machines=machines_tag(compute.nodes, compute.size, compute.tier),
        max_seq_length=str(values.get("max_seq_length", -1)),
        **({NIGHT_TAG: f"{names.night:%Y-%m-%dT%H:%M:%SZ}"} if names.night else {}),
    )
    forecast = forecast_learning(workspace, model, data, tokenizer, tags)
    assets = register_data_assets(workspace.client(), data)
    checkpoints = _checkpoints(names, component, values, model, compute, data)
    job = _build(component, declared, values, model, compute, data, assets, checkpoints)
    job.name = names.job(len(found) + 1)
    job.tags = tags
    experiment = choice.experiment or experiment_name(model.name)
    submitted = workspace.client().jobs.create_or_update(job, experiment_name=experiment)
    # Azure's answer leaves them out, and the SDK has put the commit into them.
    submitted.properties = {**job.properties, **(submitted.properties or {})}
    run_logger().info("Submitted job %s (%s): %s", submitted.name, submitted.display_name, studio_url(submitted))
    return _describe(submitted, len(found) + 1, adopted=False, parameters=parameters, forecast=forecast)


@stage
def settle_parameters(
    workspace: AzureMLWorkspace, model: FoundationModel | None, training: TrainingParameters, choice: PipelineParameters
) -> list[MergedParameter]:
    """What would be passed on to the component, and who decided. `model`: None where it is not known; then its publisher's defaults
    are not among them.

    Raises:
        InvalidConfiguration: a parameter is not one the component takes, or there is no such component.
    """
    component = _component(workspace, choice)
    return _merged({name: _declared(spec) for name, spec in component.inputs.items()}, training, model)


def _merged(
    declared: dict[str, DeclaredInput], training: TrainingParameters, model: FoundationModel | None
) -> list[MergedParameter]:
    defaults = DEFAULTS | ({RESUME: True} if RESUME in declared else {})
    return merge(declared, training.explicit(), model.defaults if model else {}, defaults)


def _component(workspace: AzureMLWorkspace, choice: PipelineParameters) -> Component:
    components = workspace.registry_client().components
    try:
        if choice.component_version:
            return cast("Component", components.get(choice.component, version=choice.component_version))
        return cast("Component", components.get(choice.component, label="latest"))
    except Exception as error:
        if is_not_found(error):
            raise InvalidConfiguration(
                f"Registry {workspace.registry_name} has no component {choice.component} version "
                f"{choice.component_version or 'latest'}. Correct pipeline.component or pipeline.component_version."
            ) from error
        raise


def _declared(spec: Any) -> DeclaredInput:
    """One of the component's inputs. The registry writes its bounds as strings."""
    return DeclaredInput(
        type=str(spec.type),
        enum=list(spec.enum) if getattr(spec, "enum", None) else None,
        min=_number(getattr(spec, "min", None)),
        max=_number(getattr(spec, "max", None)),
    )


def _number(value: Any) -> float | None:
    return None if value in (None, "") else float(value)


def _checkpoints(
    names: RunNames,
    component: Component,
    values: dict[str, Any],
    model: FoundationModel,
    compute: ValidatedCompute,
    data: SampledDataset,
) -> str:
    """Where the run's jobs keep their checkpoints: one folder for all attempts, as long as they train the same thing."""
    trained = [str(component.id), model.id, data.sha256, compute.gpus_per_node, values]
    fingerprint = sha256(json.dumps(trained, sort_keys=True).encode()).hexdigest()[:12]
    return f"azureml://datastores/workspaceblobstore/paths/finetune/{names.job(1)}/{fingerprint}"


def _build(
    component: Component,
    declared: dict[str, DeclaredInput],
    values: dict[str, Any],
    model: FoundationModel,
    compute: ValidatedCompute,
    data: SampledDataset,
    assets: dict[str, str],
    checkpoints: str,
) -> PipelineJob:
    """The pipeline of the reference notebook: one registry component, its model folder as the job's `trained_model`.

    `assets` has the data asset of each purpose; the split to score is the flow's own. `checkpoints` is where the component's
    folder of checkpoints lies, mounted, so that they outlive the job.
    """
    from azure.ai.ml import Input, Output
    from azure.ai.ml.dsl import pipeline

    files = {f"{purpose}_file_path": asset for purpose, asset in assets.items() if purpose != "score"}
    inputs: dict[str, Any] = {
        "mlflow_model_path": model.id,
        "number_of_gpu_to_use_finetuning": compute.gpus_per_node,
        **{name: compute.cluster for name in declared if name.startswith("compute_")},
        **{name: Input(type="uri_file", path=asset) for name, asset in files.items()},
        **values,
    }
    inputs = {name: value for name, value in inputs.items() if name in declared}
    shown = display_name(model.name, dataset_word(data.source), values, compute.gpus_per_node)

    @pipeline(None, name=shown)
    def create_pipeline() -> dict[str, Any]:
        chat_completion_pipeline = component(**inputs)
        outputs = {OUTPUT: chat_completion_pipeline.outputs.mlflow_model_folder}
        if CHECKPOINTS in component.outputs:
            outputs[CHECKPOINTS] = chat_completion_pipeline.outputs[CHECKPOINTS]
        return outputs

    with _BUILDING:
        job = create_pipeline()
    if CHECKPOINTS in component.outputs:
        job.outputs[CHECKPOINTS] = Output(type="uri_folder", path=checkpoints, mode="rw_mount")
    assert job.settings is not None
    job.settings.force_rerun = True
    job.settings.continue_on_step_failure = False
    return job


def _describe(
    job: Job, attempt: int, *, adopted: bool, parameters: list[MergedParameter], forecast: Forecast
) -> SubmittedJob:
    properties = job.properties or {}
    commit = properties.get("mlflow.source.git.commit") or properties.get("azureml.git.commit")
    if commit and str(properties.get("azureml.git.dirty")).lower() == "true":
        # As `git describe --dirty` has it, and so the deployment's version.
        commit += "-dirty"
    return SubmittedJob(
        name=str(job.name),
        attempt=attempt,
        adopted=adopted,
        display_name=str(job.display_name or job.name),
        experiment=str(job.experiment_name or ""),
        studio_url=studio_url(job),
        tags={**(job.tags or {}), **({"git_commit": commit} if commit else {})},
        parameters=parameters,
        forecast=forecast,
    )
