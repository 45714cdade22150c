"""The hub: huggingface_hub's own client against a server on loopback that speaks the few routes it needs."""

import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml

from tasks.sampling.errors import SourceUnavailable
from tasks.sampling.parameters import DatasetParameters
from tasks.sampling.ranged import RangedFile
from tasks.sampling.sample import sample
from tasks.sampling.source import resolve
from tests.tasks.dataset.made import (
    conversation,
    conversations,
    dataset,
    only_train,
    read_jsonl,
    write_jsonl,
    write_parquet,
)

COMMIT = "8049631c405ae6576f93f445c6b8166f76f5505a"
DATASET = "someone/chats"


class Hub(ThreadingHTTPServer):
    """Serves datasets at their commits; remembers what it was asked for, and what it sent."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.commits: dict[str, dict[str, Path]] = {DATASET: {COMMIT: folder}}
        """By dataset and commit, the newest last: that is where `main` is."""
        self.token: str | None = None
        self.private = False
        self.faults = 0
        self.asked: list[str] = []
        self.sent: list[tuple[str, int]] = []
        self.after_next_file: Callable[[], object] | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def commit(self, dataset: str, folder: Path) -> str:
        """Puts the dataset's main branch to a new commit, whose files are the folder's."""
        its = self.commits.setdefault(dataset, {})
        commit = sha1(f"{dataset} {len(its)}".encode()).hexdigest()
        its[commit] = folder
        return commit


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        path = re.fullmatch(
            r"/(?:api/)?datasets/(?P<dataset>[\w.-]+/[\w.-]+)"
            r"(?:/(?P<verb>revision|resolve|tree|paths-info)/(?P<revision>[^/?]+)(?:/(?P<name>[^?]+))?)?(?:\?.*)?",
            self.path,
        )
        commits = self.server.commits.get(path["dataset"] if path else "", {})
        commit = (
            list(commits)[-1] if commits and path and path["revision"] in (None, "main") else path and path["revision"]
        )
        if self.server.faults:
            self.server.faults -= 1
            self._answer(503, b"busy", {"Retry-After": "0"})
        elif path is None or not commits or (self.server.private and not self._is_signed_in()):
            self._answer(401, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif not self._is_signed_in():
            self._answer(403, b"{}", {"X-Error-Code": "GatedRepo"})
        elif commit not in commits:
            self._answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        elif path["verb"] == "resolve":
            self._send_file(commits[commit], commit, path["name"])
        elif path["verb"] in ("tree", "paths-info"):
            self._answer(200, json.dumps(self._entries(commits[commit], path["name"] or "")).encode())
        else:
            self._answer(200, json.dumps(self._info(path["dataset"], commits[commit], commit)).encode())

    do_HEAD = do_POST = do_GET

    def _is_signed_in(self) -> bool:
        return self.server.token is None or self.headers["authorization"] == f"Bearer {self.server.token}"

    def _send_file(self, folder: Path, commit: str, name: str) -> None:
        if not (folder / name).is_file():
            self._answer(404, b"", {"X-Error-Code": "EntryNotFound"})
            return
        data = (folder / name).read_bytes()
        headers = {"X-Repo-Commit": commit, "ETag": f'"{sha1(data).hexdigest()}"'}
        if asked := re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["range"] or ""):
            data = data[int(asked[1]) : int(asked[2]) + 1]
            self.server.sent.append((name, len(data)))
        self._answer(206 if asked else 200, data, headers)
        if self.server.after_next_file:
            then, self.server.after_next_file = self.server.after_next_file, None
            then()

    def _info(self, dataset: str, folder: Path, commit: str) -> dict[str, Any]:
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        siblings = [{"rfilename": path.relative_to(folder).as_posix(), "size": path.stat().st_size} for path in files]
        return {"id": dataset, "sha": commit, "siblings": siblings}

    def _entries(self, folder: Path, below: str) -> list[dict[str, Any]]:
        """As `datasets` asks for them: a folder's, or those of paths."""
        body = self.rfile.read(int(self.headers["content-length"] or 0)).decode()
        if body:
            paths = [folder / path for path in json.loads(body)["paths"]]
        else:
            walk = (folder / below).rglob("*") if "recursive=true" in self.path.lower() else (folder / below).glob("*")
            paths = sorted(walk)
        return [
            {
                "type": "directory" if path.is_dir() else "file",
                "oid": sha1(path.name.encode()).hexdigest(),
                "size": path.stat().st_size,
                "path": path.relative_to(folder).as_posix(),
            }
            for path in paths
            if path.exists()
        ]

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
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
    sampled = sample(DatasetParameters(source=DATASET, percent=50, validation_percent=0), tmp_path / "out")
    assert (sampled.source, sampled.revision) == (DATASET, COMMIT)
    assert read_jsonl(sampled.train.path) == conversations(20)


