"""The review of what a job's run really holds: logged by MLflow's client, read back page by page."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from math import inf, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from blocks import AzureMLWorkspace
from tasks.azure_ml.tracking import LARGEST_PAGE, Measured, TrackedRun, Tracking
from tasks.credentials import WorkspaceIdentity, resolve_credentials
from tasks.metrics import GateParameters, MetricReview, curve, find_champion, review_metrics
from tasks.waiting import FinishedJob

if TYPE_CHECKING:
    from mlflow import MlflowClient

Values = list[tuple[int, float]]
Review = Callable[..., MetricReview]


@pytest.fixture(scope="module")
def where(workspace: AzureMLWorkspace) -> WorkspaceIdentity:
    return resolve_credentials.fn(workspace)  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def mlflow_client(where: WorkspaceIdentity) -> Iterator[MlflowClient]:
    import mlflow

    mlflow.set_tracking_uri(where.tracking_uri)
    yield mlflow.MlflowClient()
    mlflow.set_tracking_uri(None)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def experiment(mlflow_client: MlflowClient) -> str:
    return str(mlflow_client.create_experiment(f"reviews-{uuid4().hex[:8]}"))


@pytest.fixture
def job(mlflow_client: MlflowClient, experiment: str) -> str:
    """The id of a run that has logged nothing, as a job's begins."""
    return str(mlflow_client.create_run(experiment).info.run_id)


@pytest.fixture
def review(workspace: AzureMLWorkspace, where: WorkspaceIdentity, mlflow_client: MlflowClient, job: str) -> Review:
    """Reviews a job that logged `values` by metric, each a millisecond after the one before."""

    def review(gate: GateParameters | None = None, **values: Values) -> MetricReview:
        log(mlflow_client, job, values)
        finished = FinishedJob(name=job, attempt=1, seconds=1, steps=[], metrics={}, tags={}, studio_url="")
        return review_metrics.fn(workspace, where, finished, gate or GateParameters(), f"none-{job}")  # type: ignore[no-any-return]

    return review


def log(client: MlflowClient, run: str, values: dict[str, Values]) -> None:
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    for name, points in values.items():
        metrics = [Metric(name, value, now + number, step) for number, (step, value) in enumerate(points)]
        for start in range(0, len(metrics), 1000):
            client.log_batch(run, metrics=metrics[start : start + 1000])


