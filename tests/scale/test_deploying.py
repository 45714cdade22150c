"""Both files of deployments, deployed as an operator does it; and a run whose code comes from git."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from deployments.stack.layout import ROOT
from tests.emulated import Emulator
from tests.scale.conftest import Guarded

CONTAINERS = ROOT / "deployments" / "containers.yaml"
NAMES = ["manual", "nightly", "reaper"]
IMAGE = "registry.example/finetune:1"


def git(*arguments: str, cwd: Path) -> str:
    """Runs git as nobody in particular."""
    who = ["-c", "user.name=test", "-c", "user.email=test@example.com"]
    done = subprocess.run(["git", *who, *arguments], cwd=cwd, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This tree, committed, with a bare repository as its origin."""
    folder = tmp_path_factory.mktemp("checkout")
    for part in ("flows", "tasks", "blocks", "deployments"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "prefect.yaml", folder)
    git("init", "--quiet", cwd=folder)
    git("add", "--all", cwd=folder)
    git("commit", "--quiet", "--message", "all of it", cwd=folder)
    origin = tmp_path_factory.mktemp("origin") / "finetune.git"
    git("clone", "--quiet", "--bare", str(folder), str(origin), cwd=folder)
    git("remote", "add", "origin", f"file://{origin}", cwd=folder)
    return folder


@pytest.fixture(scope="module")
def pool(guarded: Guarded) -> str:
    """The work pool of containers.yaml, of the one type that runs here."""
    made = guarded.run("prefect", "--no-prompt", "work-pool", "create", "containers", "--type", "process")
    assert made.returncode == 0, made.stdout + made.stderr
    return "containers"


def deploy(guarded: Guarded, cwd: Path, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return guarded.run("prefect", "--no-prompt", "deploy", "--all", *options, cwd=cwd, **variables)


def deployments(guarded: Guarded) -> dict[str, dict[str, Any]]:
    return {found["name"]: found for found in guarded.ask("/deployments/filter", {})}


def test_both_files_hold_the_same_deployments() -> None:
    here, there = [
        file.read_text("utf-8").partition("\ndeployments:\n")[2] for file in (ROOT / "prefect.yaml", CONTAINERS)
    ]
    assert here
    assert here == there


def test_a_checkout_is_deployed_for_a_workspace_by_its_blocks_name(guarded: Guarded, checkout: Path) -> None:
    done = deploy(guarded, checkout, WORKSPACE_BLOCK="production")
    assert done.returncode == 0, done.stdout + done.stderr
    commit = git("rev-parse", "--short", "HEAD", cwd=checkout)
    for name, found in deployments(guarded).items():
        assert name in NAMES
        assert found["parameters"]["workspace"] == "production"
        assert found["version"].startswith(commit[:7])
        assert found["pull_steps"] == [
            {"prefect.deployments.steps.set_working_directory": {"directory": str(checkout)}}
        ]
    [trigger] = [found for found in guarded.ask("/automations/filter", {}) if found["name"] == "reap-after-a-bad-end"]
    assert "workspace" not in trigger["actions"][0]["parameters"], "it is the deployment's own"


def test_a_run_clones_the_commit_that_was_deployed_and_works_from_it(
    guarded: Guarded, checkout: Path, pool: str, emulator: Emulator, tmp_path: Path
) -> None:
    done = deploy(guarded, checkout, "--prefect-file", "deployments/containers.yaml", FINETUNE_IMAGE=IMAGE)
    assert done.returncode == 0, done.stdout + done.stderr
    deployed = git("rev-parse", "HEAD", cwd=checkout)
    found = deployments(guarded)
    assert {entry["version"] for entry in found.values()} == {deployed}
    assert found["reaper"]["job_variables"]["image"] == IMAGE
    # What is pushed afterwards is not what was deployed.
    (checkout / "flows" / "reap.py").write_text("raise SystemExit('this is not the deployed commit')\n")
    git("commit", "--quiet", "--all", "--message", "broken", cwd=checkout)
    git("push", "--quiet", "origin", "HEAD", cwd=checkout)

    asked = guarded.run("prefect", "deployment", "run", "reap/reaper", "-p", "dry_run=true")
    assert asked.returncode == 0, asked.stdout + asked.stderr
    worked = guarded.run(
        "prefect", "--no-prompt", "worker", "start", "--pool", pool, "--run-once",
        cwd=tmp_path, PATH=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    )  # fmt: skip
    of_reaper = {"deployments": {"id": {"any_": [found["reaper"]["id"]]}}}
    # Its schedule may have made others.
    [run] = [run for run in guarded.ask("/flow_runs/filter", of_reaper) if run["parameters"].get("dry_run")]
    assert run["state_type"] == "COMPLETED", json.dumps(run["state"]) + worked.stdout + worked.stderr


@pytest.mark.parametrize(
    ("prepare", "variables", "sentence"),
    [
        (lambda folder: None, {}, "FINETUNE_IMAGE"),
        (lambda folder: (folder / "prefect.yaml").write_text("changed"), {"FINETUNE_IMAGE": IMAGE}, "Commit first"),
    ],
)
def test_what_containers_could_not_run_is_not_deployed(
    guarded: Guarded, checkout: Path, pool: str, prepare: Any, variables: dict[str, str], sentence: str
) -> None:
    prepare(checkout)
    done = deploy(guarded, checkout, "--prefect-file", "deployments/containers.yaml", **variables)
    assert done.returncode != 0
    assert sentence in done.stdout + done.stderr


def test_job_variables_hold_no_secret_and_say_how_a_run_ends() -> None:
    project = yaml.safe_load(CONTAINERS.read_text("utf-8"))
    variables = project["definitions"]["work_pool"]["job_variables"]
    assert variables["env"]["PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR"] == "reschedule"
    assert not [name for name in variables["env"] if "SECRET" in name or "KEY" in name]
