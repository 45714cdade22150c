"""The operator's stack on ports and folders of its own, one for the session: to bring one up takes half a minute."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from deployments.stack.layout import ROOT, Stack
from tests.deployments.operated import SECRET_BLOCK, SMALL, Operator
from tests.emulated import Emulator, free_port

SAVE_BLOCK = f"""
import json, sys
from blocks import AzureCredentials, AzureMLWorkspace
given = json.load(sys.stdin)
AzureCredentials(auth="service_principal", **given["who"]).save("{SECRET_BLOCK}", overwrite=True)
where = {{**given["where"], "credentials": AzureCredentials.load("{SECRET_BLOCK}")}}
AzureMLWorkspace(**where).save("{SECRET_BLOCK}", overwrite=True)
"""


@pytest.fixture(scope="session")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """A stack that is up."""
    folder = tmp_path_factory.mktemp("stack") / "a user's own"  # spaces and quotes are nobody's trouble
    folder.mkdir()
    operator = Operator(Stack(folder / "home", free_port(), folder / "azure", free_port()))
    try:
        up = operator.command("up")
        assert up.returncode == 0, up.stdout + up.stderr
        assert operator.stack.url in up.stdout
        yield operator
    finally:
        operator.command("down")


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Conversations in the reference's schema, as the flow's parameter."""
    folder = tmp_path_factory.mktemp("conversations")
    for split, rows in (("train_sft", 40), ("test_sft", 10), ("test_gen", 5)):
        with (folder / f"{split}.jsonl").open("w", encoding="utf-8") as file:
            for number in range(rows):
                question = f"What is {number} plus {number}? Asked for {split}."
                said = [("user", question), ("assistant", f"It is {2 * number}.")]
                messages = [{"role": role, "content": content} for role, content in said]
                file.write(
                    json.dumps({"prompt": question, "messages": messages, "prompt_id": f"{split}-{number}"}) + "\n"
                )
    return {"source": str(folder), "percent": 100}


@pytest.fixture(scope="session")
def azure(operator: Operator) -> Emulator:
    """The stack's emulator."""
    return Emulator(operator.stack.emulator_state, operator.stack.emulator_port)


@pytest.fixture(scope="session")
def main_run(operator: Operator, azure: Emulator, dataset: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    """The main job through the worker, watched to its end. It signs in with a secret that a block holds; its endpoint stays."""
    here = azure.installation
    who = {
        "tenant_id": here.tenant_id,
        "client_id": here.principals[0].client_id,
        "client_secret": here.principals[0].secret,
    }
    where = {
        "subscription_id": here.subscription_id,
        "resource_group": here.resource_group,
        "workspace_name": here.workspace,
    }
    saved = subprocess.run(
        [sys.executable, "-c", SAVE_BLOCK],
        cwd=ROOT,
        env={**os.environ, "PREFECT_API_URL": operator.stack.api, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"},
        input=json.dumps({"who": who, "where": where}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert saved.returncode == 0, saved.stderr
    kept = {"policy": "keep_on_success"}
    options = ("--watch", "--watch-interval", "1")
    return operator.run_deployment(*options, workspace=SECRET_BLOCK, dataset=dataset, teardown=kept, **SMALL)