def test_a_later_run_at_the_same_commit_fetches_nothing(hub: Hub, tmp_path: Path) -> None:
    sample(DatasetParameters(source=DATASET), tmp_path / "out")
    hub.sent.clear()
    again = sample(DatasetParameters(source=DATASET, revision=COMMIT), tmp_path / "out")
    assert again.reused
    assert hub.sent == []


def test_only_the_groups_that_the_sample_needs_are_fetched(hub: Hub, tmp_path: Path) -> None:
    path = hub.folder / "data/train_sft-00000-of-00002.parquet"
    rows = [conversation(number, text=random.Random(number).randbytes(5000).hex()) for number in range(400)]
    write_parquet(path, rows, group_rows=10)
    sample(DatasetParameters(source=DATASET, rows=15, test_split=None, score_split=None), tmp_path / "out")
    fetched = sum(size for name, size in hub.sent if name.endswith("train_sft-00000-of-00002.parquet"))
    assert 0 < fetched < path.stat().st_size / 10


def test_a_gated_dataset_wants_a_token(hub: Hub, tmp_path: Path) -> None:
    hub.token = "hf_secret"
    with pytest.raises(SourceUnavailable, match=r"someone/chats is gated\. Accept its terms") as refused:
        sample(DatasetParameters(source=DATASET), tmp_path / "out", hub_token="hf_wrong")
    assert "hf_wrong" not in str(refused.value)
    assert sample(DatasetParameters(source=DATASET), tmp_path / "out", hub_token="hf_secret").revision == COMMIT


def test_an_unknown_revision_or_dataset_is_refused(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailable, match="someone/chats has no revision v9"):
        sample(DatasetParameters(source=DATASET, revision="v9"), tmp_path / "out")
    with pytest.raises(SourceUnavailable, match="someone/else is neither on this machine nor on the hub"):
        sample(DatasetParameters(source="someone/else"), tmp_path / "out")


def test_a_fault_of_the_hub_is_outlasted(hub: Hub, tmp_path: Path) -> None:
    hub.faults = 2
    assert sample(DatasetParameters(source=DATASET), tmp_path / "out").revision == COMMIT
    assert hub.faults == 0


def test_an_answer_that_is_cut_short_is_not_taken_for_the_whole() -> None:
    file = RangedFile(10, lambda start, end: b"0123456789"[start : end - 1])
    with pytest.raises(OSError, match="asked for 4 bytes at 0, got 3"):
        file.read(4)


def test_without_a_way_to_the_hub_there_is_one_clear_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("tasks.sampling.hub.RETRIES", 0)
    with pytest.raises(SourceUnavailable, match=r"The hub at http://127\.0\.0\.1:9 cannot be reached"):
        sample(DatasetParameters(), tmp_path / "out")


def test_a_private_dataset_wants_a_token(hub: Hub, tmp_path: Path) -> None:
    hub.token, hub.private = "hf_secret", True
    with pytest.raises(SourceUnavailable, match=r"or it is private\. Check the name; for a private dataset") as refused:
        sample(DatasetParameters(source=DATASET), tmp_path / "out", hub_token="hf_wrong")
    assert "hf_wrong" not in str(refused.value)
    assert sample(DatasetParameters(source=DATASET), tmp_path / "out", hub_token="hf_secret").revision == COMMIT


def test_a_changed_dataset_is_sampled_anew(hub: Hub, tmp_path: Path) -> None:
    params = only_train(DATASET)
    first = sample(params, tmp_path / "out")
    commit = hub.commit(DATASET, tmp_path / "later")
    write_parquet(tmp_path / "later/data/train_sft-00000-of-00001.parquet", conversations(7, 5000))
    second = sample(params, tmp_path / "out")
    assert (second.revision, second.reused) == (commit, False)
    assert read_jsonl(second.train.path) == conversations(7, 5000)
    again = sample(params.model_copy(update={"revision": COMMIT}), tmp_path / "out")
    assert again.reused
    assert again.train.sha256 == first.train.sha256


def test_a_sample_is_of_one_commit_though_main_moves_meanwhile(hub: Hub, tmp_path: Path) -> None:
    dataset(tmp_path / "later", rows=3)
    hub.after_next_file = lambda: hub.commit(DATASET, tmp_path / "later")
    sampled = sample(DatasetParameters(source=DATASET, percent=100, validation_percent=0), tmp_path / "out")
    assert len(hub.commits[DATASET]) == 2
    assert sampled.revision == COMMIT
    assert read_jsonl(sampled.train.path) == conversations(20) + conversations(20, 1000)
    assert {path.split("/")[5] for path in hub.asked if "/resolve/" in path} == {COMMIT}
    assert len([path for path in hub.asked if path.startswith("/api/")]) == 1


