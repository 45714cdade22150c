"""The whole flow, with the real SDK, on the emulator: a tiny model is really trained, registered, served and asked."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from azure.ai.ml.entities import Model
from prefect import State
from prefect.client.orchestration import get_client
from prefect.client.schemas.sorting import ArtifactSort

from blocks import AzureMLWorkspace
from flows.finetune import finetune
from flows.outcome import FlowResult
from flows.reap import reap
from flows.server_identity import server_id
from tasks import registration
from tasks.forecast import Forecast
from tasks.naming import RUN_TAG, RunNames, first_version
from tasks.registration import register_model
from tasks.release import release
from tests.flows.conftest import BLOCK, write_conversations


def parameters(conversations: Path, **more: Any) -> dict[str, Any]:
    return {
        "dataset": {"source": str(conversations), "percent": 100},
        "training": {"max_steps": 6, "learning_rate": 0.001, "logging_steps": 2},
        "deployment": {"liveness_initial_delay": 1},
        "scoring": {"max_new_tokens": 4, "rows": 2},
        **more,
    }


def run(conversations: Path, **more: Any) -> State[FlowResult]:
    return finetune(**parameters(conversations, **more), return_state=True)  # type: ignore[return-value]


def running_jobs(workspace: AzureMLWorkspace) -> list[str]:
    ended = {"Completed", "Failed", "Canceled"}
    # The SDK lists a job that it cannot read (another test's, sent without it) as None.
    readable = [job for job in workspace.client().jobs.list() if job is not None]
    return [str(job.name) for job in readable if getattr(job.status, "value", job.status) not in ended]


def endpoints(workspace: AzureMLWorkspace) -> list[str]:
    return [str(endpoint.name) for endpoint in workspace.client().online_endpoints.list()]


@pytest.fixture(scope="module")
def conversations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As everybody's, and one more to train on, whose question is longer than the model takes."""
    folder = write_conversations(tmp_path_factory.mktemp("long") / "conversations")
    messages = [{"role": "user", "content": "Why? " * 600}, {"role": "assistant", "content": "So."}]
    with (folder / "train_sft.jsonl").open("a") as file:
        file.write(json.dumps({"prompt": messages[0]["content"], "messages": messages, "prompt_id": "long"}) + "\n")
    return folder


@pytest.fixture(scope="module")
def finished(workspace: AzureMLWorkspace, conversations: Path) -> State[FlowResult]:
    """One successful run, which several tests look at."""
    return run(conversations)


@pytest.fixture(scope="module")
def result(finished: State[FlowResult]) -> Iterator[FlowResult]:
    assert finished.is_completed(), finished.message
    yield finished.result()


def of_run(result: FlowResult) -> str:
    """The id of the run that its job is of."""
    return result.job.tags[RUN_TAG]


def test_a_good_model_goes_all_the_way(finished: State[FlowResult], result: FlowResult) -> None:
    assert finished.name == "Completed"
    assert result.verdict == "accepted"
    assert result.review.eval_loss_before is not None
    assert result.review.eval_loss is not None
    assert result.review.eval_loss < result.review.eval_loss_before
    assert result.smoke is not None
    assert all(answer.answer for answer in result.smoke.answers)
    assert len(result.smoke.answers) == 2


def test_every_stage_ran_and_was_timed(result: FlowResult) -> None:
    stages = {
        "resolve_credentials", "find_foundation_model", "validate_compute", "sample_dataset", "submit_pipeline",
        "wait_for_pipeline", "review_metrics", "register_model", "create_endpoint", "create_deployment", "smoke_score", "teardown",
    }  # fmt: skip
    assert stages <= result.seconds.keys()


def test_the_registered_model_knows_where_it_came_from(workspace: AzureMLWorkspace, result: FlowResult) -> None:
    assert result.model is not None
    model = workspace.client().models.get(result.model.name, version=result.model.version)
    assert model.type == "mlflow_model"
    tags = model.tags
    assert tags["job"] == result.job.name
    assert tags["base_model"] == result.base_model.id
    assert tags["data_sha256"] == result.dataset.sha256
    assert "chat_completion_pipeline/versions/" in tags["component"]
    assert float(tags["eval_loss"]) == pytest.approx(result.review.eval_loss, rel=1e-4)
    assert UUID(tags["prefect_flow_run_id"])


