"""Small commands for jobs, as a user writes them with the SDK."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

ENVIRONMENT = "azureml://registries/azureml/environments/acft-hf-nlp-gpu/versions/105"
SECONDS = 60.0  # after which something is broken rather than slow

TERMINAL = ("Completed", "Failed", "Canceled")


def writer(code: str = "print('writing')") -> Any:
    """A component that runs `code` and writes its input `text` to `a.txt` in its output `out`."""
    from azure.ai.ml import Input, Output, command

    return command(
        name="writer",
        command=f"""python -c "{code}" && printf %s '${{{{inputs.text}}}}' > ${{{{outputs.out}}}}/a.txt""",
        inputs={"text": Input(type="string", default="hello")},
        outputs={"out": Output(type="uri_folder")},
        environment=ENVIRONMENT,
    )


def reader() -> Any:
    """A component that copies `a.txt` of its input `source` to `b.txt` in its output `result`."""
    from azure.ai.ml import Input, Output, command

    return command(
        name="reader",
        command="cat ${{inputs.source}}/a.txt $[[&& echo extra ${{inputs.extra}}]] "
        "&& cp ${{inputs.source}}/a.txt ${{outputs.result}}/b.txt",
        inputs={"source": Input(type="uri_folder"), "extra": Input(type="string", optional=True)},
        outputs={"result": Output(type="uri_folder")},
        environment=ENVIRONMENT,
    )


def line(command_line: str, **options: Any) -> Any:
    """A command job without inputs or outputs."""
    from azure.ai.ml import command

    return command(command=command_line, environment=ENVIRONMENT, **options)


def pipeline_of(*steps: Any, compute: str = "serverless", name: str = "steps") -> Any:
    """A pipeline job whose steps, all writers, depend on nothing."""
    from azure.ai.ml import dsl

    @dsl.pipeline(None, name=name)
    def steps_of_it() -> None:
        for step in steps:
            step()

    job: Any = steps_of_it()
    job.settings.default_compute = compute
    return job


def wait(client: MLClient, name: str, until: Callable[[str], bool] = lambda status: status in TERMINAL) -> str:
    """Polls the job until its status is one of those wanted; returns it."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        status = status_of(client, name)
        if until(status):
            return status
        assert status not in TERMINAL, f"job {name} ended as {status}: {failure(client, name)}"
        time.sleep(0.1)
    raise AssertionError(f"job {name} is still {status}")


def status_of(client: MLClient, name: str) -> str:
    """The job's status, as Azure writes it."""
    status: Any = client.jobs.get(name).status
    return str(getattr(status, "value", status))


def details(client: MLClient, name: str) -> Any:
    """What run history tells of a run."""
    return client.jobs._runs_operations.get_run_details(name)


def failure(client: MLClient, name: str) -> str:
    """The message of a run's error."""
    error = details(client, name).error
    return str(error.error.message) if error else ""


def log_text(client: MLClient, name: str, file: str = "user_logs/std_log.txt") -> str:
    """A log file of a run, read at the address that run history gives."""
    import requests

    return requests.get(details(client, name).log_files[file], timeout=30).text
