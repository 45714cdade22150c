"""Pipeline jobs through the real SDK: their steps are processes, with real inputs and outputs."""

from pathlib import Path
from typing import Any

import pytest

from tests.emulated import Emulator
from tests.emulator.jobs.commands import (
    ENVIRONMENT,
    details,
    failure,
    line,
    log_text,
    pipeline_of,
    reader,
    wait,
    writer,
)


def test_steps_run_in_the_order_of_their_inputs_and_the_result_is_downloaded(
    emulator: Emulator, tmp_path: Path
) -> None:
    from azure.ai.ml import dsl

    @dsl.pipeline(None, name="write and read", default_compute="serverless")
    def pipeline(text: str) -> dict:
        written = writer()(text=text)
        read = reader()(source=written.outputs.out)
        return {"result": read.outputs.result}

    client = emulator.client()
    job = client.jobs.create_or_update(pipeline(text="a text with spaces"), experiment_name="order")
    assert wait(client, job.name) == "Completed"
    client.jobs.download(job.name, download_path=tmp_path, output_name="result")
    assert (tmp_path / "named-outputs" / "result" / "b.txt").read_text() == "a text with spaces"
    children = {child.display_name: child for child in client.jobs.list(parent_job_name=job.name)}
    assert {name: child.status for name, child in children.items()} == {"written": "Completed", "read": "Completed"}
    assert log_text(client, children["read"].name) == "a text with spaces"


def test_a_pipeline_output_lies_where_the_sdk_looks_for_it_and_is_no_copy(emulator: Emulator) -> None:
    from azure.ai.ml import dsl

    @dsl.pipeline(None, name="promote", default_compute="serverless")
    def pipeline() -> dict:
        return {"result": writer()(text="kept").outputs.out}

    client = emulator.client()
    job = client.jobs.create_or_update(pipeline())
    assert wait(client, job.name) == "Completed"
    here = emulator.installation
    container = here.files / here.container / "azureml"
    [child] = client.jobs.list(parent_job_name=job.name)
    promoted, written = container / job.name / "result" / "a.txt", container / child.name / "out" / "a.txt"
    assert promoted.read_text() == "kept"
    assert promoted.stat().st_ino == written.stat().st_ino


def test_a_pipeline_within_a_pipeline_hands_its_output_up(emulator: Emulator) -> None:
    from azure.ai.ml import dsl

    @dsl.pipeline(None, name="inner")
    def inner(text: str) -> dict:
        return {"deep": writer()(text=text).outputs.out}

    @dsl.pipeline(None, name="outer", default_compute="serverless")
    def outer(text: str) -> dict:
        nested: Any = inner(text=text)
        return {"result": reader()(source=nested.outputs.deep, extra="word").outputs.result}

    client = emulator.client()
    job = client.jobs.create_or_update(outer(text="from below"))
    assert wait(client, job.name) == "Completed", log_text(client, job.name, "logs/azureml/executionlogs.txt")
    here = emulator.installation
    assert (here.files / here.container / "azureml" / job.name / "result" / "b.txt").read_text() == "from below"
    log = log_text(client, job.name, "logs/azureml/executionlogs.txt")
    assert "from belowextra word" in log


def test_a_file_output_is_a_file_for_the_next_step(emulator: Emulator, tmp_path: Path) -> None:
    from azure.ai.ml import Input, Output, command, dsl

    make: Any = command(
        name="make",
        command="echo content > ${{outputs.report}}",
        outputs={"report": Output(type="uri_file")},
        environment=ENVIRONMENT,
    )
    show = command(
        name="show",
        command="cat ${{inputs.report}}",
        inputs={"report": Input(type="uri_file")},
        environment=ENVIRONMENT,
    )

    @dsl.pipeline(None, name="files", default_compute="serverless")
    def pipeline() -> dict:
        made = make()
        show(report=made.outputs.report)
        return {"report": made.outputs.report}

    client = emulator.client()
    job = client.jobs.create_or_update(pipeline())
    assert wait(client, job.name) == "Completed"
    client.jobs.download(job.name, download_path=tmp_path, output_name="report")
    assert (tmp_path / "named-outputs" / "report" / "report").read_text() == "content\n"


def test_a_local_file_is_uploaded_and_read_by_the_step(emulator: Emulator, tmp_path: Path) -> None:
    from azure.ai.ml import Input, command, dsl

    source = tmp_path / "rows.jsonl"
    source.write_text('{"row": 1}\n')
    show = command(
        name="show", command="cat ${{inputs.rows}}", inputs={"rows": Input(type="uri_file")}, environment=ENVIRONMENT
    )

    @dsl.pipeline(None, name="upload", default_compute="serverless")
    def pipeline(rows: Input) -> None:
        show(rows=rows)

    client = emulator.client()
    job = client.jobs.create_or_update(pipeline(rows=Input(type="uri_file", path=str(source))))
    assert wait(client, job.name) == "Completed"
    [child] = client.jobs.list(parent_job_name=job.name)
    assert log_text(client, child.name) == '{"row": 1}\n'


