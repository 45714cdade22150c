"""Fault rules as a script adds them, and the session's emulator without any when a test is over."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.emulated import Emulator, command_line

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

Inject = Callable[..., str]


def add(emulator: Emulator, rule: dict[str, Any]) -> str:
    """Puts a rule in force by the command line; returns its id."""
    return command_line("faults", "add", "--state", str(emulator.state), json.dumps(rule)).stdout.strip()


def rules(emulator: Emulator) -> list[dict[str, Any]]:
    """What `faults list --json` prints."""
    return json.loads(command_line("faults", "list", "--state", str(emulator.state), "--json").stdout)


def clear(emulator: Emulator) -> None:
    """Takes all rules out of force."""
    command_line("faults", "clear", "--state", str(emulator.state))


@pytest.fixture
def inject(emulator: Emulator) -> Iterator[Inject]:
    """Adds a rule to the session's emulator: `inject("PUT", "*/jobs/*", kind=..., ...)`; all are cleared afterwards."""

    def adding(method: str, path: str, *, match: dict[str, Any] | None = None, **effect: Any) -> str:
        return add(emulator, {"match": {"method": method, "path": path, **(match or {})}, "effect": effect})

    yield adding
    clear(emulator)


@pytest.fixture(scope="session")
def client(emulator: Emulator) -> MLClient:
    return emulator.client()
