"""What all tests share: one emulator for the session, and an environment that points at it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.emulated import CALLS, CALLS_OF_ALL, Emulator, pointed_at, running_emulator

TESTS = Path(__file__).parent


SHARED_BY_A_FOLDER = (TESTS / "deployments", TESTS / "scale")
"""Their fixtures bring up a whole stack, which only one of the session's processes should do."""


def pytest_sessionstart(session: pytest.Session) -> None:
    """A session's record of calls begins empty."""
    if not _is_worker(session):
        CALLS.unlink(missing_ok=True)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """The record of all tests is kept, for the page of what the emulator serves."""
    everything = session.config.args_source is pytest.Config.ArgsSource.TESTPATHS and not session.config.option.keyword
    if everything and exitstatus == pytest.ExitCode.OK and not _is_worker(session):
        CALLS.replace(CALLS_OF_ALL)


def _is_worker(session: pytest.Session) -> bool:
    """Whether this is one of the processes of `pytest -n`, and not the one that started them."""
    return hasattr(session.config, "workerinput")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Says which tests stay together in one process of `pytest -n`: a file's, or those of a folder that shares a stack."""
    together = item.path.parent if item.path.parent in SHARED_BY_A_FOLDER else item.path
    item.add_marker(pytest.mark.xdist_group(str(together.relative_to(TESTS))))


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
