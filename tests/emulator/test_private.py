"""What stays with whoever started the emulator: the secrets of the environment, and what lies in the state folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from emulator.engine.environment import cache_folder
from tests.emulated import Emulator, command_line, pointed_at, running_emulator
from tests.emulator.endpoints.conftest import Endpoint, create_endpoint, registered_model
from tests.emulator.jobs.commands import line, log_text, wait

SECRETS = {
    name: f"planted-{number}"
    for number, name in enumerate((
        "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "AZURE_CLIENT_SECRET", "AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "PREFECT_API_KEY",
        "PREFECT_SERVER_API_AUTH_STRING", "OPENAI_API_KEY", "WANDB_API_KEY", "PGPASSWORD", "MLFLOW_TRACKING_PASSWORD",
        "AZUREML_EMULATOR_SECRET", "XDG_SECRET", "LC_SECRET", "PIP_INDEX_URL",
    ))
}  # fmt: skip
"""As hosts hold them, and under the prefixes of harmless ones."""


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """Started in a shell full of secrets that lets everybody read its files, over a folder that everybody may read."""
    state = tmp_path_factory.mktemp("open") / "state"
    state.mkdir(mode=0o755)
    before, mask = dict(os.environ), os.umask(0)
    os.environ.update(SECRETS)
    try:
        with running_emulator(state) as running:
            os.umask(mask)
            os.environ.clear()
            os.environ.update(before)
            with pointed_at(running):
                yield running
    finally:
        os.umask(mask)
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(scope="module")
def endpoint(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Endpoint:
    client = emulator.client()
    model = registered_model(client, tmp_path_factory.mktemp("model") / "weights")
    endpoint = create_endpoint(client, model.id, auth_mode="key")
    endpoint.deploy("blue", MINE="given")
    endpoint.route(blue=100)
    return endpoint


def planted(environment: str) -> list[str]:
    return [name for name, secret in SECRETS.items() if secret in environment]


def test_a_job_sees_no_secret_of_the_host(emulator: Emulator) -> None:
    client = emulator.client()
    job = client.jobs.create_or_update(line("env", environment_variables={"MINE": "given"}))
    assert wait(client, job.name) == "Completed"
    environment = log_text(client, job.name)
    assert "MINE=given" in environment
    assert planted(environment) == []


def test_a_model_server_sees_no_secret_of_the_host(endpoint: Endpoint) -> None:
    environment = psutil.Process(endpoint.process("blue")).environ()
    assert environment["MINE"] == "given"
    assert planted(str(environment)) == []


def test_what_the_emulator_keeps_is_its_users_alone(emulator: Emulator, endpoint: Endpoint) -> None:
    client = emulator.client()
    job = client.jobs.create_or_update(line("mkdir -p outputs && echo hello > outputs/said.txt"))
    assert wait(client, job.name) == "Completed"
    assert endpoint.score().ok
    assert emulator.state.stat().st_mode & 0o777 == 0o700
    here = [path for path in emulator.state.rglob("*") if not path.is_symlink()]
    assert {"said.txt", "documents.sqlite", "emulator.log", "weights.txt"} <= {path.name for path in here}
    assert [str(path) for path in here if path.stat().st_mode & 0o077] == []


def test_models_are_kept_with_the_state_where_home_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder(tmp_path / "state") == tmp_path / "home" / ".cache" / "azureml-emulator"
    monkeypatch.setenv("HOME", "/proc/none")
    assert cache_folder(tmp_path / "state") == tmp_path / "state" / "cache"


@pytest.mark.parametrize("command", ["start", "serve"])
def test_a_state_folder_that_cannot_be_is_refused_in_a_sentence(tmp_path: Path, command: str) -> None:
    (tmp_path / "file").write_text("")
    done: Any = command_line(command, "--state", str(tmp_path / "file" / "state"), "--port", "1", check=False)
    assert done.returncode == 1
    assert f"The state folder {tmp_path / 'file' / 'state'} cannot be used: Not a directory." in done.stderr
    assert "Traceback" not in done.stderr
