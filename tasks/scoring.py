"""Asks the deployed model a few questions and checks the answers.

Promise: reads only. A deployment passes if it answers every sampled conversation with text of its own, in time.
"""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from blocks import AzureMLWorkspace
from tasks.answers import answer_text
from tasks.artifacts import plain, publish_markdown
from tasks.azure_ml.errors import classify, redact
from tasks.azure_ml.polling import PollInterval
from tasks.containers import containers_said
from tasks.endpoint import Deployment
from tasks.form import ParameterGroup
from tasks.sampling.results import SampledDataset
from tasks.stage import run_logger, stage

MOST_RETRY_AFTER = 300.0
"""A deployment that asks for more than five minutes is not waited for as long as it asks."""
RETRIED_STATUSES = frozenset({408, 424, 429, 500, 502, 503, 504})
"""Azure ML's scoring statuses that a warming or busy container gives: timeout, model error, too many pending, unavailable."""
CLIENT_TIMEOUT_SECONDS = 190
"""A little more than the longest request timeout that Azure ML allows (180 s)."""
NOT_SENT = ("weight", "thinking", "reasoning_content", "reasoning")
"""Fields of a message that only training looks at."""
MODEL_STATUS = "ms-azureml-model-error-statuscode"
"""Behind a 424, the status with which the model's container answered (Microsoft Learn, online endpoints' status codes)."""
SHOWN_BODY = 1000
"""Characters of an answer that fails."""


class ScoringParameters(ParameterGroup):
    """Which questions are asked, and how the model is to answer."""

    rows: int = Field(
        1,
        ge=1,
        le=100,
        title="Questions",
        description="How many conversations the deployed model is asked, sampled at random.",
    )
    seed: int = Field(42, ge=0, title="Seed", description="Decides which conversations are sampled.")
    temperature: float = Field(
        0.6,
        ge=0,
        le=2,
        title="Temperature",
        description="How freely the answer's words are sampled: the lower, the likelier the words.",
    )
    top_p: float = Field(
        0.9,
        gt=0,
        le=1,
        title="Top p",
        description="Sample among the likeliest words that together have this probability.",
    )
    do_sample: bool = Field(
        True, title="Sample", description="Sample the answer's words. Off: take the likeliest each time."
    )
    max_new_tokens: int = Field(
        200, ge=1, le=4096, title="Most tokens", description="Tokens after which an answer is cut."
    )
    max_latency_seconds: float | None = Field(
        None,
        gt=0,
        title="Slowest answer (seconds)",
        description="Seconds that an answer may take; the run fails if one takes longer. Empty: no bound.",
        examples=[10.0],
    )
    retry_budget_seconds: float = Field(
        300.0,
        ge=0,
        le=3600,
        title="Retry budget (seconds)",
        description="For how many seconds statuses 408, 424, 429 and 5xx are waited out, all questions together.",
    )


class Answer(BaseModel):
    """One question and what came back."""

    question: str
    answer: str
    reference: str
    """What the dataset's assistant said; empty where the conversation ends with the user."""
    seconds: float


class SmokeResult(BaseModel):
    """The conversation with the deployed model."""

    answers: list[Answer]
    slowest_seconds: float


class SmokeFailed(Exception):
    """The deployment answers, but not as it should; the message shows what it said."""


@stage
def smoke_score(
    workspace: AzureMLWorkspace, deployment: Deployment, data: SampledDataset, choice: ScoringParameters
) -> SmokeResult:
    """Sends the reference's request body for each sampled conversation, with the endpoint's key.

    Raises:
        SmokeFailed: a status that does not pass, an answer without text, or one that took too long.
    """
    split = data.score or data.test or data.train
    if split is data.train:
        run_logger().warning(
            "There is no scoring or test split: the questions are ones that the model was trained with."
        )
    conversations = sample_conversations(split.path, choice.rows, choice.seed)
    key = str(workspace.client().online_endpoints.get_keys(deployment.endpoint.name).primary_key)
    try:
        answers = _answers(deployment, key, conversations, choice)
    except SmokeFailed as failed:
        # The endpoint is about to be deleted, and what its containers said with it.
        raise SmokeFailed("\n".join([str(failed), *containers_said(workspace, deployment.endpoint.name)])) from failed
    publish_markdown("smoke-score", f"A conversation with {deployment.endpoint.name}", _conversation(answers))
    return SmokeResult(answers=answers, slowest_seconds=max(answer.seconds for answer in answers))


