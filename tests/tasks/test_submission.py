"""One job per run, whatever happens to the answer."""

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import pytest
from azure.ai.ml.exceptions import JobParsingError

from blocks import AzureMLWorkspace
from tasks.compute import ComputeChoice, ValidatedCompute, validate_compute
from tasks.errors import AzureFailure
from tasks.jobs import CANCELLING, JobFailed, find_job
from tasks.models import FoundationModel
from tasks.naming import RUN_TAG, RunNames, run_id_of
from tasks.orphans import unproven
from tasks.parameters import TrainingParameters
from tasks.pipeline import PipelineChoice, SubmittedJob, submit_pipeline
from tasks.sampling.parameters import DatasetSampling
from tasks.sampling.results import SampledDataset
from tasks.sampling.sample import sample
from tasks.states import word
from tasks.teardown import release
from tests.deployments.operated import until
from tests.emulated import Emulator, command_line
from tests.emulator.jobs.test_refusals import put, step
from tests.processes import alive_where
from tests.tasks.dataset.made import dataset


@pytest.fixture(scope="module")
def compute(workspace: AzureMLWorkspace, foundation: FoundationModel) -> ValidatedCompute:
    return validate_compute.fn(workspace, foundation, ComputeChoice(cluster="for-submissions"), 1, None)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> SampledDataset:
    folder = tmp_path_factory.mktemp("data")
    return sample(DatasetSampling(source=str(dataset(folder / "made", rows=30)), percent=100), folder / "sampled")


class Submitter:
    """One run that submits, and can submit again."""

    def __init__(
        self, workspace: AzureMLWorkspace, foundation: FoundationModel, compute: ValidatedCompute, data: SampledDataset
    ) -> None:
        self.workspace, self.names = workspace, RunNames(uuid4())
        self._made_from = (foundation, compute, data)

    def submit(self, choice: PipelineChoice | None = None, training: TrainingParameters | None = None) -> SubmittedJob:
        slow = training or TrainingParameters(num_train_epochs=500)
        return submit_pipeline.fn(self.workspace, self.names, *self._made_from, slow, choice or PipelineChoice())

    def status(self, attempt: int = 1) -> str:
        job = find_job(self.workspace, self.names.job(attempt))
        return word(job.status) if job else ""

    def wait(self, *statuses: str) -> None:
        """Until the first job's status is one of them."""
        until(lambda: self.status() in statuses)

    def jobs(self) -> list[str]:
        readable = [job for job in self.workspace.client().jobs.list() if job is not None]
        return sorted(str(job.name) for job in readable if run_id_of(job.tags) == self.names.run_id)


@pytest.fixture
def another(
    workspace: AzureMLWorkspace, foundation: FoundationModel, compute: ValidatedCompute, data: SampledDataset
) -> Iterator[Callable[[], Submitter]]:
    """Makes runs; what they have submitted is cancelled afterwards."""
    made: list[Submitter] = []

    def make() -> Submitter:
        made.append(Submitter(workspace, foundation, compute, data))
        return made[-1]

    yield make
    for submitter in made:
        release(workspace, submitter.names.run_id, submitter.names.job_key)


@pytest.fixture
def run(another: Callable[[], Submitter]) -> Submitter:
    return another()


@pytest.fixture
def fault(emulator: Emulator) -> Iterator[object]:
    """Adds a fault for the writing of a job."""

    def add(effect: dict[str, object]) -> None:
        rule = {"match": {"method": "PUT", "path": "*/jobs/*"}, "effect": effect}
        command_line("faults", "add", "--state", str(emulator.state), json.dumps(rule))

    yield add
    command_line("faults", "clear", "--state", str(emulator.state))


@pytest.mark.parametrize(
    ("dirty", "told"), [("True", "0a1b2c-dirty"), ("False", "0a1b2c")], ids=["uncommitted changes", "committed"]
)
def test_a_commit_with_changes_is_told_as_that(
    run: Submitter, monkeypatch: pytest.MonkeyPatch, dirty: str, told: str
) -> None:
    monkeypatch.setenv("AZUREML_GIT_COMMIT", "0a1b2c")
    monkeypatch.setenv("AZUREML_GIT_DIRTY", dirty)
    assert run.submit().tags["git_commit"] == told
    assert run.submit().tags["git_commit"] == told, "also where the job is taken over"


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


def test_what_was_asked_for_reaches_azure(run: Submitter, foundation: FoundationModel) -> None:
    submitted = run.submit(training=TrainingParameters(num_train_epochs=400, apply_lora=False, seed=7))
    job = find_job(run.workspace, submitted.name)
    assert job is not None
    inputs = job.jobs["chat_completion_pipeline"].inputs
    assert str(inputs["num_train_epochs"]._data) == "400"
    assert str(inputs["apply_lora"]._data) == "false"
    assert {"train_file_path", "validation_file_path", "test_file_path", "compute_finetune"} <= set(inputs)
    assert job.display_name.startswith(f"{foundation.name}-made-bs4-cosine-ds2-nolora-")
    assert job.experiment_name == f"chat_completion_{foundation.name}"
    assert job.settings.force_rerun is True
    assert job.settings.continue_on_step_failure is False


def test_a_sample_that_has_not_changed_is_uploaded_once(
    run: Submitter, another: Callable[[], Submitter], emulator: Emulator, data: SampledDataset
) -> None:
    run.submit()
    before = emulator.log.count("/train.jsonl 201")
    another().submit()
    assert emulator.log.count("/train.jsonl 201") == before
    assert Path(data.train.path).exists()


