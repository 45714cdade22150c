"""Makes sure that there is a cluster to train on and quota to serve with.

Promise: before anything is created, the sizes asked for are known to do and the quota for both is known to be there.
Afterwards the cluster exists and is ready. An existing cluster is taken as it is, never changed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, Field

from blocks import AzureMLWorkspace
from blocks.names import CLUSTER, ClusterName
from tasks.artifacts import markdown_table, publish_markdown
from tasks.azure_ml.demand import Demand, QuotaLine, refusal
from tasks.azure_ml.errors import AzureFailure, InvalidConfiguration, classify, find
from tasks.azure_ml.foundation import FoundationModel
from tasks.azure_ml.kinds import NO_MACHINES
from tasks.azure_ml.polling import polls
from tasks.azure_ml.quota import Quota, quotas_of
from tasks.azure_ml.skus import Sku, find_sku, instances_that_count, require_can_finetune, require_can_serve
from tasks.azure_ml.states import COMPLETED, word
from tasks.form import ParameterGroup
from tasks.held import find_deployment, is_low_priority, nodes_up
from tasks.jobs import attempts
from tasks.naming import RunNames
from tasks.stage import run_logger, stage

if TYPE_CHECKING:
    from azure.ai.ml.entities import AmlCompute

NEW_CLUSTER_SIZE = "Standard_NC24rs_v3"
"""Four V100: the size the reference component asks for by default."""
CREATION_DEADLINE_SECONDS = 30 * 60

Tier = Literal["dedicated", "low_priority"]
Quotas = Callable[..., list[Quota]]
"""`quotas_of` the workspace."""


class ComputeParameters(ParameterGroup):
    """Where the training runs."""

    cluster: ClusterName = Field(
        "gpu-cluster-big",
        title="Cluster",
        description=f"Name of the Azure ML compute cluster; created when there is none. {CLUSTER.bounds}",
    )
    size: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9_-]{3,64}$",
        title="VM size",
        examples=["Standard_NC24ads_A100_v4"],
        description="VM size of the cluster's nodes, 3 to 64 letters, digits, dashes and underscores. Default: an existing "
        f"cluster's own; {NEW_CLUSTER_SIZE} for a new one.",
    )
    max_nodes: int = Field(
        1,
        ge=1,
        le=100,
        title="Most nodes",
        description="How many nodes a new cluster may grow to. It shrinks to none when idle.",
    )
    priority: Literal["dedicated", "low_priority", "dedicated_then_low_priority"] = Field(
        "dedicated_then_low_priority",
        title="Priority",
        description="Which nodes a new cluster has. Low priority is cheaper, and its nodes can be taken away at any time; "
        "dedicated_then_low_priority turns to it only where the quota does not suffice or Azure refuses the cluster. A cluster "
        "that is there stays what it is.",
    )
    idle_seconds: int = Field(
        120,
        ge=60,
        le=86_400,
        title="Idle seconds",
        description="After how many seconds without work a new cluster's node is released.",
    )


class ValidatedCompute(BaseModel):
    """The cluster that trains, and the instance type that will serve."""

    cluster: str
    size: str
    gpus_per_node: int
    nodes: int
    """How many train."""
    max_nodes: int
    min_nodes: int = 0
    """How many stay when nothing trains."""
    tier: str
    created: bool
    rule: str
    instance_type: str
    instance_count: int
    serving_rule: str
    quota: list[QuotaLine]

    @property
    def gpus(self) -> int:
        """Of all nodes that train."""
        return self.nodes * self.gpus_per_node


@stage
def validate_compute(
    workspace: AzureMLWorkspace,
    model: FoundationModel,
    choice: ComputeParameters,
    nodes: int,
    instance_type: str | None,
    instance_count: int = 1,
    names: RunNames | None = None,
    endpoint: str | None = None,
) -> ValidatedCompute:
    """Checks sizes and quota for training on `nodes` nodes and for serving, then creates the cluster if it is missing.

    Serving follows training, so each has to fit without the other: the cluster is down to its smallest size by then. What an
    earlier try of the run `names` has made is its own: a job that has trained, a deployment under `endpoint`.
    `instance_type` None: nothing will be served.

    Raises:
        InvalidConfiguration: a size does not do, the cluster has another size or is broken, or the quota does not suffice.
        AzureFailure: the cluster could not be created, with any priority that the choice allows.
    """
    ground = _Ground.read(workspace, choice)
    cluster = ground.cluster
    has_trained = cluster is not None and names is not None and _has_trained(workspace, names)
    training = _plan_training(ground, model, choice, nodes, 0 if has_trained else nodes)
    demands, serving_rule = [training.demand], "nothing is served"
    if instance_type is not None:
        served = partial(_served, workspace, endpoint) if has_trained and endpoint is not None else None
        serving_rule, serving = _plan_serving(ground, model, instance_type, instance_count, served)
        demands.append(serving)
    sku, max_nodes = training.sku, training.max_nodes
    created = cluster is None
    if cluster is None:
        cluster = _create(workspace, choice, sku, training.tiers)
    cluster = _wait_until_provisioned(workspace, cluster)
    run_logger().info("Cluster %s: %s, %d GPU a node, %s.", cluster.name, sku.name, sku.gpus, _tier(cluster))
    validated = ValidatedCompute(
        cluster=choice.cluster,
        size=sku.name,
        gpus_per_node=sku.gpus,
        nodes=nodes,
        max_nodes=max_nodes,
        min_nodes=int(cluster.min_instances or 0),
        tier=_tier(cluster),
        created=created,
        rule=training.rule,
        instance_type=instance_type or "",
        instance_count=instance_count if instance_type else 0,
        serving_rule=serving_rule,
        quota=[line for demand in demands for line in demand.lines()],
    )
    publish_markdown("compute", f"Cluster {validated.cluster}: {validated.gpus} GPU to train with", _page(validated))
    return validated


class MachinesFound(BaseModel):
    """What `validate_compute` would find. None: that does not do, and `in_the_way` says why."""

    in_the_way: list[str]
    cluster: str
    exists: bool
    size: str | None = None
    nodes: int
    tier: str | None = None
    instance_type: str | None = None
    instance_count: int = 0
    quota: list[QuotaLine] = []


@stage
def find_machines(
    workspace: AzureMLWorkspace,
    model: FoundationModel | None,
    choice: ComputeParameters,
    nodes: int,
    instance_type: str | None,
    instance_count: int = 1,
) -> MachinesFound:
    """Checks what `validate_compute` checks, for a run to come, and makes nothing: all that is in the way, not the first of it.

    Args:
        model: None where it is not known; then no size is held against it.
    """
    found = MachinesFound(in_the_way=[], cluster=choice.cluster, exists=False, nodes=nodes)
    try:
        ground = _Ground.read(workspace, choice)
        found.exists = ground.cluster is not None
    except InvalidConfiguration as error:
        found.in_the_way.append(str(error))
        return found
    try:
        training = _plan_training(ground, model, choice, nodes, nodes)
        found.size, found.tier, found.quota = training.sku.name, training.tiers[0], training.demand.lines()
    except InvalidConfiguration as error:
        found.in_the_way.append(str(error))
    if instance_type is not None:
        try:
            _, serving = _plan_serving(ground, model, instance_type, instance_count, None)
            found.instance_type, found.instance_count = instance_type, instance_count
            found.quota += serving.lines()
        except InvalidConfiguration as error:
            if str(error) not in found.in_the_way:
                found.in_the_way.append(str(error))
    return found


@dataclass(frozen=True)
class _Ground:
    """What is there to train and to serve on."""

    skus: list[Sku]
    quotas: Quotas
    cluster: AmlCompute | None
    up: int
    """Nodes of the cluster."""

    @classmethod
    def read(cls, workspace: AzureMLWorkspace, choice: ComputeParameters) -> _Ground:
        computes = workspace.client().compute
        skus = [Sku.of(size) for size in computes.list_sizes()]
        cluster = _find_cluster(workspace, choice.cluster)
        usages = list(computes.list_usage())
        quotas = partial(quotas_of, usages, group=workspace.resource_group, workspace=workspace.workspace_name)
        return cls(skus, quotas, cluster, 0 if cluster is None else nodes_up(workspace, cluster))


@dataclass(frozen=True)
class _Training:
    """How the training can be had. `tiers`: the priorities worth trying, in order; `demand`: what the first needs."""

    sku: Sku
    rule: str
    max_nodes: int
    tiers: list[Tier]
    demand: Demand


def _plan_training(
    ground: _Ground, model: FoundationModel | None, choice: ComputeParameters, nodes: int, needed: int
) -> _Training:
    """`needed`: how many of the nodes there has to be quota for."""
    cluster = ground.cluster
    sku = find_sku(ground.skus, _wanted_size(cluster, choice), "compute.size")
    rule = require_can_finetune(sku, model.name, model.finetune_allow_list, model.finetune_minimum) if model else ""
    max_nodes = choice.max_nodes if cluster is None else int(cluster.max_instances or 1)
    if nodes > max_nodes:
        raise InvalidConfiguration(
            f"Training wants {nodes} nodes (training.num_nodes_finetune), but cluster {choice.cluster} has at most {max_nodes}. "
            + ("Lower it, or raise compute.max_nodes." if cluster is None else "Lower it, or scale the cluster up.")
        )
    tiers, demand = _tiers(ground.quotas, sku, needed, choice, cluster, ground.up)
    return _Training(sku, rule, max_nodes, tiers, demand)


def _plan_serving(
    ground: _Ground, model: FoundationModel | None, size: str, count: int, served: Callable[[Sku], int] | None
) -> tuple[str, Demand]:
    """Why `size` does, and what `count` instances of it need. `served`: the vCPUs that the run's own deployment holds already."""
    sku = find_sku(ground.skus, size, "deployment.instance_type")
    rule = require_can_serve(sku, model.name, model.inference_allow_list, model.inference_minimum) if model else ""
    rows, cluster = ground.quotas(sku.family), ground.cluster
    if cluster is not None and not is_low_priority(cluster):
        its = find_sku(ground.skus, str(cluster.size), "compute.size")
        leaving = ground.up - int(cluster.min_instances or 0)
        rows = [row.given_back(leaving * its.cpus, its.family) for row in rows]
    if served is not None:
        rows = [row.given_back(served(sku), sku.family) for row in rows]
    return rule, _serving(rows, sku, count)


