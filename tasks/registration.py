"""Registers the fine-tuned model with where it came from.

Promise: for one job there is at most one model version, whatever is retried, killed or answered late.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from pydantic import BaseModel, Field

from blocks import AzureMLWorkspace
from blocks.names import MODEL, ModelName
from tasks.artifacts import link, markdown_table, plain, publish_markdown
from tasks.azure_ml.errors import find
from tasks.azure_ml.studio import base_model_page, model_page
from tasks.form import ParameterGroup
from tasks.metrics import MetricReview
from tasks.naming import NIGHT_TAG, OUTPUT, RUN_TAG, RunNames, dated, first_version, run_id_of
from tasks.stage import run_logger, stage
from tasks.waiting import FinishedJob

if TYPE_CHECKING:
    from azure.ai.ml.entities import Model


class RegistrationParameters(ParameterGroup):
    """How the model is named."""

    name: ModelName | None = Field(
        None,
        title="Model name",
        description=f"What the registered model is called. {MODEL.bounds} Default: the base model's and the dataset's, with dashes "
        "for dots: Phi-3-mini-4k-instruct-ultrachat-200k.",
    )
    description: str | None = Field(
        None,
        max_length=4000,
        title="Description",
        description="What the registered model's page says of it. Default: base model, data and purpose.",
        examples=["Answers in the bank's own words"],
    )


class RegisteredModel(BaseModel):
    """What the workspace now holds."""

    id: str
    name: str
    version: str
    tags: dict[str, str]


class OutputMissing(Exception):
    """The job completed, but its output holds no MLflow model."""


@stage
def register_model(
    workspace: AzureMLWorkspace,
    names: RunNames,
    job: FinishedJob,
    review: MetricReview,
    name: str,
    description: str,
) -> RegisteredModel:
    """Registers the output `trained_model` of `job` as a version of `name`, or finds it registered.

    Raises:
        OutputMissing: the output holds no MLmodel file.
    """
    found = _of_job(workspace, name, job.name)
    if found is None:
        require_mlmodel(workspace, job.name)
        first = first_version(_night(job) or names.night or datetime.now(UTC))
        found = _register(workspace, name, first, description, _lineage(names, job, review), job.name)
    run_logger().info("Registered %s version %s.", found.name, dated(str(found.version)))
    tags = {str(key): str(value) for key, value in (found.tags or {}).items()}
    registered = RegisteredModel(id=str(found.id), name=str(found.name), version=str(found.version), tags=tags)
    publish_markdown(
        "model-card",
        f"{name}, version {dated(registered.version)}",
        _card(registered, str(found.description), job.studio_url),
    )
    return registered


def _card(model: RegisteredModel, description: str, studio_url: str) -> str:
    """The model and where it came from. The tags hold the same, for machines."""
    tags = model.tags
    base = "/".join(tags.get("base_model", "unknown").split("/")[-3:])
    loss = [
        f"{tags[key]} {when}"
        for key, when in (("eval_loss_before", "before training"), ("eval_loss", "after"))
        if key in tags
    ]
    rows = {
        "Model": link(
            f"{model.name}, version {dated(model.version)}", model_page(studio_url, model.name, model.version)
        ),
        "Base model": link(
            base.replace("/versions/", ", version "), base_model_page(studio_url, tags.get("base_model", ""))
        ),
        "Trained by job": link(tags.get("job", "unknown"), studio_url),
        "Component": "/".join(tags.get("component", "unknown").split("/")[-3:]).replace("/versions/", ", version "),
        "Data": f"`{tags.get('data_source', 'unknown')}`",
        "Data revision": f"`{tags.get('data_revision', 'unknown')[:40]}`",
        "Data SHA-256": f"`{tags.get('data_sha256', 'unknown')}`",
        "Flow run": f"`{tags.get(RUN_TAG, 'unknown')}`",
        "Git commit": _commit(tags.get("git_commit")),
        "Validation loss": ", ".join(loss) or "not measured",
        "Training loss": tags.get("train_loss", "not measured"),
    }
    return (
        f"# {plain(model.name)}\n\n{plain(description)}\n\n{markdown_table(('Where it came from', ''), rows.items())}"
    )


def _commit(commit: str | None) -> str:
    if commit is None:
        return "unknown: the run was in no git checkout"
    clean = commit.removesuffix("-dirty")
    return f"`{commit}`" if clean == commit else f"`{clean}`, with changes that are in no commit"


def require_mlmodel(workspace: AzureMLWorkspace, job: str) -> None:
    """Looks for the one file that makes a folder an MLflow model; Azure itself registers any path unseen."""
    datastore, path = _output_folder(workspace, job)
    blob = f"{path.rstrip('/')}/MLmodel"
    if not _container(workspace, datastore).get_blob_client(blob).exists():
        raise OutputMissing(
            f"Job {job} completed, but its output {OUTPUT} has no MLmodel file (looked for {blob} in datastore {datastore}). "
            "Nothing was registered. Look at the last step's log in Azure ML studio."
        )


def _night(job: FinishedJob) -> datetime | None:
    """For when the run was scheduled that submitted the job; older releases did not say."""
    try:
        return datetime.fromisoformat(job.tags[NIGHT_TAG])
    except (KeyError, ValueError):
        return None


def _of_job(workspace: AzureMLWorkspace, name: str, job: str) -> Model | None:
    """The version that was made from `job`, whatever it is called: the answer to its registration may have been lost."""
    return find(lambda: next((its for its in workspace.client().models.list(name=name) if _made_from(its, job)), None))


def version_of_run(workspace: AzureMLWorkspace, name: str, run_id: UUID) -> str | None:
    """The version of model `name` that the run registered; None if it did not."""
    versions = find(lambda: list(workspace.client().models.list(name=name))) or []
    return next((str(its.version) for its in versions if run_id_of(its.tags) == run_id), None)


def _made_from(version: Model, job: str) -> bool:
    return (version.tags or {}).get("job") == job


def _find(workspace: AzureMLWorkspace, name: str, version: str) -> Model | None:
    return find(lambda: workspace.client().models.get(name, version=version))


def _register(
    workspace: AzureMLWorkspace, name: str, first: int, description: str, tags: dict[str, str], job: str
) -> Model:
    """The job's output as version `first`, or as the next one up that no other job's holds."""
    version = first
    while True:
        held = _find(workspace, name, str(version))
        if held is None:
            try:
                return _create(workspace, name, str(version), description, tags, job)
            except Exception:
                # Of two runs that register at once, the later is refused: a version's path is for good.
                held = _find(workspace, name, str(version))
                if held is None:
                    raise
        if _made_from(held, job):
            return held
        version += 1


def _create(
    workspace: AzureMLWorkspace, name: str, version: str, description: str, tags: dict[str, str], job: str
) -> Model:
    from azure.ai.ml.constants import AssetTypes
    from azure.ai.ml.entities import Model

    registered: Model = workspace.client().models.create_or_update(
        Model(
            path=f"azureml://jobs/{job}/outputs/{OUTPUT}",
            type=AssetTypes.MLFLOW_MODEL,
            name=name,
            version=version,
            description=description,
            tags=tags,
        )
    )
    return registered


def _lineage(names: RunNames, job: FinishedJob, review: MetricReview) -> dict[str, str]:
    """Who, from what, with which result. The job's own tags say from what, since it may have been adopted."""
    measured = {
        "eval_loss": review.eval_loss,
        "eval_loss_before": review.eval_loss_before,
        "train_loss": review.train_loss,
    }
    return {
        **job.tags,
        **names.tags(),
        "job": job.name,
        **{key: f"{value:.6g}" for key, value in measured.items() if value is not None},
    }


