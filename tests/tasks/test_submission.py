"""One job per run, whatever happens to the answer."""

import contextlib
import json
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import psutil
import pytest
from azure.ai.ml.exceptions import JobParsingError
from prefect.client.schemas.objects import FlowRun
from prefect.states import AwaitingRetry, Crashed, Running, State, Suspended

import tasks.jobs
import tasks.release
from blocks import AzureMLWorkspace
from emulator.store import Store
from tasks.azure_ml.errors import AzureFailure, InvalidConfiguration
from tasks.azure_ml.foundation import FoundationModel
from tasks.azure_ml.states import CANCELLING, word
from tasks.compute import ComputeParameters, ValidatedCompute, validate_compute
from tasks.credentials import resolve_credentials
from tasks.jobs import JobFailed, JobStuck, JobTaken, find_job, take_over
from tasks.naming import RUN_TAG, RunNames, run_id_of
from tasks.orphans import unproven
from tasks.parameters import TrainingParameters
from tasks.pipeline import PipelineParameters, SubmittedJob, _build, _checkpoints, _declared, submit_pipeline
from tasks.release import cancel_job, release
from tasks.sampling.parameters import DatasetParameters
from tasks.sampling.results import SampledDataset
from tasks.sampling.sample import sample
from tasks.waiting import wait_for_pipeline
from tests.deployments.operated import until
from tests.emulated import ROOT, Emulator, command_line
from tests.emulator.jobs.test_refusals import put, step
from tests.partial import with_only
from tests.processes import alive_where
from tests.tasks.dataset.made import dataset


@pytest.fixture(scope="module")
def compute(workspace: AzureMLWorkspace, foundation: FoundationModel) -> ValidatedCompute:
    return validate_compute.fn(workspace, foundation, ComputeParameters(cluster="for-submissions"), 1, None)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> SampledDataset:
    folder = tmp_path_factory.mktemp("data")
    return sample(DatasetParameters(source=str(dataset(folder / "made", rows=30)), percent=100), folder / "sampled")


class Submitter:
    """One run that submits, and can submit again."""

    def __init__(
        self, workspace: AzureMLWorkspace, foundation: FoundationModel, compute: ValidatedCompute, data: SampledDataset
    ) -> None:
        self.workspace, self.names = workspace, RunNames(uuid4())
        self._made_from = (foundation, compute, data)

    def submit(
        self, choice: PipelineParameters | None = None, training: TrainingParameters | None = None
    ) -> SubmittedJob:
        slow = training or TrainingParameters(num_train_epochs=500)
        return submit_pipeline.fn(self.workspace, self.names, *self._made_from, slow, choice or PipelineParameters())

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
        release(workspace, submitter.names)


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
    try:
        submitted = run.submit()
    except AzureFailure as failure:
        assert failure.info.tries > 1, "what the SDK does not try again itself, Prefect does"
        submitted = run.submit()
    assert submitted.name == run.names.job(1)
    assert run.jobs() == [run.names.job(1)]


def test_submitting_again_takes_over_the_job_and_a_successor_follows_a_bad_end(run: Submitter) -> None:
    first = run.submit()
    again = run.submit()
    assert (first.adopted, again.adopted) == (False, True)
    assert first.name == again.name
    assert again.tags["data_sha256"] == first.tags["data_sha256"]

    assert release(run.workspace, run.names).cancelled_jobs == [first.name]
    job = find_job(run.workspace, first.name)
    assert job is not None
    assert word(job.status) == "Canceled"

    successor = run.submit()
    assert (successor.name, successor.attempt) == (run.names.job(2), 2)
    assert release(run.workspace, run.names).cancelled_jobs == [successor.name]
    with pytest.raises(JobFailed, match="no more than 2"):
        run.submit(PipelineParameters(max_attempts=2))
    assert run.jobs() == [first.name, successor.name]


