"""Clusters and sizes as Azure Resource Manager shows them."""

from __future__ import annotations

from emulator.arm import skus
from emulator.installation import PROVIDER, Installation
from emulator.store import Document


def render(installation: Installation, document: Document, nodes: int, busy: int, *, resizing: bool) -> Document:
    """A cluster that has `nodes` nodes, `busy` of them with jobs; `resizing`: those that it is to have are yet to come."""
    cluster = {
        **_cluster(document),
        "currentNodeCount": nodes,
        "targetNodeCount": max(nodes, 1) if resizing else nodes,
        "nodeStateCounts": {
            "preparingNodeCount": 0,
            "runningNodeCount": busy,
            "idleNodeCount": nodes - busy,
            "unusableNodeCount": 0,
            "leavingNodeCount": 0,
            "preemptedNodeCount": 0,
        },
        "allocationState": "Resizing" if resizing else "Steady",
        "allocationStateTransitionTime": document["modified"],
    }
    return _compute(installation, document, cluster, {"computeLocation": installation.region})


def render_put(installation: Installation, document: Document) -> Document:
    """A cluster as a PUT answers: without node counts."""
    unknown = (
        "currentNodeCount",
        "targetNodeCount",
        "nodeStateCounts",
        "allocationState",
        "allocationStateTransitionTime",
    )
    cluster = {**_cluster(document), "vmSize": document["size"].upper(), **dict.fromkeys(unknown)}
    return _compute(installation, document, cluster, {})


def _cluster(document: Document) -> Document:
    return {
        "vmSize": document["size"],
        "vmPriority": document["priority"],
        "scaleSettings": {
            "maxNodeCount": document["maximum"],
            "minNodeCount": document["minimum"],
            "nodeIdleTimeBeforeScaleDown": document["idle"],
        },
        "errors": None,
        "remoteLoginPortPublicAccess": "NotSpecified",
        "osType": "Linux",
        "virtualMachineImage": None,
        "isolatedNetwork": False,
        "enableNodePublicIp": True,
        "enableBatchPrivateLink": False,
        "propertyBag": {},
    }


def _compute(installation: Installation, document: Document, cluster: Document, location: Document) -> Document:
    return {
        "id": f"{installation.workspace_id}/computes/{document['name']}",
        "name": document["name"],
        "type": f"{PROVIDER}/workspaces/computes",
        "location": installation.region,
        "tags": document["tags"],
        "properties": {
            "computeType": "AmlCompute",
            "createdOn": document["created"],
            "modifiedOn": document["modified"],
            "description": document["description"],
            "disableLocalAuth": True,
            "isAttachedCompute": False,
            "provisioningErrors": None,
            "provisioningState": document["state"],
            "resourceId": None,
            "properties": cluster,
            **location,
        },
    }


def sizes(offered: list[skus.Sku]) -> list[Document]:
    """The sizes as `compute.list_sizes` reads them."""
    return [
        {
            "name": sku.name,
            "family": sku.family,
            "vCPUs": sku.vcpus,
            "gpus": sku.gpus,
            "osVhdSizeMB": 1047552,
            "maxResourceVolumeMB": sku.disk_gib * 1024,
            "memoryGB": sku.memory_gib,
            "lowPriorityCapable": sku.low_priority,
            "premiumIO": True,
            "supportedComputeTypes": ["AmlCompute", "ComputeInstance"],
        }
        for sku in offered
    ]
