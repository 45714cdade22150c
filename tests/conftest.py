"""What all tests share: one emulator for the session, and an environment that points at it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.emulated import CALLS, Emulator, pointed_at, running_emulator

TESTS = Path(__file__).parent


SHARED_BY_A_FOLDER = (TESTS / "deployments", TESTS / "scale")
"""Their fixtures bring up a whole stack, which only one of the session's processes should do."""


def pytest_sessionstart(session: pytest.Session) -> None:
    """A session's record of calls begins empty."""
    if not hasattr(session.config, "workerinput"):
        CALLS.unlink(missing_ok=True)


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
