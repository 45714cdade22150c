"""Command jobs through the real SDK: code, environment, outputs, and what can be changed afterwards."""

from pathlib import Path
from typing import Any

import pytest

from tests.emulated import Emulator
from tests.emulator.jobs.commands import ENVIRONMENT, failure, line, log_text, wait


def test_code_runs_with_a_registered_environment_and_its_outputs_are_downloaded(
    emulator: Emulator, tmp_path: Path
) -> None:
    from azure.ai.ml import Input, Output, command
    from azure.ai.ml.entities import Environment

    code = tmp_path / "code"
    code.mkdir()
    (code / "main.py").write_text(
        "import argparse, os, pathlib\n"
        "parser = argparse.ArgumentParser()\n"
        "parser.add_argument('--rows'); parser.add_argument('--out'); parser.add_argument('--report')\n"
        "arguments = parser.parse_args()\n"
        "print('greeting', os.environ['GREETING'], os.getcwd())\n"
        "pathlib.Path(arguments.out, 'rows.txt').write_text(pathlib.Path(arguments.rows).read_text())\n"
        "pathlib.Path(arguments.report).write_text('fine')\n"
    )
    rows = tmp_path / "rows.txt"
    rows.write_text("1 2 3")
    job = command(
        code=str(code),
        command="python main.py --rows ${{inputs.rows}} --out ${{outputs.out}} --report ${{outputs.report}}",
        inputs={"rows": Input(type="uri_file", path=str(rows))},
        outputs={"out": Output(type="uri_folder"), "report": Output(type="uri_file")},
        environment=Environment(image="mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu20.04"),
        environment_variables={"GREETING": "good day"},
        display_name="with code",
        experiment_name="commands",
        tags={"kind": "test"},
    )
    client = emulator.client()
    created = client.jobs.create_or_update(job)
    assert wait(client, created.name) == "Completed", log_text(client, created.name)
    assert "greeting good day" in log_text(client, created.name)
    shown: Any = client.jobs.get(created.name)
    assert (shown.display_name, shown.experiment_name, shown.tags) == ("with code", "commands", {"kind": "test"})
    assert shown.outputs["out"].path.endswith(f"/datastores/workspaceblobstore/paths/azureml/{created.name}/out/")
    client.jobs.download(created.name, download_path=tmp_path / "all", all=True)
    outputs = tmp_path / "all" / "named-outputs"
    assert (outputs / "out" / "rows.txt").read_text() == "1 2 3"
    assert [path.read_text() for path in (outputs / "report").rglob("*") if path.is_file()] == ["fine"]
    assert "greeting good day" in (tmp_path / "all" / "artifacts" / "user_logs" / "std_log.txt").read_text()


def test_a_step_does_not_see_the_secrets_of_whoever_started_the_emulator(emulator: Emulator) -> None:
    client = emulator.client()
    job = client.jobs.create_or_update(line("env | cut -d= -f1 | sort"))
    assert wait(client, job.name) == "Completed"
    names = log_text(client, job.name).split()
    assert not [name for name in names if name.startswith("AZURE_CLIENT")]
    assert {"MLFLOW_RUN_ID", "AZUREML_ROOT_RUN_ID", "HTTPS_PROXY", "REQUESTS_CA_BUNDLE"} <= set(names)


def test_an_archived_job_leaves_the_list_and_returns_when_restored(emulator: Emulator) -> None:
    from azure.ai.ml.constants import ListViewType

    client = emulator.client()
    job = client.jobs.create_or_update(line("true"))
    wait(client, job.name)
    client.jobs.archive(job.name)
    assert job.name not in [each.name for each in client.jobs.list()]
    assert job.name in [each.name for each in client.jobs.list(list_view_type=ListViewType.ARCHIVED_ONLY)]
    client.jobs.restore(job.name)
    assert job.name in [each.name for each in client.jobs.list()]


def test_tags_and_display_name_of_a_job_can_be_changed(emulator: Emulator) -> None:
    client = emulator.client()
    job = client.jobs.create_or_update(line("true", tags={"kept": "1"}))
    changed = client.jobs.update(job.name, display_name="renamed", tags={"added": "2"})
    assert (changed.display_name, changed.tags) == ("renamed", {"kept": "1", "added": "2"})


def test_the_list_comes_newest_first(own_emulator: Emulator) -> None:
    client = own_emulator.client()
    names = [client.jobs.create_or_update(line("true", name=f"job-{n}")).name for n in range(3)]
    assert [job.name for job in client.jobs.list()] == names[::-1]
    for name in names:
        wait(client, name)


def test_a_command_that_cannot_be_found_fails_the_job(emulator: Emulator) -> None:
    client = emulator.client()
    job = client.jobs.create_or_update(line("no-such-program --flag"))
    assert wait(client, job.name) == "Failed"
    assert "status code 127" in failure(client, job.name)
    assert "no-such-program" in failure(client, job.name)


def test_a_submission_whose_answer_was_lost_is_the_same_job_when_sent_again(emulator: Emulator) -> None:
    client = emulator.client()
    first = client.jobs.create_or_update(line("true", name="sent-twice"))
    again = client.jobs.create_or_update(line("true", name="sent-twice"))
    assert first.name == again.name
    assert [job.name for job in client.jobs.list()].count("sent-twice") == 1


def test_another_job_cannot_take_the_name_of_one_that_exists(emulator: Emulator) -> None:
    from azure.core.exceptions import ResourceExistsError

    client = emulator.client()
    client.jobs.create_or_update(line("true", name="taken"))
    with pytest.raises(ResourceExistsError, match="A job with this name already exists"):
        client.jobs.create_or_update(line("echo other", name="taken"))


def test_a_job_for_a_cluster_that_is_not_there_is_refused(emulator: Emulator) -> None:
    from azure.core.exceptions import HttpResponseError

    with pytest.raises(HttpResponseError, match="no-such-cluster"):
        emulator.client().jobs.create_or_update(line("true", compute="no-such-cluster"))


def test_a_deleted_job_is_gone(emulator: Emulator) -> None:
    from azure.core.exceptions import ResourceNotFoundError

    client = emulator.client()
    job = client.jobs.create_or_update(line("true", environment_variables={}))
    wait(client, job.name)
    client.jobs.begin_delete(job.name).wait()
    with pytest.raises(ResourceNotFoundError, match="was not found"):
        client.jobs.get(job.name)


def test_an_input_outside_of_the_workspace_is_refused_with_a_reason(emulator: Emulator) -> None:
    from azure.ai.ml import Input, command

    job = command(
        command="cat ${{inputs.page}}",
        inputs={"page": Input(type="uri_file", path="https://example.com/page.txt")},
        environment=ENVIRONMENT,
    )
    client = emulator.client()
    created = client.jobs.create_or_update(job)
    assert wait(client, created.name) == "Failed"
    assert "lies outside of this workspace's storage account" in failure(client, created.name)
