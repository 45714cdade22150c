"""The proxy leads Azure's hosts here and lets nothing else of Azure's, and nothing private, through."""

from __future__ import annotations

import socket

import pytest

from tests.emulated import Emulator
from tests.emulator.jobs.commands import line, log_text, wait


def ask(emulator: Emulator, request: bytes, *, wait: float = 15.0) -> bytes:
    """Sends raw bytes to the proxy and returns all that it answers."""
    with socket.create_connection(("127.0.0.1", emulator.port), timeout=wait) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while data := connection.recv(65536):
            answer += data
        return answer


def connect(emulator: Emulator, target: str) -> bytes:
    return ask(emulator, f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode("latin-1"))


def test_a_served_host_is_tunnelled(emulator: Emulator) -> None:
    assert connect(emulator, "management.azure.com:443").startswith(b"HTTP/1.1 200 ")
    assert connect(emulator, "MANAGEMENT.azure.com:443").startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "target",
    [
        "westus2.api.azureml.ms:443",
        "someoneelse.blob.core.windows.net:443",
        "westus-0.in.applicationinsights.azure.com:443",
        "management.usgovcloudapi.net:443",
        "management.azure.com:8443",
        "graph.microsoft.azure.com:443",
    ],
)
def test_an_azure_host_that_is_not_served_is_refused_and_logged(emulator: Emulator, target: str) -> None:
    answer = connect(emulator, target)
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert f"refused {target}: an Azure host" in emulator.log


@pytest.mark.parametrize(
    "target",
    [
        "127.0.0.1:22",
        "localhost:443",
        "10.0.0.1:443",
        "192.168.1.1:443",
        "172.16.0.1:443",
        "169.254.169.254:80",
        "0.0.0.0:443",
        "[::1]:443",
        "[fe80::1]:443",
        "[::ffff:127.0.0.1]:443",
        "127.1:443",
    ],
)
def test_a_private_target_is_refused_and_logged(emulator: Emulator, target: str) -> None:
    assert connect(emulator, target).startswith(b"HTTP/1.1 403 ")
    assert f"refused {target.replace('[', '').replace(']', '')}: a loopback" in emulator.log


def test_another_public_host_is_passed_through_as_far_as_it_can_be_reached(emulator: Emulator) -> None:
    # A name that no resolver knows: the proxy tried, and says that it could not; it did not refuse.
    assert connect(emulator, "no-such-host.invalid:443").startswith(b"HTTP/1.1 502 ")


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET http://example.org/ HTTP/1.1\r\n\r\n", b"405"),
        (b"CONNECT nonsense HTTP/1.1\r\n\r\n", b"400"),
        (b"CONNECT a b c d\r\n\r\n", b"400"),
        (b"CONNECT host:99999 HTTP/1.1\r\n\r\n", b"400"),
        (b"CONNECT \xff\xfe:443 HTTP/1.1\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"400"),
        (b"CONNECT management.azure.com:443 HTTP/1.1\r\nX: " + b"a" * 100_000 + b"\r\n\r\n", b"431"),
    ],
)
def test_a_broken_request_is_refused(emulator: Emulator, request_bytes: bytes, status: bytes) -> None:
    assert ask(emulator, request_bytes).startswith(b"HTTP/1.1 " + status)


def test_it_listens_on_loopback_only(emulator: Emulator) -> None:
    import psutil

    listening = [c.laddr.ip for c in psutil.Process(emulator.running.pid).net_connections() if c.status == "LISTEN"]
    assert len(listening) >= 2
    assert set(listening) == {"127.0.0.1"}


@pytest.mark.parametrize(
    "entry",
    [
        "*", ".com", "azure.com", ".azure.com", "*.windows.net", "management.azure.com", "login.microsoftonline.com:443",
        ".MicrosoftOnline.com", "acme.blob.core.windows.net",
    ],
)  # fmt: skip
def test_nobodys_no_proxy_leads_past_the_emulator_to_azure(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, entry: str
) -> None:
    monkeypatch.setenv("no_proxy", f"prefect.acme.com, {entry},10.0.0.0/8,azure.acme.org")
    told = emulator.environment()
    assert told["NO_PROXY"] == told["no_proxy"] == "prefect.acme.com,10.0.0.0/8,azure.acme.org,127.0.0.1,localhost,::1"


def test_a_job_reaches_azures_hosts_by_the_emulator_alone(emulator: Emulator) -> None:
    client = emulator.client()
    job = client.jobs.create_or_update(
        line("env | grep -i proxy | sort", environment_variables={"no_proxy": "azure.com"})
    )
    assert wait(client, job.name) == "Completed"
    told = dict(each.split("=", 1) for each in log_text(client, job.name).split() if "=" in each)
    assert told["NO_PROXY"] == told["no_proxy"]
    assert "azure" not in told["no_proxy"]
    assert told["HTTPS_PROXY"] == told["https_proxy"] == f"http://127.0.0.1:{emulator.port}"
