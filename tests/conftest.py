"""What all tests share: one emulator for the session, and an environment that points at it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

# Before anything of Prefect's is imported: tests write neither to the server or the database that a shell is set up for, nor into
# the home folder.
for _name in [name for name in os.environ if name.startswith("PREFECT_")]:
    del os.environ[_name]
_HOME = TemporaryDirectory(prefix="prefect-home-", ignore_cleanup_errors=True)
os.environ["PREFECT_HOME"] = _HOME.name

from tests.emulated import CALLS, Emulator, keep_calls, pointed_at, running_emulator  # noqa: E402


def pytest_sessionstart(session: pytest.Session) -> None:
    """A session's record of calls begins empty; its processes write to one."""
    if not hasattr(session.config, "workerinput"):
        CALLS.unlink(missing_ok=True)


@pytest.fixture(scope="module", autouse=True)
def _calls_are_kept() -> Iterator[None]:
    """Module by module: some tests clear an emulator's own record."""
    yield
    keep_calls()


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