def _page(its: ValidatedCompute) -> str:
    """The compute, why it does, and the quota, for people."""
    facts = {
        "Cluster": f"{its.cluster}, {'created by this run' if its.created else 'was there'}",
        "Nodes": f"{its.nodes} of {its.size}, {its.tier.replace('_', ' ')}; the cluster has at most {its.max_nodes}",
        "GPUs": f"{its.gpus_per_node} a node, {its.gpus} together",
        "Trains because of": its.rule,
        "Serves on": f"{its.instance_count} of {its.instance_type}" if its.instance_type else "nothing: no deployment",
        "Serves because of": its.serving_rule,
    }
    quota = markdown_table(
        ("Quota, in vCPUs", "for", "needed", "in use by others", "limit"),
        [(line.row, line.purpose.split()[0], line.need, _known(line.used), _known(line.limit)) for line in its.quota],
    )
    return f"{markdown_table(('Compute', ''), facts.items())}\n\n{quota}"


def _known(vcpus: int | None) -> str:
    return "Azure names none" if vcpus is None else str(vcpus)


def _find_cluster(workspace: AzureMLWorkspace, name: str) -> AmlCompute | None:
    found: AmlCompute | None = find(lambda: workspace.client().compute.get(name))
    if found is None:
        return None
    if word(found.type).lower() != "amlcompute":
        raise InvalidConfiguration(
            f"Compute {name} is no cluster but a {word(found.type)}. Set compute.cluster to a cluster."
        )
    if word(found.provisioning_state).lower() == "failed":
        raise InvalidConfiguration(
            f"Provisioning of cluster {name} failed ({found.provisioning_errors or 'no error named'}). Delete it or set "
            "compute.cluster to another."
        )
    return found


