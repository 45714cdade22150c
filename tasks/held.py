"""What a run holds: the nodes of its cluster, its endpoint, the instances of its deployment."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from blocks import AzureMLWorkspace
from tasks.azure_ml.errors import find, redact
from tasks.azure_ml.polling import polls
from tasks.azure_ml.states import word
from tasks.naming import DEPLOYMENT
from tasks.stage import run_logger

if TYPE_CHECKING:
    from azure.ai.ml.entities import AmlCompute, OnlineDeployment, OnlineEndpoint

SCALE_DOWN_SECONDS = 10 * 60
"""How long nodes may take to go once they have been idle for their time. Azure names no bound."""


def nodes_up(workspace: AzureMLWorkspace, cluster: AmlCompute) -> int:
    """How many nodes the cluster has now, busy or idle: each holds quota until it is gone."""
    if word(cluster.provisioning_state).lower() != "succeeded":
        return 0
    return len(list(workspace.client().compute.list_nodes(str(cluster.name))))


def wait_until_idle_nodes_are_gone(workspace: AzureMLWorkspace, name: str, most_seconds: float) -> bool:
    """Waits until cluster `name` is down to its smallest size, at most as long as that takes by its own settings, and at most
    `most_seconds`. False at once if that frees no dedicated quota: it is as small already, of low-priority nodes, or gone."""
    cluster: AmlCompute | None = find(lambda: workspace.client().compute.get(name))
    if cluster is None:
        return False
    smallest, idle = int(cluster.min_instances or 0), float(cluster.idle_time_before_scale_down or 0)
    if is_low_priority(cluster) or nodes_up(workspace, cluster) <= smallest:
        return False
    seconds = min(idle + SCALE_DOWN_SECONDS, most_seconds)
    run_logger().info(
        "Cluster %s still holds its nodes, and their quota. Waiting up to %.0f s for them to go.", name, seconds
    )
    for _ in polls(seconds):
        if nodes_up(workspace, cluster) <= smallest:
            break
    return True


def nodes_that_stay(workspace: AzureMLWorkspace, name: str) -> tuple[str, str, int] | None:
    """VM size and tier of cluster `name`, and how many nodes it keeps when nothing trains; None if it is gone."""
    cluster: AmlCompute | None = find(lambda: workspace.client().compute.get(name))
    if cluster is None:
        return None
    tier = "low_priority" if is_low_priority(cluster) else "dedicated"
    return str(cluster.size), tier, int(cluster.min_instances or 0)


def is_low_priority(cluster: AmlCompute) -> bool:
    """Whether its nodes count against the low-priority quota."""
    return "low" in word(cluster.tier).lower()


def cluster_doing(workspace: AzureMLWorkspace, name: str) -> str:
    """What the cluster does just now, a sentence and a blank: its state, its nodes, what went wrong with them. Empty if it cannot
    be told, which must not hide why it was asked for."""
    client = workspace.client()
    try:
        # The SDK's own entity leaves states and errors of nodes out.
        answer: Any = client.compute._operation.get(client.resource_group_name, str(client.workspace_name), name)
        its = answer.properties.properties
        counts = (its.node_state_counts or {}).items()
        nodes = [f"{count} {re.sub('NodeCount$', '', kind).lower()}" for kind, count in counts if count]
        errors = [f"{error.error.code}: {error.error.message}" for error in its.errors or [] if error.error]
    except Exception as error:
        run_logger().warning("What cluster %s does cannot be told: %s", name, redact(str(error)))
        return ""
    told = f"Cluster {name} is {word(its.allocation_state).lower()}, {its.current_node_count or 0} of "
    told += f"{its.target_node_count or 0} wanted nodes are there ({', '.join(nodes) or 'none at work'})"
    return f"{told}; Azure says of them: {' '.join(errors)} " if errors else f"{told}. "


def find_endpoint(workspace: AzureMLWorkspace, name: str) -> OnlineEndpoint | None:
    """The endpoint called `name`, or None if there is none."""
    return find(lambda: workspace.client().online_endpoints.get(name))


def find_deployment(workspace: AzureMLWorkspace, endpoint: str) -> OnlineDeployment | None:
    """The run's deployment under `endpoint`, or None if there is none."""
    return find(lambda: workspace.client().online_deployments.get(name=DEPLOYMENT, endpoint_name=endpoint))
