"""After a whole run through the worker no secret is to be found: not in a log, an artifact, an answer of the API, a database or the
emulator's state.

Planted: the service principal's client secret, in an AzureCredentials block that the run signs in with; the storage account's key,
the key that signs tokens and the emulator's control key. Made by the run and by whom it serves: endpoint keys, SAS signatures,
tokens; the latter two are found by their form, whoever made them.
"""

import json
import re
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments.stack.layout import DATABASE, Stack, database_of_the_caller
from tasks.naming import BLOCK_TAG
from tests.deployments.operated import SECRET_BLOCK, Operator
from tests.emulated import Emulator, pointed_at

# A signature or a token of any make. Masked ones (`sig=****`) do not match.
FORMS = {
    "a SAS signature": re.compile(rb"[?&]sig=[A-Za-z0-9%+/]{20,}"),
    "a token": re.compile(rb"eyJ[A-Za-z0-9_-]{16,}\.eyJ[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}"),
    "a private key": re.compile(rb"BEGIN (RSA )?PRIVATE KEY"),
}
# Files that are keys themselves; each is its owner's alone, which a test checks.
KEY_FILES = {"encryption.key", "secret.key", "server.pem"}
ANSWERS = (
    "/flow_runs",
    "/task_runs",
    "/artifacts",
    "/deployments",
    "/block_documents",
    "/automations",
    "/events",
    "/work_pools",
)


@pytest.fixture(scope="module")
def planted(
    operator: Operator, azure: Emulator, main_run: subprocess.CompletedProcess[str]
) -> Iterator[dict[str, bytes]]:
    """Every secret by what it is, after a run that used them all, while its endpoint is there."""
    assert main_run.returncode == 0, main_run.stdout + main_run.stderr
    here = azure.installation
    with pointed_at(azure):
        endpoints = azure.client().online_endpoints
        [name] = [str(its.name) for its in endpoints.list() if (its.tags or {}).get(BLOCK_TAG) == SECRET_BLOCK]
        first = endpoints.get_keys(name)
        endpoints.begin_regenerate_keys(name, key_type="secondary").result()
        second = endpoints.get_keys(name)
    secrets = {
        "the client secret": here.principals[0].secret,
        "another principal's secret": here.principals[1].secret,
        "the storage account's key": here.storage_key,
        "the key that signs tokens": "".join(here.token_key.splitlines()[1:2]),
        "the control key": here.control_key,
        "the primary key": first.primary_key,
        "the secondary key": first.secondary_key,
        "the new secondary key": second.secondary_key,
    }
    yield {what: secret.encode() for what, secret in secrets.items()}
    with pointed_at(azure):
        endpoints.begin_delete(name).result()


def found_in(text: bytes, planted: dict[str, bytes]) -> list[str]:
    """What of it is there in clear."""
    return [what for what, secret in planted.items() if secret in text] + [
        what for what, form in FORMS.items() if form.search(text)
    ]


def files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file() and path.name not in KEY_FILES)


def test_the_search_finds_what_it_looks_for(azure: Emulator, planted: dict[str, bytes]) -> None:
    from emulator.blob import sas
    from emulator.identity.tokens import ARM, Tokens

    here = azure.installation
    assert found_in(b"key: " + planted["the primary key"] + b"\n", planted) == ["the primary key"]
    assert found_in(sas.blob_url(here, "azureml", "model").encode(), planted) == ["a SAS signature"]
    assert found_in(("?" + sas.account_sas(here)).encode(), planted) == ["a SAS signature"]
    assert found_in(Tokens(here).issue(here.principals[0], ARM[0]).encode(), planted) == ["a token"]
    assert found_in(here.token_key.encode(), planted) == ["the key that signs tokens", "a private key"]


def test_the_run_left_something_to_look_through(operator: Operator, planted: dict[str, bytes]) -> None:
    names = {path.name for folder in (operator.stack.home, operator.stack.emulator_state) for path in files(folder)}
    assert {
        "worker.log",
        "server.log",
        "prefect.db",
        "emulator.log",
        "documents.sqlite",
        "mlflow.db",
        "std_log.txt",
    } <= names
    assert all(len(secret) >= 30 for secret in planted.values())


def test_no_file_of_the_stack_holds_a_secret(operator: Operator, planted: dict[str, bytes]) -> None:
    """Prefect's database and logs, stored results, samples."""
    leaks = {str(path): what for path in files(operator.stack.home) if (what := found_in(path.read_bytes(), planted))}
    assert leaks == {}


def test_no_file_of_the_emulator_holds_a_secret(operator: Operator, planted: dict[str, bytes]) -> None:
    """Its documents, logs, blobs, jobs' folders and metrics."""
    state = operator.stack.emulator_state
    leaks = {str(path): what for path in files(state) if (what := found_in(path.read_bytes(), planted))}
    assert leaks == {}


def test_no_answer_of_the_api_holds_a_secret(operator: Operator, planted: dict[str, bytes]) -> None:
    answers = {path: json.dumps(operator.ask(f"{path}/filter")) for path in ANSWERS}
    answers["/logs"] = json.dumps(operator.ask("/logs/filter", {"limit": 200, "sort": "TIMESTAMP_DESC"}))
    assert SECRET_BLOCK in answers["/block_documents"]
    assert "model-card" in answers["/artifacts"]
    assert {path: what for path, text in answers.items() if (what := found_in(text.encode(), planted))} == {}


def test_no_answer_of_the_emulators_own_interface_holds_a_secret(azure: Emulator, planted: dict[str, bytes]) -> None:
    calls = json.dumps(azure.ask("GET", "/calls"))
    assert "/listkeys" in calls.lower()
    assert found_in(calls.encode(), planted) == []


def test_key_files_are_their_owners_alone(operator: Operator, planted: dict[str, bytes]) -> None:
    kept = [
        path
        for folder in (operator.stack.home, operator.stack.emulator_state)
        for path in folder.rglob("*")
        if path.name in KEY_FILES
    ]
    assert {path.name for path in kept} == KEY_FILES
    assert {stat.S_IMODE(path.stat().st_mode) for path in kept} == {0o600}


def test_what_is_kept_is_of_no_use_with_another_key(operator: Operator, tmp_path: Path) -> None:
    from emulator.installation import FILE, Installation
    from emulator.seal import SealBroken

    (tmp_path / FILE).write_bytes((operator.stack.emulator_state / FILE).read_bytes())
    with pytest.raises(SealBroken, match=r"cannot be read with this folder's secret\.key"):
        Installation.open(tmp_path)


def test_a_key_is_made_once_and_is_its_owners_alone(tmp_path: Path) -> None:
    stack = Stack(tmp_path, 4200, tmp_path / "azure", 8888)
    stack.require_login()
    first = stack.server_environment()
    made = (stack.login_file, tmp_path / "encryption.key")
    assert {stat.S_IMODE(file.stat().st_mode) for file in made} == {0o600}
    assert stack.server_environment() == first, "what is encrypted could not be read any more"
    assert not any("ENCRYPTION_KEY" in name for name in stack.worker_environment({}))


def test_the_callers_database_is_noted_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DATABASE, "postgresql+asyncpg://prefect:hunter2@elsewhere:5432/prefect")
    assert database_of_the_caller() == "postgresql+asyncpg://prefect:***@elsewhere:5432/prefect"
