"""A console run as a person sees it: bars where there is a terminal, plain lines where there is none."""

import io
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_HOME

from blocks import AzureMLWorkspace
from flows.stages import STAGES
from flows.terminal import OnlyWords, only_words
from tests.flows.conftest import BLOCK

ROOT = Path(__file__).resolve().parents[2]
PARAMETERS = f"{{workspace: {BLOCK}, model: {{name: no-such-model}}}}"
"""A run that ends at its third stage."""


def test_dots_and_empty_lines_of_the_sdk_are_not_shown_and_all_words_are() -> None:
    out = io.StringIO()
    ours = OnlyWords(out)
    for text in (".", ".", "a line.", ".", "\n", "\x1b[39m\n", "\n", "...", "\x1b[39m", "\n", "\n", "last\n", "\n"):
        assert ours.write(text) == len(text)
    print("  Uploading", "model", "...", 3, file=ours)
    print(".", end="", flush=True, file=ours)
    assert out.getvalue() == "a line.\nlast\n  Uploading model ... 3\n"


def test_both_ways_to_the_terminal_are_rid_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    with only_words():
        for stream in (sys.stdout, sys.stderr):
            print("\x1b[39m\n", file=stream)
            print(".", end="", flush=True, file=stream)
            print("said", file=stream)
    assert capsys.readouterr() == ("said\n", "said\n")


def begin(folder: Path, out: int) -> subprocess.Popen[bytes]:
    """A console run that writes to `out`."""
    file = folder / "run.yaml"
    file.write_text(PARAMETERS)
    env = {
        **os.environ,
        "PREFECT_API_URL": str(PREFECT_API_URL.value()),
        "PREFECT_HOME": str(PREFECT_HOME.value()),
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
        "TERM": "xterm",
        "COLUMNS": "160",
    }
    command = [sys.executable, "-m", "flows", "finetune", "--params", str(file)]
    return subprocess.Popen(command, cwd=ROOT, env=env, stdout=out, stderr=out)


def everything(end: int) -> str:
    """What was written to the other end, until it is closed."""
    parts: list[bytes] = []
    while True:
        try:
            part = os.read(end, 65_536)
        except OSError:  # how Linux says that nobody holds the terminal any more
            part = b""
        if not part:
            return b"".join(parts).decode()
        parts.append(part)


def test_a_terminal_shows_a_bar_that_moves_below_the_log(workspace: AzureMLWorkspace, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    run = begin(tmp_path, theirs)
    os.close(theirs)
    seen = everything(ours)
    os.close(ours)
    assert run.wait() == 1
    assert "stages" in seen
    assert f"0 of {len(STAGES)} stages done, now resolve_credentials" in seen
    assert f"1 of {len(STAGES)} stages done" in seen
    assert "━" in seen
    assert "Working in" in seen
    # Written above the bars and not behind them: where a line of the log begins, what stood there has been erased.
    before = [line.split("INFO")[0].rsplit("\x1b[2K")[-1] for line in seen.split("\n") if "INFO" in line]
    assert before
    assert not any("━" in text for text in before)


def test_without_a_terminal_there_are_plain_lines(workspace: AzureMLWorkspace, tmp_path: Path) -> None:
    ours, theirs = os.pipe()
    run = begin(tmp_path, theirs)
    os.close(theirs)
    seen = everything(ours)
    os.close(ours)
    assert run.wait() == 1
    assert "Working in" in seen
    assert "There is no model no-such-model" in seen
    assert "━" not in seen
    assert "\x1b" not in seen
