"""`up --login`: nobody reads the API without the login, and nobody reads the database without the key."""

import json
import sqlite3
import stat
import subprocess
import sys
import urllib.error
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from deployments.stack.layout import ROOT
from tests.scale.conftest import Guarded

SECRET = "planted-client-secret-8d1f"
READ = "/block_types/slug/azure-credentials/block_documents/name/guarded"


@pytest.fixture(scope="module", autouse=True)
def block(guarded: Guarded) -> None:
    """A block with a secret in it, saved as an operator saves it."""
    code = (
        "from blocks import AzureCredentials\n"
        f"AzureCredentials(auth='service_principal', tenant_id='t', client_id='c', client_secret='{SECRET}')"
        ".save('guarded', overwrite=True)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=guarded.environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def database(guarded: Guarded) -> Path:
    [file] = guarded.stack.prefect_home.glob("*.db")
    return file


@pytest.mark.parametrize("login", ["", "operator:", "operator:guessed"])
def test_without_the_login_the_api_answers_nothing_but_that_it_is_well(guarded: Guarded, login: str) -> None:
    for path in (READ, f"{READ}?include_secrets=true", "/admin/version"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            guarded.ask(path, login=login)
        assert refused.value.code == 401
    assert guarded.ask("/health", login="") is True


def test_with_the_login_a_secret_is_masked_unless_it_is_asked_for(guarded: Guarded) -> None:
    assert SECRET not in json.dumps(guarded.ask(READ))
    assert guarded.ask(f"{READ}?include_secrets=true")["data"]["client_secret"] == SECRET


def test_the_database_holds_neither_the_secret_nor_the_key_that_opens_it(guarded: Guarded) -> None:
    files = list(guarded.stack.prefect_home.glob("*.db*"))
    key = (guarded.stack.home / "encryption.key").read_text()
    for file in files:
        for secret in (SECRET, key, guarded.login):
            assert secret.encode() not in file.read_bytes(), file.name
    with sqlite3.connect(f"file:{database(guarded)}?mode=ro", uri=True) as db:
        assert db.execute("SELECT count(*) FROM configuration WHERE key = 'ENCRYPTION_KEY'").fetchone() == (0,)
        [(data,)] = db.execute("SELECT data FROM block_document WHERE name = 'guarded'")
    assert SECRET in Fernet(key).decrypt(json.loads(data)).decode(), "and with the key it opens"


@pytest.mark.parametrize("name", ["encryption.key", "login"])
def test_only_the_owner_may_read_a_key_file(guarded: Guarded, name: str) -> None:
    assert stat.S_IMODE((guarded.stack.home / name).stat().st_mode) == 0o600


def test_a_stack_that_runs_without_a_login_is_not_given_one(guarded: Guarded) -> None:
    login = guarded.stack.login_file
    kept = login.rename(login.with_suffix(".kept"))
    try:
        again = guarded.run("deployments.stack", "up", "--login", *guarded.options())
        assert again.returncode == 1
        assert "Take the stack down first" in again.stderr
        assert not login.exists()
    finally:
        kept.rename(login)