def test_a_dataset_that_only_a_script_reads_is_refused(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "scripted").mkdir()
    (tmp_path / "scripted/scripted.py").write_text("raise SystemExit('was run')")
    (tmp_path / "scripted/README.md").write_text("---\nlicense: mit\n---\n")
    hub.commit("someone/scripted", tmp_path / "scripted")
    with pytest.raises(SourceUnavailable, match=r"someone/scripted is read by a script of its own.* Export its rows"):
        sample(only_train("someone/scripted"), tmp_path / "out")
    assert not [path for path in hub.asked if path.endswith(".py")]


ULTRACHAT = "HuggingFaceH4/ultrachat_200k"
ULTRACHAT_FILES = {
    "data/train_sft-00000-of-00003-a3ecf92756993583.parquet": 0,
    "data/train_sft-00001-of-00003-0a1804bcb6ae68c6.parquet": 1000,
    "data/train_sft-00002-of-00003-ee46ed25cfae92c6.parquet": 2000,
    "data/test_sft-00000-of-00001-f7dfac4afe5b93f4.parquet": 3000,
    "data/train_gen-00000-of-00003-a6c9fb894be3e50b.parquet": 4000,
    "data/train_gen-00001-of-00003-d6a0402e417f35ca.parquet": 5000,
    "data/train_gen-00002-of-00003-c0db75b92a2f48fd.parquet": 6000,
    "data/test_gen-00000-of-00001-3d4cd8309148a71f.parquet": 7000,
}
"""Its real names, and the number of the first conversation that is written to each here."""

ULTRACHAT_CARD = """---
language:
- en
license: mit
size_categories:
- 100K<n<1M
task_categories:
- text-generation
pretty_name: UltraChat 200k
configs:
- config_name: default
  data_files:
  - split: train_sft
    path: data/train_sft-*
  - split: test_sft
    path: data/test_sft-*
  - split: train_gen
    path: data/train_gen-*
  - split: test_gen
    path: data/test_gen-*
dataset_info:
  features:
  - name: prompt
    dtype: string
  - name: prompt_id
    dtype: string
  - name: messages
    list:
    - name: content
      dtype: string
    - name: role
      dtype: string
  splits:
  - name: train_sft
    num_bytes: 1397058554
    num_examples: 207865
  - name: test_sft
    num_bytes: 154695659
    num_examples: 23110
  - name: train_gen
    num_bytes: 1347396812
    num_examples: 256032
  - name: test_gen
    num_bytes: 148276089
    num_examples: 28304
  download_size: 1624049723
  dataset_size: 3047427114
---

# Dataset Card for UltraChat 200k
"""


def _ultrachat(folder: Path) -> Path:
    for name, first in ULTRACHAT_FILES.items():
        write_parquet(folder / name, conversations(100, first, turns=3 if "gen-" in name else 2), group_rows=20)
    (folder / "README.md").write_text(ULTRACHAT_CARD)
    (folder / ".gitattributes").write_text("*.parquet filter=lfs diff=lfs merge=lfs -text\n")
    return folder


def test_ultrachat_under_its_real_names_is_sampled_with_the_flow_s_defaults(hub: Hub, tmp_path: Path) -> None:
    commit = hub.commit(ULTRACHAT, _ultrachat(tmp_path / "ultrachat"))
    sampled = sample(DatasetParameters(), tmp_path / "out")
    assert (sampled.source, sampled.subset, sampled.revision) == (ULTRACHAT, "default", commit)
    assert sampled.validation and sampled.test and sampled.score
    rows = read_jsonl(sampled.train.path) + read_jsonl(sampled.validation.path)
    assert sorted(rows, key=lambda row: int(row["prompt"].split()[1].split(".")[0])) == conversations(15)
    assert read_jsonl(sampled.test.path) == conversations(5, 3000)
    assert read_jsonl(sampled.score.path) == conversations(5, 7000, turns=3)
    assert {purpose: split.source_rows for purpose, split in sampled.splits().items()} == {
        "train": 300, "validation": 300, "test": 100, "score": 100,
    }  # fmt: skip
    sizes = {name: (tmp_path / "ultrachat" / name).stat().st_size for name in ULTRACHAT_FILES}
    listed = {file.name: file.bytes for split in sampled.splits().values() for file in split.files}
    assert listed == {name: size for name, size in sizes.items() if "train_gen" not in name}
    assert not [name for name, _ in hub.sent if "train_gen" in name]


LANGUAGES = [
    "ar", "bn", "cs", "da", "de", "el", "en", "es", "fa", "fi", "fr", "he", "hi", "hu", "id", "it", "ja", "ko", "nl", "no", "pl",
    "pt", "ro", "ru", "sv", "th", "tr", "uk", "vi", "zh",
]  # fmt: skip


