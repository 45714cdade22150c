"""The commands of the documentation, and where each is run.

A command that is in none of the lists fails `test_pages.py`; so does a list's command that no page has any more. The tests that are
called `..._run_as_written` run theirs word for word, in the order of the page; the others run the same thing with ports and folders
of their own.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.emulated import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^[ ]*```(?:sh|bash)\n(?P<text>.*?)^[ ]*```$", re.DOTALL | re.MULTILINE)

ON_THE_STACK = "tests/deployments/test_documented_commands.py::test_the_operators_commands_run_as_written"
ON_AN_EMULATOR = "tests/docs/test_emulator_commands.py::test_the_emulators_commands_run_as_written"
WITH_A_LOGIN = "tests/scale/test_documented_commands.py::test_the_commands_for_azure_run_as_written"
STACK = "tests/deployments/test_stack.py::"
GUARDED = "tests/scale/test_guarded_server.py::"
CLONING = "tests/scale/test_deploying.py::test_a_run_clones_the_commit_that_was_deployed_and_works_from_it"
POOLS = "tests/scale/test_documented_commands.py::test_a_work_pool_of_each_kind_can_be_made"
POSTGRES = "tests/scale/on_postgres.py::test_the_main_job_runs_through_a_server_on_postgresql"

RUN_BY: dict[str, dict[str, str]] = {
    "README.md": {
        "make demo": "tests/scenarios/test_demo.py::test_a_good_run_ends_with_a_summary_and_leaves_nothing_running",
    },
    "docs/operate.md": {
        "make up": f"{STACK}test_up_twice_changes_nothing",
        "make status": f"{STACK}test_status_says_that_all_of_it_runs",
        ".venv/bin/python -m demo.chitchat --out .cache/demo/chitchat": ON_THE_STACK,
        "export PREFECT_API_URL=http://127.0.0.1:4200/api": ON_THE_STACK,
        '.venv/bin/prefect deployment run finetune/manual --watch --params "$(cat deployments/small.json)"': ON_THE_STACK,
        ".venv/bin/prefect deployment run reap/reaper --watch -p dry_run=true": ON_THE_STACK,
        ".venv/bin/python -m deployments.automate": "tests/deployments/test_alerts.py::test_a_failed_run_is_told_with_its_reason",
        ".venv/bin/python -m deployments.automate --test": "tests/deployments/test_alerts.py::"
        "test_a_test_is_sent_and_said_to_have_arrived_only_if_it_has",
        "tail -n 50 .cache/stack/server.log .cache/stack/worker.log .azureml-emulator/emulator.log": ON_THE_STACK,
        "make down": f"{STACK}test_down_leaves_no_process_and_up_goes_on_with_its_run",
    },
    "docs/emulator.md": {
        "python -m emulator start": ON_AN_EMULATOR,
        'eval "$(python -m emulator env)"': ON_AN_EMULATOR,
        "python -m emulator env --config > config.json": ON_AN_EMULATOR,
        "python -m emulator status": ON_AN_EMULATOR,
        "python -m emulator stop": ON_AN_EMULATOR,
        "python -m emulator reset": ON_AN_EMULATOR,
        "python -m emulator import-model path/to/huggingface-model --name my-model": "tests/emulator/test_registry.py",
        """python -m emulator faults add '{"match": {"method": "PUT", "path": "*/jobs/*", "nth": 1, "times": 1}, "effect": """
        """{"kind": "status", "status": 429, "code": "TooManyRequests", "retry_after": 2}}'""": ON_AN_EMULATOR,
        "python -m emulator faults list": ON_AN_EMULATOR,
        "python -m emulator faults clear": ON_AN_EMULATOR,
    },
    "docs/azure.md": {
        ".venv/bin/prefect block register -m blocks": WITH_A_LOGIN,
        ".venv/bin/python -m deployments.workspace_block --config config.json --name azureml --credentials azure": WITH_A_LOGIN,
        ".venv/bin/python -m flows.finetune --params first.yaml": WITH_A_LOGIN,
        "export PREFECT_API_URL=http://SERVER:4200/api": WITH_A_LOGIN,
        ".venv/bin/prefect work-pool create local --type process": WITH_A_LOGIN,
        ".venv/bin/prefect --no-prompt deploy --all": WITH_A_LOGIN,
        "WORKSPACE_BLOCK=production .venv/bin/prefect --no-prompt deploy --all": WITH_A_LOGIN,
        ".venv/bin/python -m deployments.automate": WITH_A_LOGIN,
        """.venv/bin/prefect deployment run finetune/manual --watch -p 'dataset={"percent": 1}' """
        """-p 'training={"num_train_epochs": 1}'""": f"{STACK}test_the_main_job_runs_through_the_worker_to_its_end",
        ".venv/bin/prefect worker start -p local": CLONING,
    },
    "docs/security.md": {
        'python -c "from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())"': ON_AN_EMULATOR,
        ".venv/bin/python -m deployments.stack up --login": f"{GUARDED}test_only_the_owner_may_read_a_key_file",
    },
    "docs/scale.md": {
        "export PREFECT_SERVER_DATABASE_CONNECTION_URL=postgresql+asyncpg://prefect:PASSWORD@HOST:5432/prefect": POSTGRES,
        "make test-postgres": POSTGRES,
        "export FINETUNE_IMAGE=REGISTRY/finetune:TAG WORKSPACE_BLOCK=production": CLONING,
        ".venv/bin/prefect --no-prompt deploy --all --prefect-file deployments/containers.yaml": CLONING,
        ".venv/bin/prefect work-pool create containers --type kubernetes --base-job-template "
        "deployments/kubernetes/work-pool.json": POOLS,
        ".venv/bin/prefect work-pool create containers --type azure-container-instance": POOLS,
        ".venv/bin/prefect work-pool create containers --type docker": POOLS,
        "make check-containers": "tests/scale/check_containers.py",
    },
}

