"""The process behind a deployment, spoken to as the scoring front does."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.emulator.components import steps

HELLO = [{"role": "user", "content": "Hello"}]
FAILED = "x-ms-run-function-failed"


@dataclass
class Server:
    process: subprocess.Popen[str]
    client: httpx.Client
    log: Path


@contextmanager
def served(log: Path, *options: str) -> Iterator[Server]:
    """A model server that is ready, or whose process has ended."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if name != "AZUREML_MODEL_DIR"}
    with (
        log.open("w") as output,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False) as client,
    ):
        process = subprocess.Popen(
            [sys.executable, "-m", "emulator.scoring.model_server", "--port", str(port), *options],
            cwd=steps.ROOT, env={**environment, "PYTHONUNBUFFERED": "1"}, stdout=output, stderr=output, text=True,
        )  # fmt: skip
        try:
            while process.poll() is None and not _is_ready(client):
                time.sleep(0.02)
            yield Server(process, client, log)
        finally:
            process.kill()
            process.wait()


def _is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/").status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of the stand-in, not fine-tuned."""
    work = tmp_path_factory.mktemp("served")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AZUREML_EMULATOR_CACHE", str(work / "cache"))
        imported = steps.imported(work)
    model = steps.converted(work, imported / "model")
    with served(work / "log", "--model", str(model), "--name", "phi", "--timeout", "20") as server:
        yield server


def body(conversation: Any, **parameters: Any) -> dict[str, Any]:
    return {"input_data": {"input_string": conversation, "parameters": parameters}, "params": {}}


def test_a_loaded_model_is_healthy(chat: Server) -> None:
    assert chat.client.get("/").text == "Healthy"


@pytest.mark.parametrize("conversation", [HELLO, [HELLO]], ids=["flat", "nested"])
def test_both_shapes_of_a_conversation_are_answered(conversation: Any, chat: Server) -> None:
    answer = chat.client.post("/score", json=body(conversation, max_new_tokens=40))
    assert answer.status_code == 200 and answer.headers[FAILED] == "False"
    assert answer.json()["output"] == "Hello! How can I help you today?"


def test_the_notebooks_parameters_are_taken(chat: Server) -> None:
    answer = chat.client.post(
        "/score", json=body([HELLO], temperature=0.6, top_p=0.9, do_sample=True, max_new_tokens=200)
    )
    assert answer.status_code == 200 and answer.json()["output"]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"{nope", "not valid JSON"),
        (b"[]", "The body must be"),
        (json.dumps(body("Hello")).encode(), "must be a list of messages"),
        (json.dumps(body(HELLO, temperature="hot")).encode(), "temperature must be a number"),
    ],
)
def test_a_wrong_body_is_answered_with_400_and_a_sentence(content: bytes, complaint: str, chat: Server) -> None:
    answer = chat.client.post("/score", content=content)
    assert answer.status_code == 400 and complaint in answer.json()["message"]
    assert FAILED not in answer.headers


def test_openais_chat_completions_are_spoken(chat: Server) -> None:
    answer = chat.client.post("/v1/chat/completions", json={"model": "phi", "messages": HELLO, "max_tokens": 40}).json()
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": "Hello! How can I help you today?"}
    assert answer["choices"][0]["finish_reason"] == "stop"


def test_a_stream_adds_up_to_the_answer(chat: Server) -> None:
    request = {"messages": HELLO, "max_tokens": 40, "stream": True}
    with chat.client.stream("POST", "/v1/chat/completions", json=request) as answer:
        events = [line.removeprefix("data: ") for line in answer.iter_lines() if line]
    assert events[-1] == "[DONE]"
    chunks = [json.loads(event)["choices"][0] for event in events[:-1]]
    assert "".join(chunk["delta"].get("content", "") for chunk in chunks) == "Hello! How can I help you today?"
    assert len(chunks) > 3 and chunks[-1]["finish_reason"] == "stop"


def test_the_api_is_described(chat: Server) -> None:
    assert "/score" in chat.client.get("/swagger.json").json()["paths"]


def test_a_request_is_a_line_in_the_log_without_what_was_said(chat: Server) -> None:
    chat.client.post("/score", json=body([{"role": "user", "content": "my secret"}], max_new_tokens=1))
    log = chat.log.read_text()
    assert "POST /score 200" in log and "secret" not in log


SCRIPT = """
import json, os, pathlib
def init():
    global word
    word = (pathlib.Path(os.environ["AZUREML_MODEL_DIR"]) / "word.txt").read_text()
def run(raw):
    if json.loads(raw).get("fail"):
        raise RuntimeError("the script gave up")
    return {"word": word, "got": json.loads(raw)}
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    work = tmp_path_factory.mktemp("script")
    (work / "word.txt").write_text("hello")
    (steps.folder(work / "code") / "score.py").write_text(SCRIPT)
    options = ("--model", str(work), "--code", str(work / "code"), "--entry", "score.py", "--timeout", "20")
    with served(work / "log", *options) as server:
        yield server


def test_a_scoring_script_answers_with_its_models_folder_at_hand(script: Server) -> None:
    assert script.client.post("/score", json={"x": 1}).json() == {"word": "hello", "got": {"x": 1}}


def test_a_script_that_fails_is_marked_as_the_models_failure(script: Server) -> None:
    answer = script.client.post("/score", json={"fail": True})
    assert answer.status_code == 500 and answer.headers[FAILED] == "True"
    assert "RuntimeError: the script gave up" in answer.json()["message"]


def test_a_model_without_mlmodel_and_script_ends_the_process_with_the_reason(tmp_path: Path) -> None:
    with served(tmp_path / "log", "--model", str(tmp_path)) as server:
        assert server.process.wait(30) == 3
    assert "needs a scoring script" in (tmp_path / "log").read_text()


def test_a_script_that_cannot_be_loaded_ends_the_process_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "score.py").write_text("def init():\n    raise RuntimeError('no such file')\n")
    with served(tmp_path / "log", "--model", str(tmp_path), "--code", str(tmp_path), "--entry", "score.py") as server:
        assert server.process.wait(30) == 3
    assert "no such file" in (tmp_path / "log").read_text()


def test_sigterm_ends_the_process_while_it_answers(tmp_path: Path) -> None:
    (tmp_path / "score.py").write_text("import time\ndef init(): pass\ndef run(raw): time.sleep(600)\n")
    with served(tmp_path / "log", "--model", str(tmp_path), "--code", str(tmp_path), "--entry", "score.py") as server:
        with pytest.raises(httpx.ReadTimeout):
            server.client.post("/score", json={}, timeout=0.5)
        server.process.terminate()
        assert server.process.wait(10) == 0
