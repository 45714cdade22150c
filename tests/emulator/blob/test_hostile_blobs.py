"""Names, headers and bodies that no honest client sends: refused in the 400s, and nothing outside a container is touched."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterator

import pytest
import requests
from azure.storage.blob import ContainerClient

from emulator.blob import sas
from emulator.installation import Installation
from tests.emulated import Emulator

ESCAPES = [
    "../escaped",
    "..%2fescaped",
    "%2e%2e/escaped",
    "%2e%2e%2fescaped",
    "a/../../escaped",
    "a/..%2f..%2fescaped",
    "..%5cescaped",
    "a%5c..%5c..%5cescaped",
    "/escaped",
    "%2fescaped",
    "//escaped",
    "./escaped",
    "a/./escaped",
    "%00escaped",
    "a%00/escaped",
    "a%0aescaped",
    "a//escaped",
    "trailing/",
    "x" * 256,
    "/".join(["x"] * 600),
]


class Raw:
    """Requests whose path goes out as it is written; the usual clients would tidy it up."""

    def __init__(self, emulator: Emulator) -> None:
        self._host = emulator.installation.blob_host
        context = ssl.create_default_context(cafile=emulator.environment()["REQUESTS_CA_BUNDLE"])
        self._connection = http.client.HTTPSConnection("127.0.0.1", emulator.port, context=context, timeout=20)
        self._connection.set_tunnel(self._host, 443)

    def __call__(
        self, method: str, target: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        self._connection.request(method, target, body, headers or {})
        answer = self._connection.getresponse()
        return answer.status, answer.read()

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def raw(emulator: Emulator) -> Iterator[Raw]:
    made = Raw(emulator)
    yield made
    made.close()


@pytest.mark.parametrize("name", ESCAPES)
def test_a_name_that_leaves_its_container_is_refused(
    raw: Raw, installation: Installation, container: ContainerClient, name: str
) -> None:
    query = sas.account_sas(installation)
    target = f"/{container.container_name}/{name}?{query}"
    put, _ = raw("PUT", target, b"x", {"x-ms-blob-type": "BlockBlob"})
    got, _ = raw("GET", target)
    assert (400 <= put < 500, 400 <= got < 500) == (True, True)
    found = list(installation.files.parent.rglob("*escaped*"))
    assert found == []
    assert list(container.list_blobs()) == []


def test_an_encoded_escape_is_only_a_name(raw: Raw, installation: Installation, container: ContainerClient) -> None:
    target = f"/{container.container_name}/%252e%252e%252fescaped?{sas.account_sas(installation)}"
    assert raw("PUT", target, b"x", {"x-ms-blob-type": "BlockBlob"})[0] == 201
    assert [blob.name for blob in container.list_blobs()] == ["%2e%2e%2fescaped"]


@pytest.mark.parametrize("name", ["..", ".", "%2e%2e", "Upper", "a", "-ab", "a--b", "x" * 64, "azureml%2f..", "%00"])
def test_a_name_that_no_container_has_is_refused(raw: Raw, installation: Installation, name: str) -> None:
    status, body = raw("GET", f"/{name}/installation.json?{sas.account_sas(installation)}")
    assert 400 <= status < 500
    assert installation.storage_key.encode() not in body


def test_a_link_out_of_a_container_is_not_followed(
    raw: Raw, installation: Installation, container: ContainerClient
) -> None:
    folder = installation.files / container.container_name
    (folder / "file").symlink_to(installation.state / "installation.json")
    (folder / "folder").symlink_to(installation.state)
    query = sas.account_sas(installation)
    before = (installation.state / "installation.json").read_bytes()
    for name in ("file", "folder/installation.json"):
        target = f"/{container.container_name}/{name}?{query}"
        for method in ("GET", "HEAD", "DELETE"):
            assert 400 <= raw(method, target)[0] < 500
        assert 400 <= raw("PUT", target, b"x", {"x-ms-blob-type": "BlockBlob"})[0] < 500
    assert (installation.state / "installation.json").read_bytes() == before


ENTITIES = b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]><BlockList><Latest>&b;</Latest></BlockList>'


@pytest.mark.parametrize(
    ("method", "query", "headers", "body", "status"),
    [
        ("PUT", "", {}, b"x", 400),
        ("PUT", "", {"x-ms-blob-type": "PageBlob"}, b"x", 400),
        ("PUT", "", {"x-ms-blob-type": "BlockBlob", "Transfer-Encoding": "chunked"}, b"1\r\nx\r\n0\r\n\r\n", 411),
        ("PUT", "", {"x-ms-blob-type": "BlockBlob", "x-ms-copy-source": "https://x/y"}, b"", 400),
        ("PUT", "", {"x-ms-blob-type": "BlockBlob", "x-ms-meta-a-b": "1"}, b"x", 400),
        ("PUT", "", {"x-ms-blob-type": "BlockBlob", "x-ms-meta-a": "1" * 9000}, b"x", 400),
        ("PUT", "", {"x-ms-blob-type": "BlockBlob", "Content-MD5": "not base64"}, b"x", 400),
        ("PUT", "comp=block", {}, b"x", 400),
        ("PUT", "comp=block&blockid=***", {}, b"x", 400),
        ("PUT", "comp=block&blockid=" + "QUFB" * 40, {}, b"x", 400),
        ("PUT", "comp=blocklist", {}, b"", 400),
        ("PUT", "comp=blocklist", {}, b"<BlockList>", 400),
        ("PUT", "comp=blocklist", {}, b"\xff\xfe\x00", 400),
        ("PUT", "comp=blocklist", {}, b"<Other/>", 400),
        ("PUT", "comp=blocklist", {}, ENTITIES, 400),
        ("PUT", "comp=blocklist", {}, b"<?xml version='1.0' encoding='x-none'?><BlockList/>", 400),
        ("PUT", "comp=nonsense", {}, b"x", 400),
        ("PUT", "comp=metadata", {"x-ms-meta-a": "b"}, b"", 404),
        ("GET", "", {"x-ms-range": "bytes=5-1"}, b"", 404),
        ("POST", "", {}, b"x", 405),
        ("DELETE", "comp=block", {}, b"", 405),
    ],
)
def test_an_odd_request_is_refused(
    raw: Raw,
    installation: Installation,
    container: ContainerClient,
    method: str,
    query: str,
    headers: dict[str, str],
    body: bytes,
    status: int,
) -> None:
    target = f"/{container.container_name}/odd?{query}&{sas.account_sas(installation)}"
    got, answer = raw(method, target, body, headers)
    assert (got, b"<Error><Code>" in answer) == (status, True)
    assert list(container.list_blobs()) == []


@pytest.mark.parametrize(
    "given", ["bytes=5-1", "bytes=9-", "bytes=-3", "lines=0-1", "bytes=a-b", "bytes=" + "9" * 30 + "-"]
)
def test_an_odd_range_is_refused(raw: Raw, installation: Installation, container: ContainerClient, given: str) -> None:
    container.upload_blob("short", b"abc")
    target = f"/{container.container_name}/short?{sas.account_sas(installation)}"
    assert raw("GET", target, b"", {"x-ms-range": given})[0] in (400, 416)


@pytest.mark.parametrize(
    "query", ["maxresults=0", "maxresults=-1", "maxresults=x", "maxresults=²", "prefix=%00&maxresults=x"]
)
def test_an_odd_listing_is_refused(installation: Installation, container: ContainerClient, query: str) -> None:
    url = f"https://{installation.blob_host}/{container.container_name}?restype=container&comp=list&{query}"
    assert requests.get(f"{url}&{sas.account_sas(installation)}", timeout=20).status_code == 400


@pytest.mark.parametrize(
    "query",
    ["sig=x", "sig=%ff%fe&sv=%00", "sv=9999-99-99&sr=b&sp=r&se=never&sig=%C3%A9", "sv=" + "9" * 5000 + "&sig=x"],
)
def test_a_broken_signature_is_refused(raw: Raw, container: ContainerClient, query: str) -> None:
    status, body = raw("GET", f"/{container.container_name}/x?{query}")
    assert (status, b"AuthenticationFailed" in body) == (403, True)