NO_ENGINE = "needs a container engine"
NOT_RUN: dict[str, dict[str, str]] = {
    "README.md": {"make test": "it is what runs this"},
    "docs/scale.md": {
        "docker build --file deployments/image/Dockerfile --tag REGISTRY/finetune:TAG .": NO_ENGINE,
        "docker push REGISTRY/finetune:TAG": NO_ENGINE,
        "kubectl apply --kustomize deployments/kubernetes": "needs a cluster",
    },
    "docs/azure.md": {
        'az ad sp create-for-rbac --name nightly-chat-finetune --role "AzureML Data Scientist" --scopes /subscriptions/SUB/'
        "resourceGroups/GROUP/providers/Microsoft.MachineLearningServices/workspaces/WORKSPACE": "needs a tenant of Azure's",
        "python3.11 -m venv .venv": "`make setup` has done it before a test can run",
        ".venv/bin/pip install -c constraints.txt -e .": "`make setup` has done it, with the extras",
    },
}


def commands(page: Path) -> list[str]:
    """The page's commands, in order: comments taken out, continued lines and quotes of several lines on one line."""
    found = []
    for block in BLOCK.finditer(page.read_text("utf-8")):
        pending = ""
        for line in block["text"].splitlines():
            pending = f"{pending} {line.strip()}".strip()
            if pending.endswith("\\"):
                pending = pending[:-1].strip()
                continue
            if _is_whole(pending):
                if command := _without_comment(pending):
                    found.append(command)
                pending = ""
        assert not pending, f"{page.name}: {pending} does not end"
    return found


def name_of(page: Path) -> str:
    """A page as the lists name it."""
    return str(page.relative_to(ROOT))


def run_as_written(
    test: str,
    cwd: Path,
    environment: Mapping[str, str],
    changes: Mapping[str, str] | None = None,
    last: tuple[str, ...] = (),
) -> subprocess.CompletedProcess[str]:
    """Runs the commands of `test` in one shell, in the pages' order but for the `last`, stopping at the first that fails.

    `changes` puts ports and names of the test's own in the place of what is written.
    """
    wanted = [
        command
        for page in PAGES
        for command in commands(page)
        if RUN_BY.get(name_of(page), {}).get(command) == test and command not in last
    ]
    assert wanted
    script = "\n".join(["set -e", *wanted, *last])
    for written, own in (changes or {}).items():
        assert written in script, f"nothing has {written}"
        script = script.replace(written, own)
    return subprocess.run(
        ["bash", "-x", "-c", script],
        cwd=cwd,
        env=dict(environment),
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )


def checkout(folder: Path, *parts: str) -> dict[str, str]:
    """Makes `folder` look like a checkout: links to `parts` of this one and to its Python. Returns an environment to run in."""
    for part in (*parts, ".venv"):
        target = folder / part
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(Path(sys.prefix) if part == ".venv" else ROOT / part)
    path = os.pathsep.join([str(Path(sys.prefix) / "bin"), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}


def _is_whole(text: str) -> bool:
    try:
        shlex.split(text, comments=True)
    except ValueError:
        return False
    return True


def _without_comment(text: str) -> str:
    """Without what follows a `#` that begins a word outside quotes."""
    for match in re.finditer(r"(?:^|\s)#", text):
        if _is_whole(text[: match.start()]):
            return " ".join(text[: match.start()].split())
    return " ".join(text.split())