def test_stream_prints_the_lines_of_the_steps(emulator: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
    client = emulator.client()
    code = "import time; print('first line'); time.sleep(1); print('last line')"
    job = client.jobs.create_or_update(pipeline_of(writer(code)))
    client.jobs.stream(job.name)
    printed = capsys.readouterr().out
    assert "Streaming logs/azureml/executionlogs.txt" in printed
    assert printed.index("first line") < printed.index("last line") < printed.index("Execution Summary")
    assert client.jobs.get(job.name).status == "Completed"


def test_a_failing_step_fails_the_job_with_its_own_error_and_log(emulator: Emulator) -> None:
    from azure.ai.ml.exceptions import JobException

    client = emulator.client()
    job = client.jobs.create_or_update(pipeline_of(writer("raise SystemExit('the column messages is missing')")))
    with pytest.raises(JobException, match="PipelineHasStepJobFailed"):
        client.jobs.stream(job.name)
    assert client.jobs.get(job.name).status == "Failed"
    assert "Failed nodes: /step" in failure(client, job.name) or "Failed nodes: /writer" in failure(client, job.name)
    [child] = client.jobs.list(parent_job_name=job.name)
    assert child.status == "Failed"
    assert "status code 1" in failure(client, child.name)
    assert "the column messages is missing" in failure(client, child.name)
    assert details(client, child.name).error.error.code == "UserError"
    assert "the column messages is missing" in log_text(client, child.name)


def test_a_step_that_says_why_it_failed_is_quoted(emulator: Emulator) -> None:
    client = emulator.client()
    code = (
        "import os, json; json.dump({'code': 'SystemError', 'message': 'The disk is full.'}, "
        "open(os.environ['AZUREML_ERROR_FILE'], 'w')); raise SystemExit(3)"
    )
    job = client.jobs.create_or_update(pipeline_of(writer(code)))
    assert wait(client, job.name) == "Failed"
    [child] = client.jobs.list(parent_job_name=job.name)
    assert failure(client, child.name) == "The disk is full."
    assert details(client, child.name).error.error.code == "SystemError"


@pytest.mark.parametrize(("goes_on", "other"), [(False, "Canceled"), (True, "Completed")])
def test_continue_on_step_failure_decides_over_the_other_steps(emulator: Emulator, goes_on: bool, other: str) -> None:
    client = emulator.client()
    failing = writer("raise SystemExit(1)")
    slow = writer("import time; time.sleep(2)")
    slow.name = "slow"
    job = pipeline_of(failing, slow)
    job.settings.continue_on_step_failure = goes_on
    created = client.jobs.create_or_update(job)
    assert wait(client, created.name) == "Failed"
    statuses = sorted(str(child.status) for child in client.jobs.list(parent_job_name=created.name))
    assert statuses == sorted(["Failed", other])


def test_a_child_is_shown_by_run_history(emulator: Emulator) -> None:
    client = emulator.client()
    job = client.jobs.create_or_update(pipeline_of(writer()))
    assert wait(client, job.name) == "Completed"
    [child] = client.jobs.list(parent_job_name=job.name)
    shown = client.jobs.get(child.name)
    assert (shown.name, shown.status, shown.display_name) == (child.name, "Completed", child.display_name)
    assert shown.properties["azureml.pipelinerunid"] == job.name


def test_a_step_logs_its_metrics_to_the_run_that_it_is_given(emulator: Emulator) -> None:
    from mlflow import MlflowClient

    client = emulator.client()
    code = (
        "import os; from mlflow import MlflowClient; client = MlflowClient(); "
        "client.log_metric(os.environ['MLFLOW_RUN_ID'], 'loss', 0.5, step=1); "
        "client.log_metric(os.environ['AZUREML_ROOT_RUN_ID'], 'loss', 0.25, step=2)"
    )
    job = client.jobs.create_or_update(pipeline_of(writer(code)), experiment_name="metrics")
    assert wait(client, job.name) == "Completed"
    [child] = client.jobs.list(parent_job_name=job.name)
    tracking = MlflowClient(client.workspaces.get(emulator.installation.workspace).mlflow_tracking_uri)
    assert tracking.get_run(child.name).data.metrics == {"loss": 0.5}
    root = tracking.get_run(job.name)
    assert (root.data.metrics, root.info.status) == ({"loss": 0.25}, "FINISHED")


def test_a_cluster_that_an_input_names_is_looked_up_when_the_step_runs(emulator: Emulator) -> None:
    from azure.ai.ml import dsl

    @dsl.pipeline(None, name="by input")
    def pipeline(where: str) -> None:
        step = writer()()
        step.compute = where

    client = emulator.client()
    job = client.jobs.create_or_update(pipeline(where="no-such-cluster"))
    assert wait(client, job.name) == "Failed"
    [child] = client.jobs.list(parent_job_name=job.name)
    assert "Compute target no-such-cluster was not found" in failure(client, child.name)


def test_a_command_job_runs_a_line_without_any_input(emulator: Emulator) -> None:
    client = emulator.client()
    job = client.jobs.create_or_update(line("echo $((6 * 7))"))
    assert wait(client, job.name) == "Completed"
    assert log_text(client, job.name) == "42\n"
