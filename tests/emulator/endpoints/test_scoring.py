"""The front door: who may score, which deployment answers, and what becomes of trouble."""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from azure.ai.ml import MLClient

from emulator.scoring.front_door import PAYLOAD_LIMIT
from tests.emulated import Emulator
from tests.emulator.endpoints.conftest import Endpoint


@pytest.fixture
def request_file(tmp_path: Path) -> str:
    path = tmp_path / "request.json"
    path.write_text(json.dumps({"question": "?"}))
    return str(path)


def test_the_sdk_invokes_the_deployment_it_names(client: MLClient, split: Endpoint, request_file: str) -> None:
    for name in ("green", "blue"):
        text = client.online_endpoints.invoke(split.name, request_file=request_file, deployment_name=name)
        assert json.loads(text)["color"] == name


def test_traffic_is_split_by_weight(split: Endpoint) -> None:
    url, session = split.url, requests.Session()
    session.headers["Authorization"] = f"Bearer {split.key}"
    counts = Counter(session.post(url, json={}, timeout=20).json()["color"] for _ in range(120))
    # 90 of 120 are expected; so far off as this is less likely than one in a million.
    assert 65 <= counts["blue"] <= 112
    assert counts["blue"] + counts["green"] == 120


def test_an_answer_tells_who_gave_it(split: Endpoint) -> None:
    answer = split.score(azureml_model_deployment="GREEN", x_request_id="mine")
    assert answer.headers["azureml-model-deployment"] == "green"
    assert answer.headers["azureml-model-session"]
    assert answer.headers["x-ms-run-function-failed"].lower() == "false"
    assert answer.headers["x-ms-server-version"]
    assert answer.headers["x-request-id"] == "mine"
    assert answer.headers["server"] == "azureml-frontdoor"


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer wrong", "Basic {key}", "{key}", "Bearer {other}", "Bearer \xff"]
)
def test_without_the_endpoints_key_nobody_scores(split: Endpoint, endpoint: Endpoint, authorization: str) -> None:
    sent = authorization.format(key=split.key, other=endpoint.key)
    answer = split.score(Authorization=sent)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "Unauthorized")


def test_a_token_of_the_management_plane_does_not_score(emulator: Emulator, split: Endpoint) -> None:
    token = emulator.credential().get_token("https://management.azure.com/.default").token
    assert split.score(Authorization=f"Bearer {token}").status_code == 401


def test_an_endpoint_without_traffic_has_nobody_to_answer(
    client: MLClient, endpoint: Endpoint, split: Endpoint
) -> None:
    for answer in (endpoint.score(), split.score(azureml_model_deployment="nobody")):
        assert answer.status_code == 404
        assert "No valid deployments to route to" in answer.json()["error"]["message"]


def test_an_unknown_endpoint_is_not_found(emulator: Emulator) -> None:
    answer = requests.post(f"https://nobody{emulator.installation.scoring_suffix}/score", json={}, timeout=20)
    assert answer.status_code == 404


def test_other_paths_are_not_served(split: Endpoint) -> None:
    base, headers = split.url.removesuffix("/score"), {"Authorization": f"Bearer {split.key}"}
    assert requests.get(base + "/", headers=headers, timeout=20).status_code == 200
    assert requests.get(base + "/swagger.json", headers=headers, timeout=20).json()["paths"]
    for method, path in (("GET", "/score"), ("POST", "/"), ("GET", "/etc/passwd"), ("DELETE", "/score")):
        assert requests.request(method, base + path, headers=headers, timeout=20).status_code == 404
    assert requests.get(base + "/swagger.json", timeout=20).status_code == 401


def test_a_failing_script_is_the_models_error(split: Endpoint) -> None:
    answer = split.score({"fail": True}, azureml_model_deployment="blue")
    assert answer.status_code == 424
    assert answer.headers["ms-azureml-model-error-statuscode"] == "500"
    assert answer.headers["ms-azureml-model-error-reason"]
    assert answer.headers["x-ms-run-function-failed"].lower() == "true"


def test_a_request_that_takes_too_long_is_given_up(split: Endpoint) -> None:
    answer = split.score({"sleep": 2}, azureml_model_deployment="green")
    assert (answer.status_code, answer.json()["error"]["code"]) == (408, "RequestTimeout")


def test_too_many_requests_at_once_are_turned_away(endpoint: Endpoint) -> None:
    endpoint.deploy("blue")
    endpoint.route(blue=100)
    url, headers = endpoint.url, {"Authorization": f"Bearer {endpoint.key}"}

    def score(number: int) -> int:
        return requests.post(url, json={"sleep": 1}, headers=headers, timeout=30).status_code

    with ThreadPoolExecutor(6) as pool:
        statuses = Counter(pool.map(score, range(6)))
    # One is answered and one waits; by then the rest has been turned away.
    assert statuses == {200: 2, 429: 4}


def test_a_payload_has_a_limit(split: Endpoint) -> None:
    assert split.score({"text": "x" * PAYLOAD_LIMIT}).status_code == 413
    assert split.score({"text": "x" * (PAYLOAD_LIMIT - 100)}, azureml_model_deployment="blue").status_code == 200


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a": "' + b"\x00" * 10 + b'"}'])
def test_a_body_that_no_model_reads_is_an_error_of_the_request(split: Endpoint, body: bytes) -> None:
    headers = {"Authorization": f"Bearer {split.key}", "Content-Type": "application/json"}
    answer = requests.post(split.url, data=body, headers=headers, timeout=20)
    assert 400 <= answer.status_code < 500


def test_a_process_that_dies_is_started_again(endpoint: Endpoint) -> None:
    endpoint.deploy("blue")
    endpoint.route(blue=100)
    first = endpoint.process("blue")
    assert endpoint.score({"die": True}).status_code == 502
    statuses = [endpoint.score().status_code]
    while statuses[-1] != 200 and len(statuses) < 500:
        statuses.append(endpoint.score().status_code)
    assert (set(statuses), endpoint.process("blue") == first) == ({503, 200}, False)


def test_no_key_reaches_the_log(emulator: Emulator, split: Endpoint) -> None:
    key = split.key
    split.score()
    assert split.name in emulator.log
    assert key not in emulator.log
