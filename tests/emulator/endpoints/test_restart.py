"""Deployments outlive the emulator's process, and end with it when it is stopped."""

from __future__ import annotations

from pathlib import Path

import psutil

from tests.emulated import Emulator
from tests.emulator.endpoints.conftest import Endpoint, create_endpoint, registered_model, serving
from tests.processes import is_alive


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
    assert not is_alive(before)
    own_emulator.start()
    until_served(endpoint)
    assert (endpoint.process("blue") == before, endpoint.key) == (False, key)
    assert endpoint.client.online_deployments.get("blue", endpoint.name).provisioning_state == "Succeeded"


def test_a_killed_emulator_finds_its_processes_again(own_emulator: Emulator, tmp_path: Path) -> None:
    endpoint = deployed(own_emulator, tmp_path)
    before = endpoint.process("blue")
    making = endpoint.client.online_deployments.begin_create_or_update(endpoint.deployment("green", INIT="hangs"))
    assert not making.done()
    while len(serving(endpoint)) < 2:
        until_served(endpoint)
    until_served(endpoint)  # and so the emulator has had its turn to note the new process
    kill(own_emulator)
    own_emulator.start()
    until_served(endpoint)
    assert endpoint.process("blue") == before
    assert endpoint.client.online_deployments.get("green", endpoint.name).provisioning_state == "Failed"
    assert serving(endpoint) == [before], "what was being started is ended"
    endpoint.client.online_endpoints.begin_delete(endpoint.name).result()
    assert not is_alive(before)


def test_a_stop_ends_what_a_killed_emulator_left(own_emulator: Emulator, tmp_path: Path) -> None:
    endpoint = deployed(own_emulator, tmp_path)
    kill(own_emulator)
    assert len(serving(endpoint)) == 1
    own_emulator.stop()
    assert serving(endpoint) == []


def kill(emulator: Emulator) -> None:
    process = psutil.Process(emulator.running.pid)
    process.kill()
    process.wait(10)
