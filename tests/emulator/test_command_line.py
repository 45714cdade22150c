"""`python -m emulator`: what scripts rely on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import requests

from tests.emulated import Emulator, command_line, free_port, pointed_at, running_emulator
from tests.processes import is_alive


def test_start_returns_when_ready_and_can_be_repeated(tmp_path: Path) -> None:
    state, port = str(tmp_path / "state"), str(free_port())
    try:
        assert "is ready" in command_line("start", "--state", state, "--port", port).stdout
        first = json.loads(command_line("status", "--state", state, "--json").stdout)
        command_line("start", "--state", state, "--port", port)
        assert json.loads(command_line("status", "--state", state, "--json").stdout)["pid"] == first["pid"]
        other = command_line("start", "--state", state, "--port", str(free_port()), check=False)
        assert other.returncode == 1 and f"already runs on port {port}" in other.stderr
    finally:
        command_line("stop", "--state", state)
    assert command_line("status", "--state", state, check=False).returncode == 3
    assert "No emulator runs" in command_line("stop", "--state", state).stdout


def test_env_can_be_evaluated_by_a_shell(emulator: Emulator) -> None:
    printed = command_line("env", "--state", str(emulator.state)).stdout
    script = printed + '\nprintf "%s|%s" "$HTTPS_PROXY" "$AZURE_TENANT_ID"'
    shell = subprocess.run(
        ["sh", "-c", script], capture_output=True, text=True, check=True, env={"PATH": os.environ["PATH"]}
    )
    assert shell.stdout == f"http://127.0.0.1:{emulator.port}|{emulator.installation.tenant_id}"
    config = json.loads(command_line("env", "--config", "--state", str(emulator.state)).stdout)
    assert set(config) == {"subscription_id", "resource_group", "workspace_name"}


def test_env_without_an_emulator_says_what_to_do(tmp_path: Path) -> None:
    refused = command_line("env", "--state", str(tmp_path), check=False)
    assert refused.returncode == 1 and "python -m emulator start" in refused.stderr


def test_a_taken_port_is_refused_in_one_sentence(emulator: Emulator, tmp_path: Path) -> None:
    refused = command_line("start", "--state", str(tmp_path / "s"), "--port", str(emulator.port), check=False)
    assert refused.returncode == 1
    assert f"Port {emulator.port} on 127.0.0.1 is taken" in refused.stderr and "Traceback" not in refused.stderr


def test_two_emulators_do_not_know_each_other(emulator: Emulator, tmp_path: Path) -> None:
    with running_emulator(tmp_path / "other") as other:
        assert other.installation.subscription_id != emulator.installation.subscription_id
        token = emulator.credential().get_token("https://management.azure.com/.default").token
        with pointed_at(other):
            url = f"https://management.azure.com{other.installation.workspace_id}?api-version=1"
            answer = requests.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=10)
    assert answer.status_code == 401, "a token of one is nothing to the other"


def test_state_survives_a_stop(own_emulator: Emulator) -> None:
    from azure.ai.ml.entities import AmlCompute

    client = own_emulator.client()
    client.compute.begin_create_or_update(AmlCompute(name="kept", size="Standard_NC6s_v3", max_instances=3)).result()
    token = own_emulator.credential().get_token("https://management.azure.com/.default").token
    own_emulator.stop()
    own_emulator.start()
    url = f"https://management.azure.com{own_emulator.installation.workspace_id}/computes/kept?api-version=1"
    kept = requests.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=10).json()
    assert kept["properties"]["properties"]["scaleSettings"]["maxNodeCount"] == 3


def test_reset_deletes_only_what_an_emulator_made(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("x")
    refused = command_line("reset", "--state", str(tmp_path), check=False)
    assert refused.returncode == 1 and (tmp_path / "precious.txt").exists()
    state = tmp_path / "state"
    command_line("start", "--state", str(state), "--port", str(free_port()))
    pid = json.loads(command_line("status", "--state", str(state), "--json").stdout)["pid"]
    command_line("reset", "--state", str(state))
    assert not state.exists()
    assert not is_alive(pid)


def test_a_killed_emulator_starts_again(own_emulator: Emulator) -> None:
    os.kill(own_emulator.running.pid, signal.SIGKILL)
    own_emulator.start()
    assert own_emulator.client().workspaces.get(own_emulator.installation.workspace).name


def test_help_names_every_command() -> None:
    said = command_line("--help").stdout
    for name in ("start", "stop", "status", "env", "reset", "faults", "import-model", "calls"):
        assert name in said
