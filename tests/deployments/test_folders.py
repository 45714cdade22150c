"""Whose the stack's folder is and whether there is room in it: a sentence, before anything is started."""

from __future__ import annotations

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from deployments.stack import __main__ as stack_command
from deployments.stack import bringing_up
from deployments.stack.layout import Stack
from deployments.stack.processes import Processes, StackError
from tests.deployments.operated import Operator
from tests.emulated import Emulator, free_port
from tests.limits import python, without_rights


@pytest.mark.parametrize("command", ["up", "status", "down"])
def test_a_folder_of_another_users_is_refused_in_a_sentence(tmp_path: Path, command: str) -> None:
    with without_rights(tmp_path / "home") as home:
        done = python("deployments.stack", command, "--home", str(home))
    assert done.returncode == 1
    assert done.stderr.startswith(f"The stack's folder: {home}")
    assert done.stderr.endswith("or name another folder with --home.\n")
    assert done.stderr.count("\n") == 1, done.stderr
    assert list(home.iterdir()) == []


def test_a_folder_without_room_is_refused_in_a_sentence(tmp_path: Path) -> None:
    done = python("deployments.stack", "up", "--home", str(tmp_path / "home"), full=True)
    assert done.returncode == 1
    assert done.stderr.startswith(f"The stack's folder: {tmp_path / 'home'} cannot be written to: ")
    assert done.stderr.endswith("or name another folder with --home.\n")
    assert list((tmp_path / "home").iterdir()) == []


def test_status_says_which_folder_has_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stack = Stack(tmp_path / "home", free_port(), tmp_path / "azure", free_port())
    for folder in (stack.home, stack.emulator_state):
        folder.mkdir()
    stack.save()
    done = python("deployments.stack", "status", "--home", str(stack.home), full=True)
    assert done.returncode == 3
    told = [line for line in done.stdout.splitlines() if line.startswith("disk ")]
    assert [line.split()[1] for line in told] == [str(stack.home), str(stack.emulator_state)]
    assert all(line.endswith("and what waits for it goes on.") for line in told)
    # Also where all of it runs.
    monkeypatch.setattr(stack_command.azure, "running", lambda stack: "somewhere")
    monkeypatch.setattr(stack_command.Processes, "running", lambda self: dict.fromkeys(("server", "worker"), Here()))
    monkeypatch.setattr(bringing_up, "is_healthy", lambda stack: True)
    monkeypatch.setattr(bringing_up, "nights", lambda stack: ([], True))
    assert stack_command.main(["status", "--home", str(stack.home)]) == 0
    monkeypatch.setattr(stack_command, "_refusals", lambda stack: ["/a cannot be written to: no space."])
    assert stack_command.main(["status", "--home", str(stack.home)]) == 3
    assert "disk       /a cannot be written to: no space." in capsys.readouterr().out


class Here:
    pid = 1


def test_a_second_checkout_is_told_of_the_ports_that_the_first_one_has(own_emulator: Emulator, tmp_path: Path) -> None:
    operator = Operator(Stack(tmp_path / "home", free_port(), tmp_path / "azure", own_emulator.port))
    up = operator.command("up")
    assert up.returncode == 1
    assert f"Port {own_emulator.port} on 127.0.0.1 is taken" in up.stderr
    assert up.stderr.endswith("choose another with --emulator-port.\n")
    assert not Processes(operator.stack.home).running()


def test_another_server_that_was_quicker_to_take_the_port_is_not_taken_for_the_stacks_own(tmp_path: Path) -> None:
    port = free_port()
    quicker = ThreadingHTTPServer(("127.0.0.1", port), Healthy)
    threading.Thread(target=quicker.serve_forever, daemon=True).start()
    processes = Processes(tmp_path)
    try:
        with pytest.raises(StackError, match="Prefect's server ended while starting"):
            bringing_up.start_server(Stack(tmp_path, port, tmp_path / "azure", free_port()), processes)
    finally:
        processes.stop("server")
        quicker.shutdown()
        quicker.server_close()


class Healthy(BaseHTTPRequestHandler):
    """Somebody else's server that answers."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


def test_a_port_that_somebody_listens_on_is_told_by_its_number() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(StackError, match=f"Port {port} on 127.0.0.1 is taken"):
            bringing_up._require_free(port)
    bringing_up._require_free(free_port())
