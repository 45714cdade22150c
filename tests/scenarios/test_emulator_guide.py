"""The emulator guide's Python blocks do what they say, pasted one after the other: the whole job through the bare SDK."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.documents import python_blocks, run_blocks
from tests.emulated import ROOT, Emulator, command_line


def test_the_first_session_runs_as_written(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.json").write_text(command_line("env", "--config", "--state", str(emulator.state)).stdout)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "guide"}
    blocks = python_blocks((ROOT / "docs" / "emulator.md").read_text("utf-8"))
    assert len(blocks) == 4

    for _ in run_blocks(blocks, names):
        pass

    output = capfd.readouterr().out
    assert re.search(r"Step chat_completion_finetune .*is Running", output), "jobs.stream shows what the steps do"
    assert "This is NOT Microsoft's Phi-4" in output, "a stand-in says so in the job's log"
    assert names["answer"] and '"output"' in names["answer"]
    assert "first-endpoint" not in [endpoint.name for endpoint in names["ml"].online_endpoints.list()]
