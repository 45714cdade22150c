"""`python -m demo`, with the stand-in instead of the larger model: what it prints, how it ends, and that nothing is left."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import yaml
from filelock import FileLock

from demo.__main__ import LOCK
from deployments.stack.layout import DATABASE
from tests.emulated import ROOT
from tests.processes import alive_where

OPERATORS = "operators.db"
PROXY = ("HTTPS_PROXY", "https_proxy", "REQUESTS_CA_BUNDLE")


def run_demo(folder: Path, **changes: dict[str, object]) -> subprocess.CompletedProcess[str]:
    """Runs the demo with its parameters changed, in a terminal that is set up for another server and its database in `folder`."""
    parameters = yaml.safe_load((ROOT / "demo" / "parameters.yaml").read_text())
    for group, values in changes.items():
        parameters[group] = {**parameters[group], **values}
    file = folder / "parameters.yaml"
    file.write_text(yaml.safe_dump(parameters))
    env = {name: value for name, value in os.environ.items() if name not in PROXY and not name.startswith("PREFECT")}
    env |= {"PREFECT_API_URL": "http://127.0.0.1:9/api", DATABASE: f"sqlite+aiosqlite:///{folder / OPERATORS}"}
    return subprocess.run(
        [sys.executable, "-m", "demo", "--params", str(file)],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
    )


def left_running() -> list[list[str]]:
    """Processes of the demo's emulator and of what it started, and of its Prefect."""
    scratch = str(ROOT / ".cache" / "demo")

    def is_the_demos(process: psutil.Process) -> bool:
        return any(scratch in text for text in (*process.cmdline(), process.environ().get("PREFECT_HOME", "")))

    return [process.cmdline() for process in alive_where(is_the_demos)]


def test_a_good_run_ends_with_a_summary_and_leaves_nothing_running(tmp_path: Path) -> None:
    done = run_demo(
        tmp_path,
        model={"name": "Phi-3-mini-4k-instruct"},
        training={"max_steps": 12, "learning_rate": 0.01},
        scoring={"rows": 1, "max_new_tokens": 8},
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    for shown in (
        "Phi-3-mini-4k-instruct-chitchat, version",
        "loss on held-out rows",
        "over HTTPS",
        "deleted endpoint ft-",
    ):
        assert shown in done.stdout
    first_screen = done.stdout.partition("╭")[0].splitlines()
    for lines in (first_screen, done.stderr.splitlines()):
        assert lines and all(re.search(r"[^\s.]", re.sub(r"\x1b\[[\d;]*m", "", line)) for line in lines), lines
    assert left_running() == []
    assert not (tmp_path / OPERATORS).exists()


@pytest.mark.parametrize(
    ("changes", "stage", "why"),
    [
        ({"model": {"name": "Phi-2-chat"}}, "find_foundation_model", "was retired on 2024-08-30"),
        ({"compute": {"size": "Standard_DS3_v2"}}, "validate_compute", "Standard_DS3_v2"),
    ],
)
def test_a_bad_run_says_which_stage_and_why_and_leaves_nothing_running(
    tmp_path: Path, changes: dict[str, dict[str, object]], stage: str, why: str
) -> None:
    done = run_demo(tmp_path, **changes)
    assert done.returncode == 1
    [ended] = [line for line in done.stderr.splitlines() if line.startswith("The run ended as Failed")]
    assert f"Stage {stage} failed:" in ended and why in ended
    assert left_running() == []


def test_a_second_demo_beside_a_running_one_is_refused_and_disturbs_nothing(tmp_path: Path) -> None:
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(LOCK):
        second = run_demo(tmp_path)
    assert second.returncode == 1
    assert second.stderr.startswith(f"Another demo is running over {LOCK.parent}.")
    assert second.stdout == ""
