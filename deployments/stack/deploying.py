"""`python -m deployments.stack.deploying`: deploys prefect.yaml and the automations to the server of `PREFECT_API_URL`.

As `prefect deploy --all` and `python -m deployments.automate` do, but that a deployment's schedules, parameters, pause and limit
stay as a person has changed them.
"""

from __future__ import annotations

import argparse
import copy
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from deployments.automate import find_deployment, save_all
from deployments.remembered import Remembered, Settled
from deployments.stack.layout import ROOT

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.responses import DeploymentResponse

PARAMETER = "parameters."
"""Before the names of parameters among the fields: each stays or follows for itself."""


def main(arguments: list[str] | None = None) -> None:
    """Deploys, and says of each what a person has changed."""
    from prefect.client.orchestration import get_client

    parser = argparse.ArgumentParser(prog="python -m deployments.stack.deploying")
    parser.add_argument("--reset", action="store_true", help="also undo what was changed in the UI")
    memory = Remembered(reset=parser.parse_args(arguments).reset)
    with get_client(sync_client=True) as client:
        print(*deploy_all(client, memory), sep="\n")
        print(*save_all(client, memory), sep="\n")
    memory.save()


def deploy_all(client: SyncPrefectClient, memory: Remembered) -> list[str]:
    """Deploys all of prefect.yaml; returns a sentence for each deployment.

    Raises:
        SystemExit: Prefect does not take it; with what it says.
    """
    project = yaml.safe_load((ROOT / "prefect.yaml").read_text("utf-8"))
    merged, kept, sentences = copy.deepcopy(project), {}, []
    for entry in merged["deployments"]:
        name = full_name(entry)
        settled = Settled()
        if there := find_deployment(client, name):
            server = on_server(there)
            files = {**{field: None for field in server if field.startswith(PARAMETER)}, **in_file(entry)}
            settled = memory.settle(f"deployment {name}", files, server)
        for field, value in settled.kept.items():
            _put(entry, field, value)
        sentences.append(f"deployment {name}{f' ({settled.remark()})' if settled.kept else ''}")
        kept[name] = settled.kept
        if memory.reset:
            # Where the file says nothing of it, Prefect leaves what is off as it is.
            entry.setdefault("paused", False)
            for schedule in entry.get("schedules", []):
                schedule.setdefault("active", True)
    _deploy(merged)
    for entry in project["deployments"]:
        name = full_name(entry)
        memory.note(f"deployment {name}", in_file(entry), on_server(client.read_deployment_by_name(name)), kept[name])
    return sentences


def full_name(entry: dict[str, Any]) -> str:
    """With its flow's: finetune/nightly."""
    return f"{entry['entrypoint'].rpartition('.')[2]}/{entry['name']}"


def in_file(entry: dict[str, Any]) -> dict[str, Any]:
    """The fields of prefect.yaml that a person may change in the UI."""
    fields: dict[str, Any] = {
        "schedules": entry.get("schedules", []),
        "paused": entry.get("paused", False),
        "concurrency_limit": entry.get("concurrency_limit", "none"),
        "tags": entry.get("tags", []),
    }
    return fields | {f"{PARAMETER}{name}": value for name, value in entry.get("parameters", {}).items()}


def on_server(deployment: DeploymentResponse) -> dict[str, Any]:
    """The same fields, in the words of prefect.yaml."""
    limit: Any = "none"
    if deployment.global_concurrency_limit:
        limit = deployment.global_concurrency_limit.limit
        if options := deployment.concurrency_options:
            limit = {"limit": limit, "collision_strategy": options.collision_strategy.value}
    fields: dict[str, Any] = {
        "schedules": [
            {
                **each.schedule.model_dump(mode="json", exclude_none=True),
                **each.model_dump(mode="json", include={"slug", "active", "parameters"}, exclude_none=True),
            }
            for each in sorted(deployment.schedules, key=lambda each: each.slug or "")
        ],
        "paused": deployment.paused,
        "concurrency_limit": limit,
        "tags": sorted(deployment.tags),
    }
    return fields | {f"{PARAMETER}{name}": value for name, value in (deployment.parameters or {}).items()}


def _put(entry: dict[str, Any], field: str, value: Any) -> None:
    """Has the entry deploy `value`."""
    where, name = (
        (entry["parameters"], field.removeprefix(PARAMETER)) if field.startswith(PARAMETER) else (entry, field)
    )
    if value is None or value == "none":
        where.pop(name, None)
    else:
        where[name] = value


def _deploy(project: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "prefect.yaml"
        file.write_text(yaml.safe_dump(project, sort_keys=False, allow_unicode=True), "utf-8")
        command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(file)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"`prefect deploy` failed:\n{done.stdout}{done.stderr}".rstrip())


if __name__ == "__main__":
    main()