def _by_language(folder: Path, *, default: str | None = None, by_folder: bool = False) -> Path:
    """A dataset of thirty subsets, with a card that names the files of each; or of three, and the folder of each."""
    configs: list[dict[str, Any]] = []
    for place, language in enumerate(LANGUAGES):
        if by_folder and language not in ("de", "en", "sv"):
            continue
        splits = ["train", "test"]
        for split in splits:
            rows = conversations(5, 1000 * place + 100 * splits.index(split))
            write_parquet(folder / language / f"{split}-00000-of-00001.parquet", rows)
        files = [{"split": split, "path": f"{language}/{split}-*"} for split in splits]
        configs.append(
            {"config_name": language, **({"data_dir": language} if by_folder else {"data_files": files})}
            | ({"default": True} if language == default else {})
        )
    (folder / "README.md").write_text(f"---\n{yaml.safe_dump({'configs': configs}, sort_keys=False)}---\n")
    return folder


def test_of_many_subsets_one_must_be_named(hub: Hub, tmp_path: Path) -> None:
    hub.commit("someone/tongues", _by_language(tmp_path / "tongues"))
    told = r"someone/tongues has 30 subsets: ar, bn, cs, da, de, .* and 20 more"
    with pytest.raises(SourceUnavailable, match=rf"{told}\. Name the one that is meant in subset\."):
        sample(only_train("someone/tongues", train_split="train"), tmp_path / "out")
    with pytest.raises(SourceUnavailable, match=rf"{told}; there is none called xx\. Name one of them in subset\."):
        sample(only_train("someone/tongues", train_split="train", subset="xx"), tmp_path / "out")


@pytest.mark.parametrize("by_folder", [False, True], ids=["by files", "by folders"])
@pytest.mark.parametrize(("subset", "taken"), [("sv", "sv"), (None, "en")], ids=["named", "the card's default"])
def test_of_many_subsets_only_the_one_that_is_meant_is_fetched(
    subset: str | None, taken: str, by_folder: bool, hub: Hub, tmp_path: Path
) -> None:
    hub.commit("someone/tongues", _by_language(tmp_path / "tongues", default="en", by_folder=by_folder))
    params = only_train("someone/tongues", train_split="train", test_split="test", subset=subset)
    sampled = sample(params, tmp_path / "out")
    place = LANGUAGES.index(taken)
    assert sampled.subset == taken
    assert read_jsonl(sampled.train.path) == conversations(5, 1000 * place)
    assert sampled.test is not None
    assert read_jsonl(sampled.test.path) == conversations(5, 1000 * place + 100)
    assert {path.split("/", 6)[6] for path in hub.asked if "/resolve/" in path} == {
        "README.md", f"{taken}/train-00000-of-00001.parquet", f"{taken}/test-00000-of-00001.parquet",
    }  # fmt: skip


DATASETS_FINDS = """
import json, sys, datasets
found = []
for name, commit, subset in json.load(sys.stdin):
    builder = datasets.load_dataset_builder(name, name=subset, revision=commit)
    files = {str(split): [path.split("@")[1].split("/", 1)[1] for path in its] for split, its in builder.config.data_files.items()}
    found.append(files)
print(json.dumps(found))
"""
"""In a process of its own, since `datasets` learns of the hub's address when it is imported."""
ONLINE = {
    "HF_HUB_OFFLINE": "0",
    "HF_DATASETS_OFFLINE": "0",
    "TRANSFORMERS_OFFLINE": "0",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
"""The hub is this machine's, whatever the machine that tests may reach."""


def test_of_the_hub_s_datasets_ours_takes_the_files_that_datasets_takes(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    write_jsonl(tmp_path / "plain/chats.jsonl", conversations(3))
    tongues = hub.commit("someone/tongues", _by_language(tmp_path / "tongues", default="en"))
    cases = [
        (ULTRACHAT, hub.commit(ULTRACHAT, _ultrachat(tmp_path / "ultrachat")), None),
        ("someone/tongues", tongues, None),
        ("someone/tongues", tongues, "sv"),
        ("someone/folders", hub.commit("someone/folders", _by_language(tmp_path / "folders", by_folder=True)), "sv"),
        ("someone/plain", hub.commit("someone/plain", tmp_path / "plain"), None),
        (DATASET, COMMIT, None),
    ]
    theirs = subprocess.run(
        [sys.executable, "-c", DATASETS_FINDS],
        input=json.dumps(cases),
        env={**os.environ, **ONLINE, "HF_HOME": str(tmp_path / "home"), "NO_PROXY": "127.0.0.1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert theirs.returncode == 0, theirs.stderr
    finds = json.loads(theirs.stdout)
    for (name, commit, subset), expected in zip(cases, finds, strict=True):
        found = resolve(name, list(expected), subset=subset, revision=commit)
        assert {split: [file.name for file in files] for split, files in found.splits.items()} == expected
    assert sorted(finds[0]) == ["test_gen", "test_sft", "train_gen", "train_sft"]