def test_the_version_is_the_second_for_which_the_run_was_scheduled_and_shows_its_day(
    finished: State[FlowResult], result: FlowResult
) -> None:
    assert result.model is not None
    night = datetime.fromisoformat(result.job.tags["scheduled_start"])
    assert result.model.version == str(first_version(night))
    assert abs((datetime.now(UTC) - night).total_seconds()) < 3600
    dated = f"version {result.model.version} ({night:%d %B %Y})"
    assert f": {result.model.name} {dated}. What stays: cluster " in str(finished.message)
    assert dated in page_of("model-card") and dated in page_of("summary")


def test_of_versions_that_others_hold_the_next_free_one_is_taken_once(
    workspace: AzureMLWorkspace, result: FlowResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert result.model is not None
    name, first = "several-runs", int(result.model.version)
    (tmp_path / "MLmodel").write_text("flavors: {}\n")

    def others(version: int) -> None:
        made = Model(name=name, version=str(version), path=str(tmp_path), type="mlflow_model", tags={"job": "another"})
        workspace.client().models.create_or_update(made)

    def registered() -> str:
        names = RunNames(uuid4())  # as a later run that adopts the job
        return register_model.fn(workspace, names, result.job, result.review, name, "What it is").version

    others(first)
    create = registration._create

    def create_when_another_has(*args: Any) -> Model:
        monkeypatch.setattr(registration, "_create", create)
        others(first + 1)
        return create(*args)

    monkeypatch.setattr(registration, "_create", create_when_another_has)
    assert registered() == str(first + 2)
    assert registered() == str(first + 2)
    versions = {model.version: model.tags["job"] for model in workspace.client().models.list(name=name)}
    assert versions == {str(first): "another", str(first + 1): "another", str(first + 2): result.job.name}


def test_a_lost_listing_does_not_register_twice(
    workspace: AzureMLWorkspace, result: FlowResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Azure's listings lag behind what was just written.
    assert result.model is not None
    monkeypatch.setattr(registration, "_of_job", lambda *_: None)
    again = register_model.fn(workspace, RunNames(uuid4()), result.job, result.review, result.model.name, "What it is")
    assert again.version == result.model.version


def test_nothing_is_left_running(workspace: AzureMLWorkspace, result: FlowResult) -> None:
    assert result.endpoint is not None
    assert result.released.deleted_endpoints == [result.endpoint.name]
    assert result.endpoint.name not in endpoints(workspace)
    assert running_jobs(workspace) == []


def test_what_it_made_says_which_server_and_which_block_made_it(
    result: FlowResult, workspace: AzureMLWorkspace
) -> None:
    assert result.model is not None
    model: Any = workspace.client().models.get(result.model.name, version=result.model.version)
    for tags in (result.job.tags, model.tags):
        assert tags["prefect_server"] == server_id()
        assert tags["prefect_block"] == BLOCK


def test_the_run_shows_its_work(result: FlowResult) -> None:
    with get_client(sync_client=True) as client:
        shown = {artifact.key for artifact in client.read_artifacts(limit=200)}
    assert {
        "base-model",
        "parameters",
        "dataset",
        "pipeline-steps",
        "metrics",
        "model-card",
        "smoke-score",
        "summary",
    } <= shown


def page_of(key: str) -> str:
    """The latest page of that name."""
    with get_client(sync_client=True) as client:
        pages = client.read_artifacts(limit=200, sort=ArtifactSort.CREATED_DESC)
    return str(next(page.data for page in pages if page.key == key))


def test_the_forecast_bounds_what_the_trainer_used_and_stands_beside_it(result: FlowResult) -> None:
    its, used = result.job.forecast, result.review.learnt
    assert its.limit == 512
    for split, told in its.splits.items():
        assert told.sampled == told.rows == used[split].used + used[split].left_out
        assert told.rows >= told.rows_with_answer >= used[split].used > 0
    assert sum(told.rows - told.rows_with_answer for told in its.splits.values()) == 1
    told, row = its.splits["train"], used["train"]
    assert f"* **train**: {its.sentence('train')}." in page_of("forecast")
    assert (
        f"| train | {told.sampled} | {told.rows_with_answer} of {told.rows} rows | {row.used} | {row.left_out} | {row.too_long} |"
    ) in page_of("metrics")
    assert its.sentence("train") in page_of("summary") and "to train on" not in page_of("summary")


def test_a_new_run_takes_over_a_job_and_a_closed_gate_ends_it(
    workspace: AzureMLWorkspace, conversations: Path, result: FlowResult
) -> None:
    before = len(list(workspace.client().models.list(name=result.model.name)))  # type: ignore[union-attr]
    state = run(conversations, resume_run=of_run(result), gate={"max_eval_loss": 0.001})
    assert state.is_completed()
    assert state.name == "Rejected"
    rejected = state.result()
    assert rejected.job.name == result.job.name
    assert rejected.job.forecast == result.job.forecast != Forecast()
    assert rejected.model is None
    assert rejected.smoke is None
    assert len(list(workspace.client().models.list(name=result.model.name))) == before  # type: ignore[union-attr]
    assert endpoints(workspace) == []


def test_a_failed_job_tells_the_failing_steps_own_words_and_leaves_nothing(
    workspace: AzureMLWorkspace, conversations: Path
) -> None:
    state = run(conversations, training={"max_steps": 2, "max_seq_length": 2})
    assert state.is_failed()
    assert state.message is not None
    assert "chat_completion_datapreprocess" in state.message
    assert "larger max_seq_length" in state.message
    assert endpoints(workspace) == []
    assert running_jobs(workspace) == []


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"workspace": "nowhere"}, "no AzureMLWorkspace block 'nowhere'"),
        ({"model": {"name": "no-such-model"}}, "no model no-such-model"),
        ({"model": {"name": "Phi-2-chat"}}, "retired"),
        ({"training": {"other": {"no_such_input": 1}}}, "no input 'no_such_input'"),
        ({"pipeline": {"component_version": "0.0.0"}}, "no component chat_completion_pipeline version 0.0.0"),
        ({"dataset": {"source": "/no/such/folder"}}, "/no/such/folder"),
    ],
)
def test_bad_input_ends_with_one_sentence_before_anything_is_spent(
    workspace: AzureMLWorkspace, conversations: Path, wrong: dict[str, Any], why: str
) -> None:
    jobs = len(list(workspace.client().jobs.list()))
    state = run(conversations, **wrong)
    assert state.is_failed()
    assert why in str(state.message)
    assert len(list(workspace.client().jobs.list())) == jobs
    assert endpoints(workspace) == []