def _answers(
    deployment: Deployment, key: str, conversations: list[list[dict[str, Any]]], choice: ScoringParameters
) -> list[Answer]:
    budget = choice.retry_budget_seconds
    answers = []
    for messages in conversations:
        asked, reference = question_and_reference(messages)
        body, seconds, spent = _ask(deployment, key, request_body(asked, choice), budget)
        budget -= spent
        text = answer_text(body, asked).strip()
        if not text:
            raise SmokeFailed(f"Deployment {deployment.name} answered without text: {_shown(body, key)}")
        if choice.max_latency_seconds is not None and seconds > choice.max_latency_seconds:
            raise SmokeFailed(f"Deployment {deployment.name} took {seconds:.1f} s to answer; scoring.max_latency_seconds is "
                              f"{choice.max_latency_seconds:g}.")  # fmt: skip
        answers.append(Answer(question=asked[-1]["content"], answer=text, reference=reference, seconds=seconds))
        run_logger().info("Answered in %.1f s: %s", seconds, text[:200])
    return answers


def sample_conversations(path: Path, rows: int, seed: int) -> list[list[dict[str, Any]]]:
    """`rows` conversations of the JSON Lines file at `path`, at random by `seed`; reads the file once, line by line."""
    chooser = random.Random(seed)
    kept: list[str] = []
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            if number < rows:
                kept.append(line)
            elif (place := chooser.randint(0, number)) < rows:
                kept[place] = line
    return [json.loads(line)["messages"] for line in kept]


def question_and_reference(messages: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], str]:
    """The conversation up to its last word of the user, and what the assistant said to that.

    What only training looks at (thoughts, weights) is not sent. An assistant that calls a tool may say nothing.
    """
    asked = [
        {name: value for name, value in message.items() if name not in NOT_SENT} | {"content": message["content"] or ""}
        for message in messages
    ]
    reference = ""
    while len(asked) > 1 and asked[-1]["role"] != "user":
        reference = asked.pop()["content"]
    return asked, reference


def request_body(messages: list[dict[str, Any]], choice: ScoringParameters) -> dict[str, Any]:
    """The reference notebook's request."""
    parameters = choice.model_dump(include={"temperature", "top_p", "do_sample", "max_new_tokens"})
    return {"input_data": {"input_string": [messages], "parameters": parameters}, "params": {}}


def _ask(deployment: Deployment, key: str, body: dict[str, Any], budget: float) -> tuple[Any, float, float]:
    """The answer's JSON, the seconds it took, and the seconds spent before it on statuses that pass."""
    from azure.core import PipelineClient
    from azure.core.exceptions import AzureError
    from azure.core.rest import HttpRequest

    headers = {"Authorization": f"Bearer {key}", "azureml-model-deployment": deployment.name}
    pace, began = PollInterval(), time.monotonic()
    client: PipelineClient[Any, Any] = PipelineClient(base_url=deployment.endpoint.scoring_uri, policies=[])
    with client:
        while True:
            asked = time.monotonic()
            try:
                response = client.send_request(
                    HttpRequest("POST", deployment.endpoint.scoring_uri, json=body, headers=headers),
                    connection_timeout=10, read_timeout=CLIENT_TIMEOUT_SECONDS,
                )  # fmt: skip
                response.read()
                response.raise_for_status()
                return _json(response), time.monotonic() - asked, asked - began
            except AzureError as error:
                info = classify(error)
                status = info.status if info else None
                if info is None or (status is not None and status not in RETRIED_STATUSES):
                    raise _failed(deployment, error, status, key) from error
                wait = pace.pause() if info.retry_after is None else min(info.retry_after, MOST_RETRY_AFTER)
                if time.monotonic() - began + wait > budget:
                    raise _failed(deployment, error, status, key) from error
                run_logger().warning(
                    "The deployment is not ready to answer (%s); asking again in %.0f s.", status or "no answer", wait
                )
                time.sleep(wait)


def _json(response: Any) -> Any:
    try:
        return response.json()
    except ValueError:
        return response.text()


def _shown(body: Any, key: str) -> str:
    """`body` on one line, without secrets, at most `SHOWN_BODY` characters of it."""
    text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
    return redact(" ".join(text.split()).replace(key, "********"))[:SHOWN_BODY]


def _failed(deployment: Deployment, error: Exception, status: int | None, key: str) -> SmokeFailed:
    response = getattr(error, "response", None)
    try:
        body = response.text() if response is not None else str(error)
    except Exception:
        body = str(error)
    own = getattr(response, "headers", {}).get(MODEL_STATUS)
    its_own = f"; the model's container itself answered {own}" if own else ""
    return SmokeFailed(
        f"Deployment {deployment.name} of {deployment.endpoint.name} does not score (HTTP {status or 'no answer'}{its_own}): "
        f"{_shown(body, key).rstrip('.')}. See https://aka.ms/oe-tsg for the status; the endpoint is being deleted."
    )


def _conversation(answers: list[Answer]) -> str:
    parts = []
    for answer in answers:
        parts.append(f"**User**: {plain(answer.question)}")
        parts.append(f"**Model** ({answer.seconds:.1f} s): {plain(answer.answer)}")
        if answer.reference:
            parts.append(f"*The dataset's answer*: {plain(answer.reference)}")
        parts.append("---")
    return "\n\n".join(parts[:-1])
