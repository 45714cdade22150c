"""Resources that are not there, must not be so, or do not fit into a quota."""

from __future__ import annotations

import json
import uuid

from emulator.errors.shapes import AzureError, Body, bad_request, frontend, gateway


def empty_not_found() -> AzureError:
    """404 without a body, as Azure ML answers for an absent compute."""
    return AzureError(404, None)


def subscription_not_found(subscription: str) -> AzureError:
    return gateway(404, "SubscriptionNotFound", f"The subscription '{subscription}' could not be found.")


def resource_group_not_found(group: str) -> AzureError:
    return gateway(404, "ResourceGroupNotFound", f"Resource group '{group}' could not be found.")


def resource_not_found(type_path: str, group: str) -> AzureError:
    """404 of the ARM gateway; `type_path` as in `Microsoft.MachineLearningServices/workspaces/w/onlineEndpoints/e`."""
    return gateway(
        404,
        "ResourceNotFound",
        f"The Resource '{type_path}' under resource group '{group}' was not found. For more details please go to "
        "https://aka.ms/ARMResourceNotFoundFix",
    )


def asset_not_found(kind: str, name: str, version: str | None = None) -> AzureError:
    """404 of Azure ML for an absent model, component, data or environment asset; `kind` as in `Model`."""
    what = f"{kind} {name}:{version} not found." if version else f"{kind} container with name: {name} not found."
    return frontend(404, "UserError", "The specified resource was not found.", details=[(f"{kind}NotFound", what)])


def datastore_not_found(name: str) -> AzureError:
    message = f"Could not find datastore with name: {name}."
    return frontend(404, "UserError", message, inner=["NotFoundError", "DatastoreNotFound"])


def run_not_found(run: str) -> AzureError:
    return frontend(404, "UserError", f"Run {run} was not found", inner=["NotFoundError", "RunNotFound"])


def compute_quota(quota: str, limit: int, nodes: int, vcpus: int) -> AzureError:
    """400, synchronous on the PUT of a compute: `nodes` nodes do not fit into `quota`, which is a family's or the `total`.

    The spelling is Azure's.
    """
    return bad_request(
        f"The specified subscription has a {quota} vCPU quota of {limit} and cannot accomodate for at least {nodes} requested "
        f"managed compute node{'s' if nodes > 1 else ''} which maps to {vcpus} vCPUs. Talk to your Subscription Admin or refer to "
        "https://docs.microsoft.com/azure/machine-learning/how-to-manage-quotas#request-quota-increases to increase the "
        f"{quota} vCPU quota"
    )


def endpoint_quota(subscription: str, usage: int, limit: int) -> AzureError:
    return frontend(
        400,
        "BadRequest",
        "The request is invalid.",
        details=[
            (
                "InferencingClientCallFailed",
                f"Endpoint Quota reached for subscription {subscription}.Current usage/limit: {usage}/{limit}.Please clean up "
                "existing endpoints and try again",
            )
        ],
        inner=["BadRequest"],
    )


def deployment_quota(sku: str, subscription: str, usage: int, limit: int, needed: int) -> AzureError:
    sentence = (
        f"Not enough quota available for {sku} in SubscriptionId {subscription}. Current usage/limit: {usage}/{limit}. Additional "
        f"needed: {needed} Please see troubleshooting guide, available here: https://aka.ms/oe-tsg#error-outofquota"
    )
    detail = (
        '{"errors":{"VmSize":["' + sentence + '"]},"type":"https://tools.ietf.org/html/rfc7231#section-6.5.1","title":'
        '"One or more validation errors occurred.","status":400,"traceId":"00-' + uuid.uuid4().hex + '-00"}'
    )
    return bad_request(
        "The request is invalid.",
        detail=(
            "InferencingClientCreateDeploymentFailed",
            f"InferencingClient HttpRequest error, error detail: {detail}",
        ),
    )


def inferencing_failed(field: str, sentence: str) -> AzureError:
    """400 of Azure ML's inference service: one member of an endpoint's or a deployment's document is wrong."""
    detail = json.dumps(
        {"errors": {field: [sentence]}, "title": "One or more validation errors occurred.", "status": 400}
    )
    message = f"InferencingClient HttpRequest error, error detail: {detail}"
    return bad_request("The request is invalid.", detail=("InferencingClientCallFailed", message))


def traffic(reason: str) -> AzureError:
    return inferencing_failed("Traffic", reason)


def deployment_has_traffic(name: str, percent: int) -> AzureError:
    """400: a deployment that still gets requests is not deleted."""
    return inferencing_failed(
        "DeploymentName",
        f"Cannot delete deployment '{name}' because it has {percent}% of the endpoint's live traffic. Set its traffic to 0 first.",
    )


def operation_error(message: str, code: str | None = None) -> Body:
    """The `error` of a failed asynchronous operation. A deployment's has no code: its class is the message's prefix."""
    return {
        "code": code,
        "message": message,
        "details": [{"code": code, "message": message, "details": [], "additionalInfo": []}],
    }