def test_a_long_history_is_read_whole_in_pages_that_azure_takes(
    workspace: AzureMLWorkspace,
    where: WorkspaceIdentity,
    mlflow_client: MlflowClient,
    job: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from mlflow.store.tracking.rest_store import RestStore

    asked: list[int] = []
    get = RestStore.get_metric_history

    def refusing(self: RestStore, run_id: str, metric_key: str, max_results: int, page_token: str | None) -> Any:
        asked.append(max_results)
        assert max_results < 1000, "MaxResults must be less than 1000"
        return get(self, run_id, metric_key, max_results, page_token)

    length = 2 * LARGEST_PAGE + 7
    log(mlflow_client, job, {"loss": [(step, step / 8) for step in range(length)]})
    monkeypatch.setattr(RestStore, "get_metric_history", refusing)
    found = Tracking(workspace, where.tracking_uri).history(job, "loss")
    assert curve(found) == [(step, step / 8) for step in range(length)]
    assert len(asked) == 3


@pytest.mark.parametrize("loss", [nan, inf, -inf])
def test_a_loss_that_is_no_number_is_a_training_that_diverged(review: Review, loss: float) -> None:
    seen = review(loss=[(2, 1.5)], eval_loss=[(0, 2.0), (4, loss)])
    assert not seen.accepted
    assert seen.reasons == [f"The validation loss is {loss}: the training diverged."]


@pytest.mark.parametrize("evaluated", [[], [(0, 2.0), (2, 1.5)]], ids=["without a validation loss", "with a good one"])
def test_a_training_loss_that_is_no_number_in_the_end_closes_the_gate(review: Review, evaluated: Values) -> None:
    seen = review(loss=[(2, 1.5), (4, nan)], eval_loss=evaluated)
    assert seen.reasons == ["The training loss is nan: the training diverged."]


def test_of_a_step_that_was_logged_again_the_last_value_counts(review: Review) -> None:
    again = [(0, 3.0), (2, 2.5), (4, 9.0), (2, 2.25), (4, 1.25)]
    seen = review(GateParameters(max_eval_loss=2.0), loss=again, eval_loss=again)
    assert (seen.eval_loss_before, seen.eval_loss, seen.train_loss, seen.accepted) == (3.0, 1.25, 1.25, True)


def test_values_without_steps_are_taken_in_their_order(review: Review) -> None:
    seen = review(eval_loss=[(0, 1.0), (0, 3.0), (0, 2.0)])
    assert (seen.eval_loss_before, seen.eval_loss) == (None, 2.0)


@pytest.mark.parametrize(
    "values", [[(4, inf), (4, 1.25)], [(4, 1.25), (4, nan)], [(2, 1.0), (4, nan), (4, 1.25), (4, 1.0)]]
)
def test_a_last_step_that_diverged_once_is_not_mended_by_a_second_value(review: Review, values: Values) -> None:
    seen = review(eval_loss=values)
    assert not seen.accepted
    assert "the training diverged" in seen.reasons[0]


def test_an_earlier_step_that_diverged_is_over(review: Review) -> None:
    seen = review(loss=[(1, inf), (2, 2.0)], eval_loss=[(2, nan), (2, 1.5), (4, 1.25)])
    assert (seen.eval_loss, seen.accepted) == (1.25, True)


@pytest.mark.parametrize("loss", [0.0, -0.5])
@pytest.mark.parametrize("name", ["validation", "training"])
def test_a_loss_that_no_model_reaches_is_no_measurement(review: Review, name: str, loss: float) -> None:
    measured = {"eval_loss": [(0, 2.0), (4, loss)]} if name == "validation" else {"loss": [(4, loss)]}
    seen = review(**measured)
    assert not seen.accepted
    assert seen.reasons == [
        f"The {name} loss is {loss:g}, which no model reaches: most likely no token had a loss, as where max_seq_length cuts "
        "off every answer."
    ]


def test_a_training_loss_that_was_rounded_to_0_is_none_of_these(review: Review) -> None:
    assert review(loss=[(4, 0.0)], eval_loss=[(4, 0.00004)]).accepted


def test_a_run_has_ended_when_mlflow_says_so() -> None:
    from mlflow.entities import RunStatus

    for status in RunStatus.all_status():
        assert TrackedRun(RunStatus.to_string(status), {}, {}).ended is RunStatus.is_terminated(status)


def test_values_of_the_same_instant_are_taken_as_mlflow_takes_them() -> None:
    assert curve([Measured(4, 7, 1.5), Measured(4, 7, 1.25), Measured(2, 9, 1.0)]) == [(2, 1.0), (4, 1.5)]
    assert curve([]) == []


def test_only_at_the_last_step_a_value_that_is_not_finite_counts_before_others() -> None:
    assert curve([Measured(2, 1, nan), Measured(2, 2, 1.5), Measured(4, 3, inf), Measured(4, 4, 1.25)]) == [
        (2, 1.5),
        (4, inf),
    ]


def test_the_champion_is_what_was_registered_last_and_not_from_the_same_job(
    workspace: AzureMLWorkspace, tmp_path: Path
) -> None:
    from azure.ai.ml.entities import Model

    (tmp_path / "MLmodel").write_text("flavors: {}\n")
    name = f"champions-{uuid4().hex[:8]}"
    assert find_champion(workspace, name, other_than_job="another") is None
    for version in ("7", "3"):
        tags = {"job": f"job-{version}", "eval_loss": version}
        made = Model(name=name, version=version, path=str(tmp_path), type="mlflow_model", tags=tags)
        workspace.client().models.create_or_update(made)
    for job, version in (("another", "3"), ("job-3", "7")):
        champion = find_champion(workspace, name, other_than_job=job)
        assert champion is not None and champion.version == version


def test_a_version_without_a_true_loss_is_no_champion(workspace: AzureMLWorkspace, tmp_path: Path) -> None:
    from azure.ai.ml.entities import Model

    (tmp_path / "MLmodel").write_text("flavors: {}\n")
    name = f"champions-{uuid4().hex[:8]}"
    for version, loss in enumerate(["1.5", "0.0", "nan", "inf", "-1", "none"], start=1):
        tags = {"job": f"job-{version}", "eval_loss": loss}
        made = Model(name=name, version=str(version), path=str(tmp_path), type="mlflow_model", tags=tags)
        workspace.client().models.create_or_update(made)
    champion = find_champion(workspace, name, other_than_job="another")
    assert champion is not None
    assert (champion.version, champion.eval_loss) == ("1", 1.5)
