"""What is registered: a job's MLflow model and nothing else, with whose it is and from which night."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from azure.ai.ml import Output
from azure.ai.ml.entities import Model

from blocks import AzureMLWorkspace
from tasks.metrics import MetricReview
from tasks.naming import NIGHT_TAG, OUTPUT, RUN_TAG, RunNames, first_version
from tasks.registration import OutputMissing, RegisteredModel, register_model
from tasks.waiting import FinishedJob
from tests.emulator.jobs.commands import line, wait

NIGHT, LATER = datetime(2026, 11, 27, 2, tzinfo=UTC), datetime(2026, 11, 28, 2, tzinfo=UTC)
REVIEW = MetricReview(
    eval_loss_before=2.0, eval_loss=1.5, train_loss=None, steps=1, champion=None, accepted=True, reasons=[]
)


def finished(workspace: AzureMLWorkspace, file: str, **tags: str) -> FinishedJob:
    """A job that has written `file` into its output."""
    command: Any = line(f"touch ${{{{outputs.{OUTPUT}}}}}/{file}", outputs={OUTPUT: Output(type="uri_folder")})
    name = str(workspace.client().jobs.create_or_update(command).name)
    assert wait(workspace.client(), name) == "Completed"
    return FinishedJob(name=name, attempt=1, seconds=1, steps=[], metrics={}, tags=tags, studio_url="")


def registered(workspace: AzureMLWorkspace, names: RunNames, job: FinishedJob) -> RegisteredModel:
    return register_model.fn(workspace, names, job, REVIEW, f"of-{job.name}", "What it is")  # type: ignore[no-any-return]


def test_an_output_without_a_model_is_not_registered(workspace: AzureMLWorkspace) -> None:
    job = finished(workspace, "weights.bin")
    with pytest.raises(OutputMissing, match=f"Job {job.name} completed, but its output {OUTPUT} has no MLmodel file"):
        registered(workspace, RunNames(uuid4()), job)
    assert job.name not in {str(model.name).removeprefix("of-") for model in workspace.client().models.list()}


def test_a_job_that_another_run_submitted_is_registered_as_of_its_night_and_as_the_runs_own(
    workspace: AzureMLWorkspace,
) -> None:
    names = RunNames(uuid4(), night=LATER)
    job = finished(workspace, "MLmodel", **{NIGHT_TAG: NIGHT.isoformat(), RUN_TAG: str(uuid4()), "data_sha256": "s"})
    made = registered(workspace, names, job)
    assert made.version == str(first_version(NIGHT))
    assert made.tags[RUN_TAG] == str(names.run_id)
    assert (made.tags["job"], made.tags["data_sha256"]) == (job.name, "s")
    assert (made.tags["eval_loss_before"], made.tags["eval_loss"], "train_loss" in made.tags) == ("2", "1.5", False)
    assert registered(workspace, RunNames(uuid4()), job) == made


def test_a_job_that_does_not_say_its_night_is_of_the_runs(workspace: AzureMLWorkspace) -> None:
    made = registered(workspace, RunNames(uuid4(), night=LATER), finished(workspace, "MLmodel"))
    assert made.version == str(first_version(LATER))


def test_a_version_that_was_made_from_another_job_is_not_this_ones(workspace: AzureMLWorkspace, tmp_path: Path) -> None:
    job = finished(workspace, "MLmodel", **{NIGHT_TAG: NIGHT.isoformat()})
    (tmp_path / "MLmodel").write_text("flavors: {}\n")
    first = first_version(NIGHT)
    held = Model(
        name=f"of-{job.name}", version=str(first), path=str(tmp_path), type="mlflow_model", tags={"job": "another"}
    )
    workspace.client().models.create_or_update(held)
    made = registered(workspace, RunNames(uuid4()), job)
    assert (made.version, made.tags["job"]) == (str(first + 1), job.name)