def test_what_was_asked_for_reaches_azure(run: Submitter, foundation: FoundationModel) -> None:
    submitted = run.submit(training=TrainingParameters(num_train_epochs=400, apply_lora=False, seed=7))
    job: Any = find_job(run.workspace, submitted.name)
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


def test_a_completed_job_is_taken_over_also_from_a_run_that_nobody_knows(
    run: Submitter, another: Callable[[], Submitter], monkeypatch: pytest.MonkeyPatch
) -> None:
    run.submit(training=QUICK)
    run.wait("Completed")
    again = run.submit()
    assert (again.name, again.adopted) == (run.names.job(1), True)
    resumed = resumed_by(run, another, None, monkeypatch).submit()
    assert (resumed.name, resumed.adopted) == (run.names.job(1), True)
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
    assert (run.status(1), cancellations(emulator, job)) == ("Canceled", 1)
    assert run.jobs() == [run.names.job(1), run.names.job(2)]


def test_a_cancellation_that_shows_late_is_asked_for_once(
    run: Submitter, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = run.submit().name
    stale = [find_job(run.workspace, job)] * 3
    monkeypatch.setattr(tasks.release, "find_job", lambda *asked: stale.pop() if stale else find_job(*asked))
    assert cancel_job(run.workspace, job, logging.getLogger(), of=run.names.run_id) is True
    assert (run.status(), cancellations(emulator, job)) == ("Canceled", 1)


def test_a_job_that_is_gone_needs_no_cancelling(run: Submitter) -> None:
    assert cancel_job(run.workspace, run.names.job(1), logging.getLogger(), of=run.names.run_id) is True


def cancellations(emulator: Emulator, job: str) -> int:
    """How often the job was asked to end."""
    return sum(call["path"].endswith(f"/jobs/{job}/cancel") for call in emulator.ask("GET", "/calls"))


def steps_of(emulator: Emulator, job: str) -> list[psutil.Process]:
    """The processes that do the work of a job."""
    runs = [run["id"] for run in Store(emulator.state / "documents.sqlite").list("run") if run["root"] == job]
    noted = [emulator.state / "runs" / run / "process.json" for run in runs]
    leaders = {json.loads(file.read_text())["group"] for file in noted if file.exists()}
    return alive_where(lambda process: process.pid in leaders)


def resumed_by(
    run: Submitter, another: Callable[[], Submitter], state: State | None, patch: pytest.MonkeyPatch
) -> Submitter:  # type: ignore[type-arg]
    """Another run that goes on with the job of `run`, of which Prefect says that it is in `state`, or nothing."""
    known = None if state is None else FlowRun(id=run.names.run_id, flow_id=uuid4(), name="the first", state=state)
    patch.setattr(tasks.jobs, "read_run", lambda run_id: known if run_id == run.names.run_id else None)
    other = another()
    other.names = RunNames(other.names.run_id, resume_run=run.names.run_id)
    return other


@pytest.mark.parametrize(
    ("state", "says"),
    [
        (Running(), "belongs to flow run the first "),
        (Suspended(), "which is not over: it is Suspended. Nothing of it was touched."),
        (AwaitingRetry(), "which is not over: it is AwaitingRetry."),
        (None, "which this Prefect server does not know"),
    ],
)
def test_the_running_job_of_a_run_that_may_live_is_not_taken(
    run: Submitter,
    another: Callable[[], Submitter],
    monkeypatch: pytest.MonkeyPatch,
    state: State | None,  # type: ignore[type-arg]
    says: str,
) -> None:
    first = run.submit()
    run.wait("Running")
    other = resumed_by(run, another, state, monkeypatch)
    with pytest.raises(JobTaken, match=re.escape(says)):
        other.submit()
    assert release(run.workspace, other.names).cancelled_jobs == []
    assert (run.jobs(), run.status()) == ([first.name], "Running")


def test_a_run_that_had_no_job_leaves_none_to_go_on_with(run: Submitter, another: Callable[[], Submitter]) -> None:
    run.names = RunNames(run.names.run_id, resume_run=uuid4())
    with pytest.raises(
        InvalidConfiguration, match=f"Flow run {run.names.resume_run} has no job in workspace emulator-ws"
    ):
        run.submit()
    assert run.jobs() == []


def test_a_job_that_was_taken_over_is_left_by_who_waited_for_it(
    run: Submitter, another: Callable[[], Submitter], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = run.submit()
    run.wait("Running")
    where = resolve_credentials.fn(run.workspace)
    other = uuid4()
    run.workspace.client().jobs.update(mine.name, tags={RUN_TAG: str(other)})
    with pytest.raises(JobTaken, match=f"Flow run {other} has taken over job {mine.name}"):
        wait_for_pipeline.fn(run.workspace, where, mine, PipelineParameters())
    assert cancel_job(run.workspace, mine.name, logging.getLogger(), of=run.names.run_id) is False
    assert run.status() == "Running"
    assert cancel_job(run.workspace, mine.name, logging.getLogger(), of=other) is True
    assert run.status() == "Canceled"
    with pytest.raises(JobFailed, match="was cancelled in Azure"):
        wait_for_pipeline.fn(run.workspace, where, mine, PipelineParameters())


def test_a_running_job_that_another_run_takes_over_is_that_runs_to_cancel(
    run: Submitter, another: Callable[[], Submitter], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run.submit()
    run.wait("Running")
    other = resumed_by(run, another, Crashed(), monkeypatch)
    taken = other.submit()
    assert (taken.name, taken.adopted) == (first.name, True)
    assert (run.jobs(), other.jobs()) == ([], [first.name])

    assert release(run.workspace, run.names).cancelled_jobs == []
    assert run.status() == "Running"
    assert release(run.workspace, other.names).cancelled_jobs == [first.name]
    assert run.status() == "Canceled"


def test_a_job_whose_tags_somebody_overwrote_is_told_waited_for_and_cancelled_by_its_own_run(run: Submitter) -> None:
    first = run.submit()
    run.wait("Running")
    run.workspace.client().jobs.update(first.name, tags={RUN_TAG: "", "owner": "team-a"})
    job = find_job(run.workspace, first.name)
    assert job is not None and run_id_of(job.tags) is None
    assert [sentence for sentence in unproven(run.workspace) if first.name in sentence] == [
        f"Job {first.name} looks like a run's (it is called as only runs call theirs), but its tags have been overwritten. Cancel "
        "it if nobody waits for it."
    ]
    with pytest.raises(JobStuck, match="has not ended in"):
        wait_for_pipeline.fn(
            run.workspace, resolve_credentials.fn(run.workspace), first, PipelineParameters(deadline_hours=0.0005)
        )
    assert release(run.workspace, run.names).cancelled_jobs == [first.name]


def test_a_job_whose_tags_somebody_overwrote_is_another_runs_only_once_that_has_taken_it_over(
    run: Submitter, another: Callable[[], Submitter], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run.submit()
    run.workspace.client().jobs.update(first.name, tags={RUN_TAG: "", "owner": "team-a"})
    other = resumed_by(run, another, None, monkeypatch)
    assert release(run.workspace, other.names).cancelled_jobs == []
    taken = other.submit()
    assert (taken.name, taken.adopted) == (first.name, True)
    assert release(run.workspace, other.names).cancelled_jobs == [first.name]


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
        release(run.workspace, run.names)
    assert f"/paths/finetune/{run.names.job(1)}/" in checkpoints(1)
    assert checkpoints(2) == checkpoints(1)
    assert checkpoints(3) != checkpoints(1)


BASE = with_only(FoundationModel, id="azureml://registries/azureml/models/m/versions/1", name="m")
FOUR = with_only(ValidatedCompute, cluster="ours", gpus_per_node=4)
DATA = with_only(SampledDataset, source="chats", sha256="a" * 64)


def test_a_job_is_built_to_use_all_gpus_of_its_cluster_and_to_end_with_its_first_failure() -> None:
    from azure.ai.ml import load_component

    component: Any = load_component(ROOT / "emulator/components/chat_completion/chat_completion_pipeline.yaml")
    declared = {name: _declared(spec) for name, spec in component.inputs.items()}
    assets = {purpose: f"azureml:chats-{purpose}:1" for purpose in ("train", "validation")}
    job: Any = _build(component, declared, {"seed": 7}, BASE, FOUR, DATA, assets, "azureml://datastores/d/paths/p")
    given = {
        name: its._data for name, its in job.jobs["chat_completion_pipeline"].inputs.items() if its._data is not None
    }
    paths = {name: getattr(its, "path", its) for name, its in given.items()}
    computes = {name: "ours" for name in declared if name.startswith("compute_")}
    assert len(computes) == 4
    assert paths == {
        "number_of_gpu_to_use_finetuning": 4, "mlflow_model_path": BASE.id, "seed": 7, **computes,
        "train_file_path": "azureml:chats-train:1", "validation_file_path": "azureml:chats-validation:1",
    }  # fmt: skip
    assert (job.settings.force_rerun, job.settings.continue_on_step_failure) == (True, False)
    kept = job.outputs["pytorch_model_folder"]._data
    assert (kept.path, kept.mode) == ("azureml://datastores/d/paths/p", "rw_mount")


def test_checkpoints_are_gone_on_with_only_by_what_trains_the_same() -> None:
    names, component = RunNames(uuid4()), SimpleNamespace(id="c/versions/1")

    def folder(its: Any = component, seed: int = 7, model: Any = BASE, compute: Any = FOUR, data: Any = DATA) -> str:
        return _checkpoints(names, its, {"seed": seed}, model, compute, data)

    others = [
        folder(SimpleNamespace(id="c/versions/2")),
        folder(seed=8),
        folder(model=BASE.model_copy(update={"id": f"{BASE.id}1"})),
        folder(compute=FOUR.model_copy(update={"gpus_per_node": 2})),
        folder(data=DATA.model_copy(update={"sha256": "b" * 64})),
    ]
    assert folder() == folder()
    assert len({folder(), *others}) == 6


@pytest.mark.parametrize(
    ("state", "says"),
    [(Running(), "belongs to flow run the first "), (None, "which this Prefect server does not know")],
)
def test_only_what_has_ended_is_taken_from_a_run_that_may_live(
    state: State | None,  # type: ignore[type-arg]
    says: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing is asked of Azure."""
    nowhere: Any = None
    first, other = RunNames(uuid4()), RunNames(uuid4())
    known = None if state is None else FlowRun(id=first.run_id, flow_id=uuid4(), name="the first", state=state)
    monkeypatch.setattr(tasks.jobs, "read_run", lambda _: known)
    its = SimpleNamespace(name=first.job(1), status="Running", tags=first.tags())
    job: Any = its
    with pytest.raises(JobTaken, match=says):
        take_over(nowhere, job, other)
    assert take_over(nowhere, job, first) is job
    its.status = "Completed"
    assert take_over(nowhere, job, other) is job


def test_a_job_that_is_another_runs_is_not_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is asked of Azure."""
    nowhere: Any = None
    job = SimpleNamespace(status="Running", tags=RunNames(uuid4()).tags())
    monkeypatch.setattr(tasks.release, "find_job", lambda *_: job)
    assert cancel_job(nowhere, "ft-x", logging.getLogger(), of=uuid4()) is False


def test_a_job_that_the_sdk_cannot_read_is_not_taken_for_an_absent_one(run: Submitter, emulator: Emulator) -> None:
    unreadable = Submitter(run.workspace, *run._made_from)  # not released: nobody could
    name = unreadable.names.job(1)
    assert put(emulator, name, step()).status_code == 201
    with pytest.raises(JobParsingError):
        run.workspace.client().jobs.get(name)
    with pytest.raises(AzureFailure):
        unreadable.submit()
    assert unreadable.status(2) == ""
