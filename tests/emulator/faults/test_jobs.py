"""Faults of a job's steps."""

from __future__ import annotations

import psutil
from azure.ai.ml import MLClient

from tests.emulated import Emulator
from tests.emulator.faults.conftest import Inject, add
from tests.emulator.jobs.commands import details, failure, line, log_text, pipeline_of, status_of, wait, writer

JOB = "*/jobs/*"
RUNNING = "Running"
# Logs steps 0, 1, 2, ... with the stock client, keeps the last one in its scratch folder and goes on from there.
TRAIN = """python -c "
import os, pathlib, time
from mlflow import MlflowClient
kept = pathlib.Path('checkpoint')
first = int(kept.read_text()) + 1 if kept.exists() else 0
print('begins at', 'zero' if first == 0 else 'a checkpoint', flush=True)
client, run = MlflowClient(), os.environ['MLFLOW_RUN_ID']
for step in range(first, first + 60 if first == 0 else first + 1):
    client.log_metric(run, 'loss', 1.0, step=step)
    kept.write_text(str(step))
    time.sleep(0.2)
" """


def test_a_step_that_was_asked_to_fail_fails_its_job(client: MLClient, inject: Inject) -> None:
    inject("PUT", JOB, kind="step_failed", node="writer_1", code="SystemError", message="The disk is gone.")
    component = writer()
    job = client.jobs.create_or_update(pipeline_of(component, component))
    assert wait(client, job.name, lambda status: status == "Failed")
    assert "Pipeline has failed child jobs. Failed nodes: /writer_1" in failure(client, job.name)
    [failed] = [child for child in client.jobs.list(parent_job_name=job.name) if child.status == "Failed"]
    error = details(client, failed.name).error.error
    assert (error.code, error.message) == ("SystemError", "The disk is gone.")


def test_only_the_job_that_was_hit_fails(client: MLClient, inject: Inject) -> None:
    inject("PUT", JOB, kind="step_failed")
    first, second = (client.jobs.create_or_update(line("true")) for _ in range(2))
    assert wait(client, first.name, lambda status: status == "Failed")
    assert wait(client, second.name) == "Completed"


def test_a_hanging_step_survives_a_restart_and_ends_by_cancel(own_emulator: Emulator) -> None:
    add(own_emulator, {"match": {"method": "PUT", "path": JOB}, "effect": {"kind": "step_hang"}})
    client = own_emulator.client()
    job = client.jobs.create_or_update(line("true"))
    wait(client, job.name, lambda status: status == RUNNING)
    own_emulator.stop()
    own_emulator.start()
    wait(client, job.name, lambda status: status == RUNNING)
    children = psutil.Process(own_emulator.running.pid).children(recursive=True)
    assert children
    client.jobs.begin_cancel(job.name).wait()
    assert status_of(client, job.name) == "Canceled"
    assert not psutil.wait_procs(children, timeout=10)[1]


def test_a_preempted_training_resumes_from_its_checkpoint_once(client: MLClient, inject: Inject) -> None:
    inject("PUT", JOB, kind="preempt", step=1, requeue=True)
    job = client.jobs.create_or_update(line(TRAIN))
    assert wait(client, job.name) == "Completed"
    lines = log_text(client, job.name).splitlines()
    assert [text for text in lines if text.startswith("begins")] == ["begins at zero", "begins at a checkpoint"]
    [said] = [text for text in lines if "preempted" in text]
    assert "The node was preempted after training step" in said


def test_a_preempted_job_that_is_not_queued_again_fails_in_azures_words(client: MLClient, inject: Inject) -> None:
    inject("PUT", JOB, kind="preempt", step=1)
    job = client.jobs.create_or_update(line(TRAIN))
    assert wait(client, job.name, lambda status: status == "Failed")
    assert "PreemptionError: Nodes of this job got pre-empted" in failure(client, job.name)
    assert log_text(client, job.name).count("begins at") == 1
