"""A clock that is set, hours forward or back, while things run: processes stay who they are, and what was handed out stays good."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from deployments.stack.processes import Started
from emulator import births, daemon
from emulator.blob import sas
from emulator.engine.process import StepProcess
from emulator.engine.supervisor import CLAIM, PROCESS
from emulator.identity import tokens
from emulator.identity.tokens import ARM, Tokens
from emulator.installation import Installation
from emulator.scoring import keys
from emulator.scoring.process import Identity, ModelProcess, identity_of

HOURS = [pytest.param(-7200.0, id="back"), pytest.param(7200.0, id="forward")]
WAIT = [sys.executable, "-c", "import time; time.sleep(600)"]

pytestmark = pytest.mark.skipif(
    not births.BOOT.exists(), reason="only Linux counts a process's beginning from the clock"
)


@pytest.fixture
def process() -> Iterator[int]:
    with subprocess.Popen(WAIT) as running:
        yield running.pid
        running.kill()


def set_clock(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """What setting the clock does to psutil: the time since 1970 at which a process began is counted back from now."""
    real = psutil.Process.create_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: real(self) + seconds)


@pytest.mark.parametrize("seconds", HOURS)
def test_processes_are_found_again(
    tmp_path: Path, process: int, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    born = births.began(process)
    (tmp_path / daemon.PROCESS_FILE).write_text(json.dumps({"pid": process, "created": born, "port": 1, "tls_port": 2}))
    (tmp_path / CLAIM).touch()
    (tmp_path / PROCESS).write_text(
        json.dumps({"supervisor": process, "created": born, "group": process, "group_created": born})
    )
    started = Started.of(process)
    set_clock(monkeypatch, seconds)
    assert daemon.find(tmp_path) is not None
    assert started.find() is not None
    adopted = StepProcess.adopt(tmp_path)
    assert adopted is not None and adopted._is_alive(0.0)
    assert ModelProcess.adopt(Identity(process, born, 1)) is not None


def test_what_an_older_version_noted_still_tells_a_process_from_a_later_one(tmp_path: Path, process: int) -> None:
    noted = psutil.Process(process).create_time()
    file = tmp_path / daemon.PROCESS_FILE
    file.write_text(json.dumps({"pid": process, "created": noted, "port": 1, "tls_port": 2}))
    assert daemon.find(tmp_path) is not None
    assert Started(process, noted).find() is not None
    assert ModelProcess.adopt(identity_of({"pid": process, "created": noted, "port": 1})) is not None
    file.write_text(json.dumps({"pid": process, "created": noted - 3600, "port": 1, "tls_port": 2}))
    assert daemon.find(tmp_path) is None
    assert Started(process, noted - 3600).find() is None


def test_a_process_of_another_start_of_the_machine_is_another(process: int) -> None:
    boot, ticks = str(births.began(process)).split()
    assert births.lives(process, f"{boot} {ticks}")
    assert not births.lives(process, f"{boot[::-1]} {ticks}")
    assert not births.lives(process, f"{boot} {int(ticks) - 1}")
    assert births.began(os.getpid()) != births.began(process)


def test_tokens_and_signatures_stay_good_when_the_clock_is_set_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Installation.open(tmp_path)
    real = tokens.time.time
    with monkeypatch.context() as before:
        before.setattr(tokens.time, "time", lambda: real() + 7200)
        token = Tokens(here).issue(here.principals[0], ARM[0])
        endpoint = {"name": "one", "authMode": "AMLToken", "keys": {"primary": keys.new_key(), "secondary": ""}}
        own = keys.issue_token(endpoint)
    assert Tokens(here).verify(f"Bearer {token}", ARM) == here.principals[0]
    assert keys.opens(f"Bearer {own}", endpoint, Tokens(here))
    assert "st=" not in sas.account_sas(here)
