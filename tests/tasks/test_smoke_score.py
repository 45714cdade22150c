"""Questions to a real deployment, whose script answers with the body that the question asks for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from blocks import AzureMLWorkspace
from tasks.endpoint import Deployment, Endpoint
from tasks.sampling.results import SampledDataset, SampledSplit
from tasks.scoring import SHOWN_BODY, ScoringParameters, SmokeFailed, SmokeResult, smoke_score
from tests.emulator.endpoints.conftest import create_endpoint, registered_model

SCRIPT = Path(__file__).parent / "answering"
Ask = Callable[[Any], SmokeResult]


@pytest.fixture(scope="module")
def deployment(workspace: AzureMLWorkspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    from azure.ai.ml.entities import CodeConfiguration

    client = workspace.client()
    model = registered_model(client, tmp_path_factory.mktemp("answering") / "weights", name="answering")
    made = create_endpoint(client, str(model.id), auth_mode="key")
    made.deploy("demo", settings={"code_configuration": CodeConfiguration(code=str(SCRIPT), scoring_script="score.py")})
    yield Deployment(name="demo", endpoint=Endpoint(name=made.name, scoring_uri=made.url), seconds=1.0)
    client.online_endpoints.begin_delete(made.name).result()


@pytest.fixture
def ask(workspace: AzureMLWorkspace, deployment: Deployment, tmp_path: Path) -> Ask:
    """Asks the deployment for a body."""

    def ask(body: Any) -> SmokeResult:
        path = tmp_path / "score.jsonl"
        path.write_text(
            json.dumps({"messages": [{"role": "user", "content": json.dumps(body)}]}) + "\n", encoding="utf-8"
        )
        split = SampledSplit(
            split="test_gen", path=path, rows=1, source_rows=1, dropped=0, bytes=1, sha256="0", turns=[], characters=[]
        )
        data = SampledDataset(
            source="s",
            revision="r",
            key="k",
            sha256="0",
            writer="1",
            train=split,
            validation=None,
            test=None,
            score=split,
        )
        return smoke_score.fn(workspace, deployment, data, ScoringParameters())

    return ask


@pytest.mark.parametrize(
    "body",
    [
        {"output": " Hi.\n"},
        {"predictions": [{"generated_text": "Hi."}]},
        {"choices": [{"message": {"role": "assistant", "content": "Hi."}}]},
        [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Hi."}],
        json.dumps([{"0": "Hi."}]),
        'data: {"choices": [{"delta": {"content": "H"}}]}\n\ndata: {"choices": [{"delta": {"content": "i."}}]}\n\ndata: [DONE]\n\n',
        "Hi.",
    ],
)
def test_the_assistants_text_is_the_answer(ask: Ask, body: Any) -> None:
    assert [answer.answer for answer in ask(body).answers] == ["Hi."]


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ([{"role": "user", "content": "Hello?"}], '[{"role": "user", "content": "Hello?"}]'),
        ({"output": " \n<|im_end|>"}, '{"output": " \\n<|im_end|>"}'),
        ({"error": "Kein Speicher für das Modell"}, '{"error": "Kein Speicher für das Modell"}'),
        ({"detail": "https://x/?sv=1&sig=abc%3D&se=2"}, '{"detail": "https://x/?sv=1&sig=********&se=2"}'),
        ("<html>\n <body>Sign in</body>", "<html> <body>Sign in</body>"),
    ],
)
def test_a_body_without_an_answer_fails_the_run_and_is_shown(ask: Ask, body: Any, shown: str) -> None:
    with pytest.raises(SmokeFailed) as failed:
        ask(body)
    first, *logs = str(failed.value).splitlines()
    assert first == f"Deployment demo answered without text: {shown}"
    assert "Last lines of inference-server:" in logs


def test_what_is_shown_of_a_body_is_short_and_holds_no_key(
    ask: Ask, workspace: AzureMLWorkspace, deployment: Deployment
) -> None:
    key = str(workspace.client().online_endpoints.get_keys(deployment.endpoint.name).primary_key)
    with pytest.raises(SmokeFailed) as failed:
        ask({"detail": f"sent with {key}; " + "x" * 5000})
    assert "sent with ********; xxx" in str(failed.value)
    assert key not in str(failed.value)
    assert len(str(failed.value).splitlines()[0]) < SHOWN_BODY + 50
