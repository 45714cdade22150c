"""The commands of the pages on Azure and on scale, against a server that asks for a login."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docs.commands import POOLS, RUN_BY, WITH_A_LOGIN, checkout, run_as_written
from tests.emulated import ROOT, Emulator, command_line
from tests.scale.conftest import Guarded

SAVE_CREDENTIALS = """
import os
from blocks import AzureCredentials
fields = {name: os.environ[f"AZURE_{name.upper()}"] for name in ("tenant_id", "client_id", "client_secret")}
AzureCredentials(auth="service_principal", **fields).save("azure", overwrite=True)
"""
PARTS = ("flows", "tasks", "blocks", "deployments", "prefect.yaml")


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """A dataset of a few conversations."""
    folder = tmp_path / "rows"
    folder.mkdir()
    for split in ("train_sft", "test_sft", "test_gen"):
        with (folder / f"{split}.jsonl").open("w") as file:
            for number in range(12):
                said = [("user", f"Say {number} for {split}"), ("assistant", str(number))]
                messages = [{"role": role, "content": content} for role, content in said]
                file.write(json.dumps({"messages": messages, "prompt_id": f"{split}{number}"}) + "\n")
    return folder


def test_the_commands_for_azure_run_as_written(
    guarded: Guarded, emulator: Emulator, tmp_path: Path, rows: Path
) -> None:
    folder = tmp_path / "checkout"
    environment = {
        **checkout(folder, *PARTS),
        "PREFECT_API_URL": guarded.stack.api,
        "PREFECT_API_AUTH_STRING": guarded.login,
    }
    (folder / "config.json").write_text(command_line("env", "--config", "--state", str(emulator.state)).stdout)
    first: dict[str, Any] = {
        "workspace": "azureml",
        "compute": {"cluster": "gpu-documented"},
        "dataset": {"source": str(rows), "percent": 100},
        "training": {"max_steps": 2, "learning_rate": 0.001},
        "deployment": {"enabled": False},
    }
    (folder / "first.yaml").write_text(yaml.safe_dump(first))
    # As it is filled in the UI.
    saved = subprocess.run(
        [sys.executable, "-c", SAVE_CREDENTIALS], env=environment | emulator.environment(), cwd=ROOT, check=False
    )
    assert saved.returncode == 0
    # `make up` has made the pool that the page makes.
    own = {"work-pool create local": "work-pool create documented", "http://SERVER:4200/api": guarded.stack.api}
    done = run_as_written(WITH_A_LOGIN, folder, environment, own)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Saved block azure-ml-workspace/azureml." in done.stdout
    assert "\nCompleted: " in done.stdout


@pytest.mark.parametrize("command", [command for command, test in RUN_BY["docs/scale.md"].items() if test == POOLS])
def test_a_work_pool_of_each_kind_can_be_made(guarded: Guarded, tmp_path: Path, command: str) -> None:
    kind = command.split("--type ")[1].split()[0]
    words = command.replace("create containers", f"create {kind}-pool").split()
    assert words[:2] == [".venv/bin/prefect", "work-pool"]
    done = guarded.run("prefect", "--no-prompt", *words[1:])
    assert done.returncode == 0, done.stdout + done.stderr
    pool = guarded.ask(f"/work_pools/{kind}-pool")
    assert pool["type"] == kind
    manifest = pool["base_job_template"]["job_configuration"].get("job_manifest")
    if manifest:
        assert manifest["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 120
