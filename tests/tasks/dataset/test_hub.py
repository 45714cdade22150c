"""The hub: huggingface_hub's own client against a server on loopback that speaks the few routes it needs."""

import json
import random
import re
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tasks.sampling.errors import SourceUnavailable
from tasks.sampling.parameters import DatasetSampling
from tasks.sampling.sample import sample
from tests.tasks.dataset.made import conversation, conversations, dataset, read_jsonl, write_parquet

COMMIT = "8049631c405ae6576f93f445c6b8166f76f5505a"
DATASET = "someone/chats"


class Hub(ThreadingHTTPServer):
    """Serves one dataset; remembers what was sent."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.token: str | None = None
        self.faults = 0
        self.sent: list[tuple[str, int]] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.server.faults:
            self.server.faults -= 1
            self._answer(503, b"busy", {"Retry-After": "0"})
        elif self.server.token and self.headers["authorization"] != f"Bearer {self.server.token}":
            self._answer(403, b"{}", {"X-Error-Code": "GatedRepo"})
        elif match := re.fullmatch(rf"/api/datasets/{DATASET}(/revision/(?P<revision>[^?]+))?(\?.*)?", self.path):
            if match["revision"] in (None, "main", COMMIT):
                self._answer(200, json.dumps(self._info()).encode())
            else:
                self._answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        elif match := re.fullmatch(rf"/datasets/{DATASET}/resolve/{COMMIT}/(?P<name>.+)", self.path):
            data = (self.server.folder / match["name"]).read_bytes()
            first, last = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["range"]).groups()  # type: ignore[union-attr]
            part = data[int(first) : int(last) + 1]
            self.server.sent.append((match["name"], len(part)))
            self._answer(206, part)
        else:
            self._answer(401, b"{}", {"X-Error-Code": "RepoNotFound"})

    def _info(self) -> dict[str, Any]:
        files = [path for path in sorted(self.server.folder.rglob("*")) if path.is_file()]
        siblings = [
            {"rfilename": path.relative_to(self.server.folder).as_posix(), "size": path.stat().st_size}
            for path in files
        ]
        return {"id": DATASET, "sha": COMMIT, "siblings": siblings}

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with one dataset, which Hugging Face's client is pointed at."""
    with Hub(dataset(tmp_path / "made")) as server:
        Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        yield server
        server.shutdown()


def test_a_dataset_of_the_hub_is_sampled_at_a_commit(hub: Hub, tmp_path: Path) -> None:
    sampled = sample(DatasetSampling(source=DATASET, percent=50, validation_percent=0), tmp_path / "out")
    assert (sampled.source, sampled.revision) == (DATASET, COMMIT)
    assert read_jsonl(sampled.train.path) == conversations(20)


def test_a_later_run_at_the_same_commit_fetches_nothing(hub: Hub, tmp_path: Path) -> None:
    sample(DatasetSampling(source=DATASET), tmp_path / "out")
    hub.sent.clear()
    again = sample(DatasetSampling(source=DATASET, revision=COMMIT), tmp_path / "out")
    assert again.reused
    assert hub.sent == []


def test_only_the_groups_that_the_sample_needs_are_fetched(hub: Hub, tmp_path: Path) -> None:
    path = hub.folder / "data/train_sft-00000-of-00002.parquet"
    rows = [conversation(number, text=random.Random(number).randbytes(5000).hex()) for number in range(400)]
    write_parquet(path, rows, group_rows=10)
    sample(DatasetSampling(source=DATASET, rows=15, test_split=None, score_split=None), tmp_path / "out")
    fetched = sum(size for name, size in hub.sent if name.endswith("train_sft-00000-of-00002.parquet"))
    assert 0 < fetched < path.stat().st_size / 10


def test_a_gated_dataset_wants_a_token(hub: Hub, tmp_path: Path) -> None:
    hub.token = "hf_secret"
    with pytest.raises(SourceUnavailable, match=r"someone/chats is gated\. Accept its terms") as refused:
        sample(DatasetSampling(source=DATASET), tmp_path / "out", hub_token="hf_wrong")
    assert "hf_wrong" not in str(refused.value)
    assert sample(DatasetSampling(source=DATASET), tmp_path / "out", hub_token="hf_secret").revision == COMMIT


def test_an_unknown_revision_or_dataset_is_refused(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailable, match="someone/chats has no revision v9"):
        sample(DatasetSampling(source=DATASET, revision="v9"), tmp_path / "out")
    with pytest.raises(SourceUnavailable, match="someone/else is neither on this machine nor on the hub"):
        sample(DatasetSampling(source="someone/else"), tmp_path / "out")


def test_a_fault_of_the_hub_is_outlasted(hub: Hub, tmp_path: Path) -> None:
    hub.faults = 2
    assert sample(DatasetSampling(source=DATASET), tmp_path / "out").revision == COMMIT
    assert hub.faults == 0


def test_without_a_way_to_the_hub_there_is_one_clear_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("tasks.sampling.hub.RETRIES", 0)
    with pytest.raises(SourceUnavailable, match=r"The hub at http://127\.0\.0\.1:9 cannot be reached"):
        sample(DatasetSampling(), tmp_path / "out")
