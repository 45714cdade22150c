"""Deployments outlive the emulator's process, and end with it when it is stopped."""

from __future__ import annotations

from pathlib import Path

import psutil

from tests.emulated import Emulator
from tests.emulator.endpoints.conftest import Endpoint, create_endpoint, registered_model, runs


def deployed(emulator: Emulator, folder: Path) -> Endpoint:
    client = emulator.client()
    endpoint = create_endpoint(client, registered_model(client, folder / "weights").id, auth_mode="key")
    endpoint.deploy("blue")
    endpoint.route(blue=100)
    return endpoint


def until_served(endpoint: Endpoint) -> None:
    for _ in range(500):
        if endpoint.score().status_code == 200:
            return
    raise AssertionError("the deployment is not served again")


def test_a_stop_ends_the_processes_and_a_start_serves_again(own_emulator: Emulator, tmp_path: Path) -> None:
    endpoint = deployed(own_emulator, tmp_path)
    before, key = endpoint.process("blue"), endpoint.key
    own_emulator.stop()
    assert not runs(before)
    own_emulator.start()
    until_served(endpoint)
    assert (endpoint.process("blue") == before, endpoint.key) == (False, key)
    assert endpoint.client.online_deployments.get("blue", endpoint.name).provisioning_state == "Succeeded"


def test_a_killed_emulator_finds_its_processes_again(own_emulator: Emulator, tmp_path: Path) -> None:
    endpoint = deployed(own_emulator, tmp_path)
    before = endpoint.process("blue")
    making = endpoint.client.online_deployments.begin_create_or_update(endpoint.deployment("green", INIT="hangs"))
    assert not making.done()
    emulator = psutil.Process(own_emulator.running.pid)
    emulator.kill()
    emulator.wait(10)
    own_emulator.start()
    until_served(endpoint)
    assert endpoint.process("blue") == before
    assert endpoint.client.online_deployments.get("green", endpoint.name).provisioning_state == "Failed"
    endpoint.client.online_endpoints.begin_delete(endpoint.name).result()
    assert not runs(before)
