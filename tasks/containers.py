"""What a deployment's containers said last, before they go with their endpoint."""

from __future__ import annotations

from blocks import AzureMLWorkspace
from tasks.artifacts import publish_markdown
from tasks.azure_ml.errors import redact
from tasks.naming import DEPLOYMENT
from tasks.stage import run_logger

LOG_LINES = 50
CONTAINERS = ("storage-initializer", "inference-server")
"""As the SDK takes them."""


def containers_said(workspace: AzureMLWorkspace, endpoint: str) -> list[str]:
    """The last lines of each container that has any, without secrets; also a page of the run, which outlives the endpoint."""
    said = {container: log for container in CONTAINERS if (log := _log(workspace, endpoint, container))}
    page = "\n\n".join(f"## {container}\n\n```\n{log.replace('```', '` ` `')}\n```" for container, log in said.items())
    publish_markdown("containers", f"What the containers of {endpoint} said last", page or "Nothing was to be had.")
    return [f"Last lines of {container}:\n{log}" for container, log in said.items()]


def _log(workspace: AzureMLWorkspace, endpoint: str, container: str) -> str:
    """The container's last lines; empty if there are none to be had, since a log must not hide the failure."""
    try:
        deployments = workspace.client().online_deployments
        text = deployments.get_logs(name=DEPLOYMENT, endpoint_name=endpoint, lines=LOG_LINES, container_type=container)
        return redact(str(text or "").strip())
    except Exception as error:
        run_logger().warning("The log of %s cannot be read: %s", container, redact(str(error)))
        return ""
