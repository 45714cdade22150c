"""MLflow tracking through azureml-mlflow, with nothing but the printed environment: jobs' runs and runs from a notebook."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

from tests.emulated import Emulator
from tests.emulator.jobs.commands import line, wait

if TYPE_CHECKING:
    from mlflow import MlflowClient


@pytest.fixture
def tracking(emulator: Emulator) -> Iterator[MlflowClient]:
    """The client of the workspace's tracking server, which is also the process's own for the time of a test."""
    import mlflow

    mlflow.set_tracking_uri(emulator.client().workspaces.get(emulator.installation.workspace).mlflow_tracking_uri)
    try:
        yield mlflow.MlflowClient()
    finally:
        mlflow.set_tracking_uri(None)  # type: ignore[arg-type]


def test_what_a_job_writes_to_outputs_and_logs_are_its_runs_artifacts(
    emulator: Emulator, tracking: MlflowClient, tmp_path: Path
) -> None:
    client = emulator.client()
    job = client.jobs.create_or_update(
        line("mkdir outputs/deep && echo 42 > outputs/deep/answer.txt && echo seen > logs/own.txt")
    )
    assert wait(client, job.name) == "Completed"
    assert {found.path for found in tracking.list_artifacts(job.name)} == {"user_logs", "outputs", "logs"}
    [folder] = tracking.list_artifacts(job.name, "outputs")
    assert (folder.path, folder.is_dir) == ("outputs/deep", True)
    assert [found.path for found in tracking.list_artifacts(job.name, "outputs/deep")] == ["outputs/deep/answer.txt"]
    got = tracking.download_artifacts(job.name, "outputs/deep/answer.txt", str(tmp_path))
    assert Path(got).read_text() == "42\n"

    client.jobs.download(job.name, all=True, download_path=tmp_path / "all")
    [same] = (tmp_path / "all").rglob("answer.txt")
    assert same.read_text() == "42\n"


@pytest.mark.parametrize("group", ["experiments", "experimentids"])
def test_a_runs_files_are_listed_read_and_added_to_by_its_experiments_name_or_id(
    emulator: Emulator, group: str
) -> None:
    client, here = emulator.client(), emulator.installation
    job = client.jobs.create_or_update(line("mkdir outputs/deep && echo 42 > outputs/deep/answer.txt"))
    assert wait(client, job.name) == "Completed"
    session = requests.Session()
    token = emulator.credential().get_token("https://ml.azure.com/.default").token
    session.headers["Authorization"] = f"Bearer {token}"
    run = f"https://{here.data_host}/history/v1.0{here.workspace_id}/{group}/{job.experiment_name}/runs/{job.name}"

    def paths(address: str, **query: str) -> set[str]:
        return {found["path"] for found in session.get(address, params=query, timeout=30).json()["value"]}

    assert "outputs/deep/answer.txt" in paths(f"{run}/artifacts")
    assert paths(f"{run}/artifacts/path", path="outputs") == {"outputs/deep/answer.txt"}
    content = session.get(f"{run}/artifacts/contentinfo", params={"path": "outputs/deep/answer.txt"}, timeout=30).json()
    assert requests.get(content["contentUri"], timeout=30).text == "42\n"

    wanted = {"paths": [{"path": "review/notes.txt"}]}
    places = session.post(f"{run}/artifacts/batch/metadata", json=wanted, timeout=30).json()
    address = places["artifactContentInformation"]["review/notes.txt"]["contentUri"]
    sent = requests.put(address, data=b"fine", headers={"x-ms-blob-type": "BlockBlob"}, timeout=30)
    assert sent.status_code == 201
    assert paths(f"{run}/artifacts/path", path="review") == {"review/notes.txt"}


def test_a_file_is_added_to_a_jobs_run(emulator: Emulator, tracking: MlflowClient, tmp_path: Path) -> None:
    client = emulator.client()
    job = client.jobs.create_or_update(line("true"))
    assert wait(client, job.name) == "Completed"
    tracking.log_text(job.name, "looked at by hand", "review/notes.txt")
    assert [found.path for found in tracking.list_artifacts(job.name, "review")] == ["review/notes.txt"]


def test_a_run_from_a_notebook_keeps_numbers_and_files(tracking: MlflowClient, tmp_path: Path) -> None:
    import mlflow

    for name in ("one", "two"):
        (tmp_path / "files" / name).mkdir(parents=True)
        (tmp_path / "files" / name / "x.txt").write_text(name)
    mlflow.set_experiment("by-hand")
    with mlflow.start_run() as run:
        mlflow.log_metric("loss", 0.5, step=1)
        mlflow.log_metric("loss", 0.25, step=2)
        mlflow.log_param("seed", 7)
        mlflow.log_artifacts(str(tmp_path / "files"), "copies")
    seen = tracking.get_run(run.info.run_id)
    assert seen.data.metrics == {"loss": 0.25} and seen.data.params == {"seed": "7"}
    assert [(point.step, point.value) for point in tracking.get_metric_history(run.info.run_id, "loss")] == [
        (1, 0.5),
        (2, 0.25),
    ]
    assert mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/copies/two/x.txt") == "two"
    [found] = tracking.search_runs([run.info.experiment_id], "metrics.loss < 0.3")
    assert found.info.run_id == run.info.run_id


def test_an_artifact_or_a_run_that_is_not_there_is_named(emulator: Emulator, tracking: MlflowClient) -> None:
    client = emulator.client()
    job = client.jobs.create_or_update(line("true"))
    assert wait(client, job.name) == "Completed"
    with pytest.raises(Exception, match=r"nothing\.txt"):
        tracking.download_artifacts(job.name, "nothing.txt")
    with pytest.raises(Exception, match="not found"):
        tracking.list_artifacts("no-such-run")