QUICK = TrainingParameters(max_steps=1, evaluation_strategy="disable")


def test_a_job_whose_steps_are_queued_is_taken_over(run: Submitter, another: Callable[[], Submitter]) -> None:
    another().submit()
    client = run.workspace.client()
    job = run.submit().name

    def queued() -> bool:
        children = [str(child.name) for child in client.jobs.list(parent_job_name=job)]
        return "Queued" in [step.status for child in children for step in client.jobs.list(parent_job_name=child)]

    until(queued)
    again = run.submit()
    assert (again.name, again.adopted) == (run.names.job(1), True)
    assert run.jobs() == [run.names.job(1)]


def test_a_completed_job_is_taken_over(run: Submitter) -> None:
    run.submit(training=QUICK)
    run.wait("Completed")
    again = run.submit()
    assert (again.name, again.adopted) == (run.names.job(1), True)
    assert run.jobs() == [run.names.job(1)]


def test_a_failed_job_gets_a_successor_and_only_one(run: Submitter, fault: object) -> None:
    fault({"kind": "step_failed"})  # type: ignore[operator]
    run.submit(training=QUICK)
    run.wait("Failed")
    successor, again = run.submit(), run.submit()
    assert (successor.name, successor.adopted) == (run.names.job(2), False)
    assert (again.name, again.adopted) == (run.names.job(2), True)
    assert run.jobs() == [run.names.job(1), run.names.job(2)]


def test_a_job_that_is_being_cancelled_is_waited_for_before_its_successor(run: Submitter, emulator: Emulator) -> None:
    job = run.submit().name
    until(lambda: steps_of(emulator, job))
    for process in steps_of(emulator, job):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.suspend()  # so that it takes the emulator's whole grace to end
    run.workspace.client().jobs.begin_cancel(job)
    run.wait(CANCELLING, "Canceled")
    assert run.submit().name == run.names.job(2)
    assert run.status(1) == "Canceled"
    assert run.jobs() == [run.names.job(1), run.names.job(2)]


def steps_of(emulator: Emulator, job: str) -> list[psutil.Process]:
    """The processes that do the work of a job."""

    def works(process: psutil.Process) -> bool:
        supervises = any("supervisor" in word for word in process.cmdline())
        return process.environ().get("AZUREML_ROOT_RUN_ID") == job and not supervises

    return alive_where(works, psutil.Process(emulator.running.pid).children(recursive=True))


def test_a_running_job_that_another_run_takes_over_is_that_runs_to_cancel(
    run: Submitter, another: Callable[[], Submitter]
) -> None:
    first = run.submit()
    run.wait("Running")
    other = another()
    other.names = RunNames(other.names.run_id, job_key=str(run.names.run_id))
    taken = other.submit()
    assert (taken.name, taken.adopted) == (first.name, True)
    assert (run.jobs(), other.jobs()) == ([], [first.name])

    assert release(run.workspace, run.names.run_id).cancelled_jobs == []
    assert run.status() == "Running"
    assert release(run.workspace, other.names.run_id, other.names.job_key).cancelled_jobs == [first.name]
    assert run.status() == "Canceled"


def test_a_job_whose_tags_somebody_overwrote_is_told_and_cancelled_by_its_own_run(run: Submitter) -> None:
    first = run.submit()
    run.wait("Running")
    run.workspace.client().jobs.update(first.name, tags={RUN_TAG: "", "owner": "team-a"})
    job = find_job(run.workspace, first.name)
    assert job is not None and run_id_of(job.tags) is None
    assert [sentence for sentence in unproven(run.workspace) if first.name in sentence] == [
        f"Job {first.name} looks like a run's (it is called as only runs call theirs), but its tags have been overwritten. Cancel "
        "it if nobody waits for it."
    ]
    assert release(run.workspace, run.names.run_id).cancelled_jobs == [first.name]


def test_all_jobs_of_a_run_share_a_folder_for_checkpoints_as_long_as_they_train_the_same(run: Submitter) -> None:
    from azure.ai.ml.entities import PipelineJob

    def checkpoints(attempt: int) -> str:
        job = find_job(run.workspace, run.names.job(attempt))
        assert isinstance(job, PipelineJob)
        folder: Any = job.outputs["pytorch_model_folder"]
        assert folder.mode == "rw_mount"
        assert str(job.jobs["chat_completion_pipeline"].inputs["resume_from_checkpoint"]._data) == "true"
        return str(folder.path)

    for training in (None, None, TrainingParameters(num_train_epochs=400)):
        run.submit(training=training)
        release(run.workspace, run.names.run_id)
    assert f"/paths/finetune/{run.names.job(1)}/" in checkpoints(1)
    assert checkpoints(2) == checkpoints(1)
    assert checkpoints(3) != checkpoints(1)


def test_a_job_that_the_sdk_cannot_read_is_not_taken_for_an_absent_one(run: Submitter, emulator: Emulator) -> None:
    unreadable = Submitter(run.workspace, *run._made_from)  # not released: nobody could
    name = unreadable.names.job(1)
    assert put(emulator, name, step()).status_code == 201
    with pytest.raises(JobParsingError):
        run.workspace.client().jobs.get(name)
    with pytest.raises(AzureFailure):
        unreadable.submit()
    assert unreadable.status(2) == ""
