"""What all tests share: one emulator for the session, and an environment that points at it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.emulated import CALLS, CALLS_OF_ALL, Emulator, pointed_at, running_emulator


def pytest_sessionstart() -> None:
    """A session's record of calls begins empty."""
    CALLS.unlink(missing_ok=True)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """The record of all tests is kept, for the page of what the emulator serves."""
    everything = session.config.args_source is pytest.Config.ArgsSource.TESTPATHS and not session.config.option.keyword
    if everything and exitstatus == pytest.ExitCode.OK:
        CALLS.replace(CALLS_OF_ALL)


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """The session's emulator. Tests that kill, reset or misconfigure one start their own."""
    with running_emulator(tmp_path_factory.mktemp("azure") / "state") as emulator, pointed_at(emulator):
        yield emulator


@pytest.fixture
def own_emulator(tmp_path: Path) -> Iterator[Emulator]:
    """An emulator of the test's own, which it may kill."""
    with running_emulator(tmp_path / "state") as emulator, pointed_at(emulator):
        yield emulator