def test_an_endpoint_name_that_somebody_else_holds_is_refused_and_left_alone(
    workspace: AzureMLWorkspace, conversations: Path
) -> None:
    from azure.ai.ml.entities import ManagedOnlineEndpoint

    client = workspace.client()
    client.online_endpoints.begin_create_or_update(
        ManagedOnlineEndpoint(name="somebody-elses", auth_mode="key")
    ).result()
    try:
        state = run(conversations, deployment={"endpoint": "somebody-elses"})
        assert state.is_failed()
        assert "somebody-elses exists and was not made by this run" in str(state.message)
        assert endpoints(workspace) == ["somebody-elses"]
        assert reap(grace_minutes=0, ttl_hours=0).released == []
    finally:
        client.online_endpoints.begin_delete(name="somebody-elses").result()


def test_the_reaper_deletes_what_an_unknown_run_left(workspace: AzureMLWorkspace) -> None:
    from azure.ai.ml.entities import ManagedOnlineEndpoint

    names = RunNames(uuid4(), server=server_id())
    left = ManagedOnlineEndpoint(name=names.endpoint, auth_mode="key", tags=names.tags())
    workspace.client().online_endpoints.begin_create_or_update(left).result()
    shown = reap(grace_minutes=0, ttl_hours=0, dry_run=True)
    assert [row.name for row in shown.released] == [names.endpoint]
    assert names.endpoint in endpoints(workspace)
    done = reap(grace_minutes=0, ttl_hours=0)
    assert [row.name for row in done.released] == [names.endpoint]
    assert names.endpoint not in endpoints(workspace)


def test_releasing_again_finds_nothing_and_is_success(workspace: AzureMLWorkspace) -> None:
    released = release(workspace, RunNames(uuid4()))
    assert released.cancelled_jobs == released.deleted_endpoints == []
