"""Metrics reach the step's run and the job's, and a store that is away does not matter."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from emulator.components.tracking import MetricLog, runs_of_this_step


def test_metrics_reach_both_runs_with_their_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    mlflow.set_tracking_uri(None)  # type: ignore[arg-type]
    client = mlflow.MlflowClient()
    experiment = client.create_experiment("chat", artifact_location=str(tmp_path))
    child, root = (client.create_run(experiment).info.run_id for _ in range(2))
    monkeypatch.setenv("MLFLOW_RUN_ID", child)
    monkeypatch.setenv("AZUREML_ROOT_RUN_ID", root)
    with MetricLog(runs_of_this_step()) as metrics:
        for step in range(3):
            metrics.log({"loss": 3.0 - step, "epoch": step / 3}, step)
    for run in (child, root):
        assert [(m.step, m.value) for m in client.get_metric_history(run, "loss")] == [(0, 3.0), (1, 2.0), (2, 1.0)]


def test_a_step_that_is_its_own_root_logs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_RUN_ID", "one")
    monkeypatch.setenv("AZUREML_ROOT_RUN_ID", "one")
    assert runs_of_this_step() == ["one"]


def test_without_a_tracking_store_nothing_is_logged() -> None:
    assert runs_of_this_step() == []


def test_a_store_that_is_away_is_warned_of_once_and_training_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with caplog.at_level(logging.WARNING), MetricLog(["run"]) as metrics:
        for step in range(5):
            metrics.log({"loss": 1.0}, step)
    warnings = [record for record in caplog.records if "training goes on" in record.message]
    assert len(warnings) == 1
