"""What is in the way of a night is said beforehand, all at once, and nothing is made for it.

That each refusal of the flow's is among it, word for word: test_bad_input.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prefect.settings import PREFECT_API_URL

from blocks import AzureMLWorkspace
from flows.finetune import finetune
from flows.preflight import Preflight, preflight
from tests.emulated import ROOT, Emulator
from tests.flows.test_bad_input import taken_endpoint
from tests.flows.test_finetune import page_of, parameters

__all__ = ["taken_endpoint"]

READING_POSTS = ("/oauth2/v2.0/token", "/listSecrets")


def sentences(found: Preflight, severity: str) -> dict[str, list[str]]:
    """By stage."""
    stages = dict.fromkeys(each.stage for each in found.findings if each.severity == severity)
    return {
        stage: [each.sentence for each in found.findings if (each.stage, each.severity) == (stage, severity)]
        for stage in stages
    }


def test_a_night_that_can_come_is_ready_and_nothing_was_made_for_it(
    workspace: AzureMLWorkspace, emulator: Emulator, conversations: Path
) -> None:
    emulator.ask("DELETE", "/calls")
    half = {"source": str(conversations), "percent": 50}
    given: dict[str, Any] = parameters(conversations, dataset=half, compute={"cluster": "not-made"})
    state: Any = preflight(**given, return_state=True)
    found = state.result()
    assert (found.ok, state.name) == (True, "Ready")
    assert state.message.startswith("Nothing is in the way")
    calls = emulator.ask("GET", "/calls")
    writes = [
        f"{call['method']} {call['path']}"
        for call in calls
        if call["method"] != "GET" and not call["path"].endswith(READING_POSTS)
    ]
    assert calls and writes == []
    assert {purpose: (its.rows, its.source_rows) for purpose, its in found.data.items()} == {
        "train": (20, 40),
        "test": (5, 10),
        "score": (2, 5),
    }
    assert (found.compute.exists, found.compute.size, found.compute.tier) == (False, "Standard_NC24rs_v3", "dedicated")
    assert found.compute.instance_type == "Standard_NC6s_v3"
    assert {line.purpose.split()[0] for line in found.compute.quota} == {"training", "serving"}
    decided = {its.name: (its.value, its.source) for its in found.parameters}
    assert decided["max_steps"] == (6, "explicit")
    told = sentences(found, "info")
    assert "Cluster not-made would be made: Standard_NC24rs_v3, dedicated." in told["submit_pipeline"]
    assert "The model would be registered as Phi-3-mini-4k-instruct-conversations." in told["submit_pipeline"]
    assert "20 of 40 rows of train_sft for train." in told["sample_dataset"]
    assert found.quote.training_an_hour > found.quote.serving_an_hour > 0
    assert "max_steps" in page_of("preflight")


def test_all_that_is_in_the_way_is_said_at_once(conversations: Path, taken_endpoint: str) -> None:
    given: dict[str, Any] = {
        "dataset": {"source": str(conversations), "train_split": "train_none"},
        "model": {"name": "no-such-model"},
        "compute": {"cluster": "new-one", "size": "Standard_ND40rs_v2", "priority": "dedicated"},
        "deployment": {"endpoint": taken_endpoint, "instance_type": "Standard_NC7"},
        "training": {"num_train_epochs": 1, "other": {"no_such_input": 1}},
        "cost": {"prices": "/no/such/prices.yaml"},
    }
    found: Any = preflight(**given)
    blockers = sentences(found, "blocker")
    assert set(blockers) == {
        "resolve_credentials",  # the prices
        "sample_dataset",
        "find_foundation_model",
        "check_endpoint_name",
        "validate_compute",
        "submit_pipeline",
    }
    quota, size = blockers["validate_compute"]
    assert "No quota for training" in quota and "Standard_NC7" in size
    assert "no_such_input" in blockers["submit_pipeline"][0]
    assert (found.ok, found.model, found.data, found.quote) == (False, None, None, None)


def test_where_nobody_can_sign_in_the_data_is_looked_at_all_the_same(
    workspace: AzureMLWorkspace, conversations: Path
) -> None:
    found: Any = preflight(**parameters(conversations, workspace="no-block"))
    assert set(sentences(found, "blocker")) == {"resolve_credentials"}
    assert found.data["train"].rows == 40
    assert found.compute is None


def test_what_is_only_to_be_known_is_in_nobodys_way(
    workspace: AzureMLWorkspace, emulator: Emulator, conversations: Path
) -> None:
    emulator.publish("says-little", system_metadata={"tasks": {"fineTuningTasks": ["chat-completion"]}})
    found: Any = preflight(**parameters(conversations, model={"name": "says-little"}))
    assert found.ok
    [*warnings] = sentences(found, "warning")["find_foundation_model"]
    assert any("Which VM sizes can fine-tune says-little version 1 is unknown" in warning for warning in warnings)


def test_it_takes_what_finetune_takes() -> None:
    def asked(flow: Any) -> dict[str, Any]:
        schema = flow.parameters.model_dump()
        return {name: {**its, "description": ""} for name, its in schema["properties"].items()} | schema["definitions"]

    assert asked(preflight) == asked(finetune)


@pytest.mark.parametrize(("more", "status"), [({}, 0), ({"model": {"name": "no-such-model"}}, 1)])
def test_the_command_line_prints_json_alone_and_tells_by_its_status(
    workspace: AzureMLWorkspace, conversations: Path, tmp_path: Path, more: dict[str, Any], status: int
) -> None:
    file = tmp_path / "parameters.yaml"
    file.write_text(json.dumps(parameters(conversations, **more)))
    done = subprocess.run(
        [sys.executable, "-m", "flows", "preflight", "--params", str(file), "--json"],
        cwd=ROOT,
        env={**os.environ, "PREFECT_API_URL": PREFECT_API_URL.value() or ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stderr
    told = json.loads(done.stdout)
    assert told["ok"] is (status == 0)
    assert {"ok", "findings", "model", "compute", "data", "quote"} <= told.keys()
    assert all(set(finding) == {"stage", "severity", "sentence"} for finding in told["findings"])