def _wanted_size(cluster: AmlCompute | None, choice: ComputeParameters) -> str:
    if cluster is None:
        return choice.size or NEW_CLUSTER_SIZE
    if choice.size and choice.size.lower() != str(cluster.size).lower():
        raise InvalidConfiguration(
            f"Cluster {choice.cluster} has VM size {cluster.size}, not {choice.size}. Leave compute.size empty, or name "
            "another cluster."
        )
    return str(cluster.size)


def _has_trained(workspace: AzureMLWorkspace, names: RunNames) -> bool:
    """Whether an earlier try of the run has trained, so that it needs no nodes any more."""
    jobs = attempts(workspace, names)
    return bool(jobs) and word(jobs[-1].status) == COMPLETED


def _served(workspace: AzureMLWorkspace, endpoint: str, sku: Sku) -> int:
    """The vCPUs of `sku` that the run's own deployment holds already."""
    found = find_deployment(workspace, endpoint)
    if found is None or str(found.instance_type).lower() != sku.name.lower():
        return 0
    return instances_that_count(sku.name, int(found.instance_count or 0)) * sku.cpus


def _tiers(
    quotas: Quotas, sku: Sku, nodes: int, choice: ComputeParameters, cluster: AmlCompute | None, up: int
) -> tuple[list[Tier], Demand]:
    """The priorities worth trying, in order, and what the first needs. The nodes that an existing cluster has up are in use
    already, by the cluster itself."""
    tiers: list[Tier] = (
        [_tier(cluster)]
        if cluster is not None
        else ["dedicated", "low_priority"]
        if choice.priority == "dedicated_then_low_priority"
        else [choice.priority]
    )
    if cluster is None and not sku.low_priority:
        if choice.priority == "low_priority":
            raise InvalidConfiguration(
                f"VM size {sku.name} has no low-priority nodes. Set compute.priority to dedicated, or choose another compute.size."
            )
        tiers = ["dedicated"]
    demands = {}
    for tier in tiers:
        rows = quotas(sku.family, low_priority=tier == "low_priority")
        rows = [row.given_back(up * sku.cpus, sku.family) for row in rows]
        purpose = f"training on {nodes} {tier.replace('_', '-')} node(s) {sku.name}"
        demands[tier] = Demand(purpose, sku.family, nodes * sku.cpus, rows)
    usable = [tier for tier in tiers if demands[tier].met]
    if not usable:
        raise refusal(list(demands.values()), "choose another compute.size or fewer nodes")
    return usable, demands[usable[0]]