def _output_folder(workspace: AzureMLWorkspace, job: str) -> tuple[str, str]:
    """Datastore and path of the job's model folder: as the job says, else where Azure ML puts named outputs."""
    output = workspace.client().jobs.get(job).outputs[OUTPUT]
    found = re.search(r"/?datastores/(?P<datastore>[^/]+)/paths/(?P<path>.+)$", str(getattr(output, "path", "") or ""))
    if found:
        return found["datastore"], found["path"]
    return str(workspace.client().datastores.get_default().name), f"azureml/{job}/{OUTPUT}"


def _container(workspace: AzureMLWorkspace, datastore: str) -> Any:
    """The datastore's container, opened with its own key or signature where it has one, else as the block's identity."""
    from azure.storage.blob import ContainerClient

    store = workspace.client().datastores.get(datastore, include_secrets=True)
    secret = getattr(store.credentials, "sas_token", None) or getattr(store.credentials, "account_key", None)
    return ContainerClient(
        f"https://{store.account_name}.blob.{_storage_suffix(workspace, store.endpoint)}",
        store.container_name,
        credential=secret or workspace.credentials.credential(),
    )


def _storage_suffix(workspace: AzureMLWorkspace, endpoint: str | None) -> str:
    return endpoint or workspace.credentials.endpoints.storage_suffix
