"""`python -m deployments.workspace_block --config config.json`: saves the AzureMLWorkspace block without the UI.

The credentials block is the given one's name; without one, azure-identity's default chain signs in with whatever the
worker's environment holds, and Prefect stores no secret at all.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from blocks import AzureCredentials, AzureMLWorkspace


def main(arguments: list[str] | None = None) -> None:
    """Registers both block types and saves one workspace under a name; saving again overwrites it."""
    parser = argparse.ArgumentParser(prog="python -m deployments.workspace_block", description=__doc__)
    parser.add_argument(
        "--config", type=Path, required=True, help="the workspace's config.json, as Azure ML studio offers it"
    )
    parser.add_argument("--name", default="azureml", help="the block's name (default: azureml)")
    parser.add_argument("--credentials", help="name of a saved AzureCredentials block")
    parser.add_argument("--registry", default="azureml", help="the model registry (default: azureml)")
    given = parser.parse_args(arguments)
    print(f"Saved block azure-ml-workspace/{save(given.config, given.name, given.credentials, given.registry)}.")


def save(config: Path, name: str, credentials: str | None = None, registry: str = "azureml") -> str:
    """Saves the block and returns its name.

    Raises:
        KeyError: `config` lacks subscription_id, resource_group or workspace_name.
        ValidationError: a name in it, or `registry`, is not what Azure takes.
    """
    where = json.loads(config.read_text(encoding="utf-8"))
    block = AzureMLWorkspace(
        subscription_id=where["subscription_id"],
        resource_group=where["resource_group"],
        workspace_name=where["workspace_name"],
        registry_name=registry,
        credentials=AzureCredentials.load(credentials) if credentials else AzureCredentials(),
    )
    block.save(name, overwrite=True)
    return name


if __name__ == "__main__":
    main()