def _tier(cluster: AmlCompute) -> Tier:
    return "low_priority" if is_low_priority(cluster) else "dedicated"


def _serving(rows: list[Quota], sku: Sku, count: int) -> Demand:
    """What `count` instances need."""
    counted = instances_that_count(sku.name, count)
    purpose = f"serving on {count} instance(s) {sku.name}"
    demand = Demand(purpose, sku.family, counted * sku.cpus, rows, reserve=(counted - count) * sku.cpus)
    if not demand.met:
        raise refusal([demand], "choose another deployment.instance_type")
    return demand


def _create(workspace: AzureMLWorkspace, choice: ComputeParameters, sku: Sku, tiers: list[Tier]) -> AmlCompute:
    """Creates the cluster with the first priority that Azure has quota and capacity for."""
    for position, tier in enumerate(tiers):
        try:
            return _create_with(workspace, choice, sku, tier)
        except Exception as error:
            info = classify(error)
            if info is None or info.kind not in NO_MACHINES:
                raise
            if position + 1 == len(tiers):
                raise AzureFailure(info, f"creating cluster {choice.cluster} ({sku.name}, {tier})") from error
            run_logger().warning(
                "No %s nodes of %s (%s); trying %s.", tier, sku.name, info.message, tiers[position + 1]
            )
    raise AssertionError("there is at least one priority to try")


def _create_with(workspace: AzureMLWorkspace, choice: ComputeParameters, sku: Sku, tier: Tier) -> AmlCompute:
    from azure.ai.ml.entities import AmlCompute

    run_logger().info("Creating cluster %s: up to %d %s nodes of %s.", choice.cluster, choice.max_nodes, tier, sku.name)
    poller = workspace.client().compute.begin_create_or_update(
        AmlCompute(
            name=choice.cluster,
            size=sku.name,
            tier=tier,
            min_instances=0,
            max_instances=choice.max_nodes,
            idle_time_before_scale_down=choice.idle_seconds,
        )
    )
    created: AmlCompute = poller.result(timeout=CREATION_DEADLINE_SECONDS)
    return created


def _wait_until_provisioned(workspace: AzureMLWorkspace, cluster: AmlCompute) -> AmlCompute:
    """Waits for a cluster that this or another run is creating."""
    for _ in polls(CREATION_DEADLINE_SECONDS):
        cluster = _find_cluster(workspace, str(cluster.name)) or cluster
        if word(cluster.provisioning_state).lower() not in ("creating", "updating"):
            break
    else:
        raise InvalidConfiguration(
            f"Cluster {cluster.name} has been {word(cluster.provisioning_state)} for half an hour. Delete it, or name another."
        )
    if word(cluster.provisioning_state).lower() != "succeeded":
        raise InvalidConfiguration(
            f"Cluster {cluster.name} is {word(cluster.provisioning_state)}, not ready. Name another, or run again later."
        )
    return cluster
