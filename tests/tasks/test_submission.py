"""One job per run, whatever happens to the answer."""

import json
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from blocks import AzureMLWorkspace
from tasks.compute import ComputeChoice, ValidatedCompute, validate_compute
from tasks.jobs import JobFailed, find_job
from tasks.models import FoundationModel, ModelChoice, find_foundation_model
from tasks.naming import RunNames, run_id_of
from tasks.parameters import TrainingParameters
from tasks.pipeline import PipelineChoice, SubmittedJob, submit_pipeline
from tasks.sampling.parameters import DatasetSampling
from tasks.sampling.results import SampledDataset
from tasks.sampling.sample import sample
from tasks.states import word
from tasks.teardown import release
from tests.emulated import Emulator, command_line
from tests.tasks.dataset.made import dataset


@pytest.fixture(scope="module")
def model(workspace: AzureMLWorkspace) -> FoundationModel:
    return find_foundation_model.fn(workspace, ModelChoice())


@pytest.fixture(scope="module")
def compute(workspace: AzureMLWorkspace, model: FoundationModel) -> ValidatedCompute:
    return validate_compute.fn(workspace, model, ComputeChoice(cluster="for-submissions"), 1, None)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> SampledDataset:
    folder = tmp_path_factory.mktemp("data")
    return sample(DatasetSampling(source=str(dataset(folder / "made", rows=30)), percent=100), folder / "sampled")


class Submitter:
    """One run that submits, and can submit again."""

    def __init__(
        self, workspace: AzureMLWorkspace, model: FoundationModel, compute: ValidatedCompute, data: SampledDataset
    ) -> None:
        self.workspace, self.names = workspace, RunNames(uuid4())
        self._made_from = (model, compute, data)

    def submit(self, choice: PipelineChoice | None = None, training: TrainingParameters | None = None) -> SubmittedJob:
        slow = training or TrainingParameters(num_train_epochs=500)
        return submit_pipeline.fn(self.workspace, self.names, *self._made_from, slow, choice or PipelineChoice())

    def jobs(self) -> list[str]:
        readable = [job for job in self.workspace.client().jobs.list() if job is not None]
        return sorted(str(job.name) for job in readable if run_id_of(job.tags) == self.names.run_id)


@pytest.fixture
def run(
    workspace: AzureMLWorkspace, model: FoundationModel, compute: ValidatedCompute, data: SampledDataset
) -> Iterator[Submitter]:
    submitter = Submitter(workspace, model, compute, data)
    yield submitter
    release(workspace, submitter.names.run_id)


@pytest.fixture
def fault(emulator: Emulator) -> Iterator[object]:
    """Adds a fault for the writing of a job."""

    def add(effect: dict[str, object]) -> None:
        rule = {"match": {"method": "PUT", "path": "*/jobs/*"}, "effect": effect}
        command_line("faults", "add", "--state", str(emulator.state), json.dumps(rule))

    yield add
    command_line("faults", "clear", "--state", str(emulator.state))


@pytest.mark.parametrize(
    "effect",
    [
        {"kind": "reset_after"},
        {"kind": "reset_before"},
        {"kind": "status", "status": 503, "code": "ServiceUnavailable"},
        {"kind": "status", "status": 429, "code": "TooManyRequests", "retry_after": 1},
        {"kind": "status", "status": 409, "code": "Conflict"},
    ],
)
def test_trouble_while_submitting_makes_one_job(run: Submitter, fault: object, effect: dict[str, object]) -> None:
    fault(effect)  # type: ignore[operator]
    assert run.submit().name == run.names.job(1)
    assert run.jobs() == [run.names.job(1)]


def test_submitting_again_takes_over_the_job_and_a_successor_follows_a_bad_end(run: Submitter) -> None:
    first = run.submit()
    again = run.submit()
    assert (first.adopted, again.adopted) == (False, True)
    assert first.name == again.name
    assert again.tags["data_sha256"] == first.tags["data_sha256"]

    assert release(run.workspace, run.names.run_id).cancelled_jobs == [first.name]
    job = find_job(run.workspace, first.name)
    assert job is not None
    assert word(job.status) == "Canceled"

    successor = run.submit()
    assert (successor.name, successor.attempt) == (run.names.job(2), 2)
    assert release(run.workspace, run.names.run_id).cancelled_jobs == [successor.name]
    with pytest.raises(JobFailed, match="no more than 2"):
        run.submit(PipelineChoice(max_attempts=2))
    assert run.jobs() == [first.name, successor.name]


def test_what_was_asked_for_reaches_azure(run: Submitter, model: FoundationModel) -> None:
    submitted = run.submit(training=TrainingParameters(num_train_epochs=400, apply_lora=False, seed=7))
    job = find_job(run.workspace, submitted.name)
    assert job is not None
    inputs = job.jobs["chat_completion_pipeline"].inputs
    assert str(inputs["num_train_epochs"]._data) == "400"
    assert str(inputs["apply_lora"]._data) == "false"
    assert {"train_file_path", "validation_file_path", "test_file_path", "compute_finetune"} <= set(inputs)
    assert job.display_name.startswith(f"{model.name}-made-bs4-cosine-ds2-nolora-")
    assert job.experiment_name == f"chat_completion_{model.name}"
    assert job.settings.force_rerun is True
    assert job.settings.continue_on_step_failure is False


def test_a_sample_that_has_not_changed_is_uploaded_once(
    run: Submitter, emulator: Emulator, data: SampledDataset
) -> None:
    run.submit()
    before = emulator.log.count("/train_sft.jsonl 201")
    again = Submitter(run.workspace, *run._made_from)
    again.submit()
    release(run.workspace, again.names.run_id)
    assert emulator.log.count("/train_sft.jsonl 201") == before
    assert Path(data.train.path).exists()
