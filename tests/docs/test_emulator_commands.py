"""The commands of the pages that need an emulator only, in a folder of their own."""

import json
from pathlib import Path

from tests.docs.commands import ON_AN_EMULATOR, checkout, run_as_written
from tests.emulated import command_line, free_port

LAST = ("python -m emulator stop", "python -m emulator reset")


def test_the_emulators_commands_run_as_written(tmp_path: Path) -> None:
    environment = checkout(tmp_path)
    port = {"python -m emulator start": f"python -m emulator start --port {free_port()}"}
    try:
        done = run_as_written(ON_AN_EMULATOR, tmp_path, environment, port, LAST)
    finally:
        command_line("stop", "--state", str(tmp_path / ".azureml-emulator"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((tmp_path / "config.json").read_text())["workspace_name"] == "emulator-ws"
    assert "Running: proxy" in done.stdout
    assert "hit 0 of" in done.stdout, "the rule was listed"
    assert not (tmp_path / ".azureml-emulator").exists()
