"""Every error that the emulator can send, with Azure's own code and sentence.

Three shapes exist on the Azure ML wire: the ARM gateway's, that of Azure ML behind ARM ("managementfrontend"), and that of Azure
ML's data plane (api.azureml.ms, registries, run errors). Behaviour raises what a function here returns; only the server turns it
into HTTP.
"""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from typing import Any
from xml.sax.saxutils import escape

Body = dict[str, Any]


class AzureError(Exception):
    """An answer other than success: `status`, `body` (None = empty, str = as is, dict = JSON) and extra `headers`."""

    def __init__(self, status: int, body: Body | str | None, headers: dict[str, str] | None = None) -> None:
        super().__init__(self._sentence(body))
        self.status = status
        self.body = body
        self.headers = headers or {}

    @staticmethod
    def _sentence(body: Body | str | None) -> str:
        if not isinstance(body, dict):
            return body or ""
        error = body.get("error")
        return str(error.get("message", "")) if isinstance(error, dict) else str(body.get("error_description", ""))


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f0+00:00")


# ---------------------------------------------------------------------------------------------- the three shapes


def gateway(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> AzureError:
    """The shape of the ARM gateway."""
    return AzureError(
        status, {"error": {"code": code, "message": message}}, {"x-ms-failure-cause": "gateway", **(headers or {})}
    )


def frontend(
    status: int,
    code: str,
    message: str,
    *,
    details: list[tuple[str, str]] | None = None,
    inner: list[str] | None = None,
) -> AzureError:
    """The shape of Azure ML behind ARM. `inner` names the inner error codes from outside to inside."""
    correlation = {"operation": uuid.uuid4().hex, "request": uuid.uuid4().hex[:16]}
    info: list[Body] = [
        {"type": "ComponentName", "info": {"value": "managementfrontend"}},
        {"type": "Correlation", "info": {"value": correlation}},
        {"type": "Environment", "info": {"value": "eastus"}},
        {"type": "Location", "info": {"value": "eastus"}},
        {"type": "Time", "info": {"value": _now()}},
    ]
    if inner:
        info.append({"type": "InnerError", "info": {"value": _nested(inner)}})
    listed = [{"code": c, "message": m, "details": [], "additionalInfo": []} for c, m in details or []]
    return AzureError(status, {"error": {"code": code, "message": message, "details": listed, "additionalInfo": info}})


def dataplane(
    status: int, code: str, message: str, *, inner: list[str] | None = None, component: str = "RunHistory"
) -> AzureError:
    """The shape of Azure ML's data plane."""
    return AzureError(
        status,
        {
            "error": root_error(code, message, inner=inner),
            "correlation": {"operation": uuid.uuid4().hex, "request": uuid.uuid4().hex[:16]},
            "environment": "eastus",
            "location": "eastus",
            "time": _now(),
            "componentName": component,
            "statusCode": status,
        },
    )


def root_error(code: str, message: str, *, inner: list[str] | None = None, reference: str | None = None) -> Body:
    """The error object of the data plane; runs carry it as `error.error`."""
    return {
        "code": code,
        "severity": None,
        "message": message,
        "messageFormat": None,
        "messageParameters": {},
        "referenceCode": reference,
        "detailsUri": None,
        "target": None,
        "details": [],
        "innerError": _nested(inner) if inner else None,
        "debugInfo": None,
        "additionalInfo": None,
    }


def _nested(codes: list[str]) -> Body:
    inner = _nested(codes[1:]) if len(codes) > 1 else None
    return {"code": codes[0], "innerError": inner}


# ------------------------------------------------------------------------------------------------- who may do what


def invalid_token(authority: str, reason: str) -> AzureError:
    """401 of the ARM gateway: a missing, broken, expired or foreign access token."""
    challenge = f'Bearer authorization_uri="{authority}", error="invalid_token", error_description="{reason}"'
    code = "AuthenticationFailed" if reason.startswith("Authentication failed") else "InvalidAuthenticationToken"
    return gateway(401, code, reason, {"WWW-Authenticate": challenge})


def authorization_failed(client_id: str, object_id: str, action: str, scope: str) -> AzureError:
    """403 of the ARM gateway: the principal holds no role that allows `action` over `scope`."""
    return gateway(
        403,
        "AuthorizationFailed",
        f"The client '{client_id}' with object id '{object_id}' does not have authorization to perform action '{action}' over "
        f"scope '{scope}' or the scope is invalid. If access was recently granted, please refresh your credentials.",
    )


def oauth(status: int, error: str, code: int, sentence: str) -> AzureError:
    """An error of the token endpoint (AADSTS...)."""
    trace, correlation = str(uuid.uuid4()), str(uuid.uuid4())
    stamp = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    description = f"AADSTS{code}: {sentence} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {stamp}"
    return AzureError(
        status,
        {
            "error": error,
            "error_description": description,
            "error_codes": [code],
            "timestamp": stamp,
            "trace_id": trace,
            "correlation_id": correlation,
            "error_uri": f"https://login.microsoftonline.com/error?code={code}",
        },
    )


# ------------------------------------------------------------------------------------------------------- requests


def missing_api_version() -> AzureError:
    return gateway(
        400,
        "MissingApiVersionParameter",
        "The api-version query parameter (?api-version=) is required for all requests.",
    )


def invalid_request_content(reason: str) -> AzureError:
    """400 of the ARM gateway: the body is no JSON object."""
    return gateway(
        400, "InvalidRequestContent", f"The request content was invalid and could not be deserialized: '{reason}'."
    )


def request_too_large(limit: int) -> AzureError:
    return gateway(413, "RequestEntityTooLarge", f"The request content exceeded the maximum size of {limit} bytes.")


def request_invalid(detail: str) -> AzureError:
    """400 of Azure ML: the body is JSON, but not of the resource's schema."""
    return frontend(
        400,
        "UserError",
        "Request is invalid and/or missing fields.",
        details=[("RequestInvalid", detail)],
        inner=["BadArgument", "ArgumentInvalid", "RequestInvalid"],
    )


def bad_request(message: str, *, detail: tuple[str, str] | None = None) -> AzureError:
    """400 BadRequest of Azure ML with its own sentence."""
    return frontend(400, "BadRequest", message, details=[detail] if detail else None, inner=["BadRequest"])


def method_not_allowed(method: str, path: str) -> AzureError:
    return gateway(405, "MethodNotAllowed", f"The requested resource '{path}' does not support http method '{method}'.")


def conflict(message: str) -> AzureError:
    return frontend(409, "UserError", message, inner=["BadArgument", "Conflict"])


def not_emulated(method: str, host: str, path: str) -> AzureError:
    """404 for a call of Azure's that this emulator does not know: refused plainly, never answered with something made up."""
    return gateway(
        404,
        "NotEmulated",
        f"This emulator does not serve {method} https://{host}{path}. See docs/emulator-coverage.md.",
    )


# ------------------------------------------------------------------------------------------------------ not found


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


# --------------------------------------------------------------------------------------------------------- quotas


def compute_quota(family: str, limit: int, vcpus: int) -> AzureError:
    """400, synchronous on the PUT of a compute: not one node fits into the family's quota."""
    return bad_request(
        f"The specified subscription has a {family} vCPU quota of {limit} and cannot accommodate for at least 1 requested managed "
        f"compute node which maps to {vcpus} vCPUs. Talk to your Subscription Admin or refer to "
        "https://docs.microsoft.com/azure/machine-learning/how-to-manage-quotas#request-quota-increases to request quota increase."
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


# ------------------------------------------------------------------------------------------ endpoints, deployments


def inferencing_failed(field: str, sentence: str) -> AzureError:
    """400 of Azure ML's inference service: one member of an endpoint's or a deployment's document is wrong."""
    detail = json.dumps(
        {"errors": {field: [sentence]}, "title": "One or more validation errors occurred.", "status": 400}
    )
    message = f"InferencingClient HttpRequest error, error detail: {detail}"
    return bad_request("The request is invalid.", detail=("InferencingClientCallFailed", message))


def endpoint_name(name: str) -> AzureError:
    return inferencing_failed(
        "Name",
        f"Endpoint name '{name[:64]}' is invalid: it must be 3 to 32 characters long, start with a letter, end with a "
        "letter or a digit, and hold only letters, digits and '-'.",
    )


def deployment_name(name: str) -> AzureError:
    return inferencing_failed(
        "Name",
        f"Deployment name '{name[:64]}' is invalid: it must be 3 to 32 characters long, start with a letter, end with a "
        "letter or a digit, and hold only letters, digits and '-'.",
    )


def traffic(reason: str) -> AzureError:
    return inferencing_failed("Traffic", reason)


def deployment_has_traffic(name: str, percent: int) -> AzureError:
    """400: a deployment that still gets requests is not deleted."""
    return inferencing_failed(
        "DeploymentName",
        f"Cannot delete deployment '{name}' because it has {percent}% of the endpoint's live traffic. Set its traffic to 0 first.",
    )


# -------------------------------------------------------------------------------------------------------- scoring


def scoring(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> AzureError:
    """The shape of an online endpoint's front door. The sentences are those of Azure's troubleshooting guide."""
    return AzureError(status, {"error": {"code": code, "message": message}}, headers)


def scoring_unauthorized() -> AzureError:
    return scoring(
        401,
        "Unauthorized",
        "You don't have permission to do the requested action, such as score, or your token is expired or in the wrong format.",
        {"WWW-Authenticate": "Bearer"},
    )


def scoring_endpoint_not_found(name: str) -> AzureError:
    return scoring(404, "NotFound", f"The endpoint '{name}' does not exist.")


def scoring_path_not_found(path: str) -> AzureError:
    return scoring(404, "NotFound", f"The endpoint serves no '{path[:200]}'.")


def no_deployment_to_route_to() -> AzureError:
    return scoring(
        404,
        "NotFound",
        "No valid deployments to route to. Please check that the endpoint has at least one deployment with positive weight values "
        "or use a deployment specific header to route.",
    )


def scoring_timeout(seconds: float) -> AzureError:
    message = f"Request timeout: the model took longer than the request timeout of {seconds:g} s of the deployment."
    return scoring(408, "RequestTimeout", message)


def scoring_payload_too_large(limit: int) -> AzureError:
    return scoring(413, "PayloadTooLarge", f"The request payload is larger than the limit of {limit} bytes.")


def too_many_pending_requests(limit: int) -> AzureError:
    message = f"Too many pending requests: the model is getting more requests than it can handle; {limit} can be processed at once."
    return scoring(429, "TooManyPendingRequests", message)


def deployment_unavailable(name: str) -> AzureError:
    message = f"The deployment '{name}' is not available: its model server is starting or has ended."
    return scoring(503, "ServiceUnavailable", message)


# ----------------------------------------------------------------------------------------------------- operations


def operation_error(message: str, code: str | None = None) -> Body:
    """The `error` of a failed asynchronous operation. A deployment's has no code: its class is the message's prefix."""
    return {
        "code": code,
        "message": message,
        "details": [{"code": code, "message": message, "details": [], "additionalInfo": []}],
    }


# --------------------------------------------------------------------------------------------------- blob storage


def blob(
    status: int, code: str, message: str, *, detail: str | None = None, headers: dict[str, str] | None = None
) -> AzureError:
    """The shape of Azure Storage: XML, its code also in a header. `detail` says why a signature was refused."""
    extra = f"<AuthenticationErrorDetail>{escape(detail)}</AuthenticationErrorDetail>" if detail else ""
    text = escape(f"{message}\nTime:{datetime.now(UTC).strftime('%Y-%m-%dT%H:%M:%S.%f0Z')}")
    body = f'\ufeff<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code><Message>{text}</Message>{extra}</Error>'
    return AzureError(status, body, {"Content-Type": "application/xml", "x-ms-error-code": code, **(headers or {})})


def blob_not_found() -> AzureError:
    return blob(404, "BlobNotFound", "The specified blob does not exist.")


def container_not_found() -> AzureError:
    return blob(404, "ContainerNotFound", "The specified container does not exist.")


def blob_exists() -> AzureError:
    return blob(409, "BlobAlreadyExists", "The specified blob already exists.")


def blob_path_is_folder() -> AzureError:
    """409: blobs are files here, so one blob's name cannot be the folder of another."""
    return blob(
        409, "PathConflict", "The specified path, or an element of the path, exists and its resource type is invalid."
    )


def invalid_uri(reason: str) -> AzureError:
    """400: a name that no blob can have."""
    return blob(
        400, "InvalidUri", f"The requested URI does not represent any resource on the server. {reason}".rstrip()
    )


def blob_condition_not_met() -> AzureError:
    return blob(412, "ConditionNotMet", "The condition specified using HTTP conditional header(s) is not met.")


def invalid_range(size: int) -> AzureError:
    message = "The range specified is invalid for the current size of the resource."
    return blob(416, "InvalidRange", message, headers={"Content-Range": f"bytes */{size}"})


def invalid_header(name: str, value: str) -> AzureError:
    return blob(
        400,
        "InvalidHeaderValue",
        f"The value for one of the HTTP headers is not in the correct format. {name}: {value[:200]}",
    )


def invalid_query(name: str, reason: str = "") -> AzureError:
    message = "Value for one of the query parameters specified in the request URI is invalid."
    return blob(400, "InvalidQueryParameterValue", f"{message} {name} {reason}".rstrip())


def unsupported_header(name: str) -> AzureError:
    return blob(400, "UnsupportedHeader", f"One of the headers specified in the request is not supported. {name}")


def unsupported_verb() -> AzureError:
    return blob(405, "UnsupportedHttpVerb", "The resource doesn't support specified Http Verb.")


def blob_body_incomplete() -> AzureError:
    return blob(400, "IncompleteBody", "The request body is shorter than its Content-Length.")


def blob_body_too_large(limit: int) -> AzureError:
    message = f"The request body is too large and exceeds the maximum permissible limit of {limit} bytes."
    return blob(413, "RequestBodyTooLarge", message)


def missing_content_length() -> AzureError:
    return blob(411, "MissingContentLengthHeader", "Content-Length HTTP header is missing.")


def md5_mismatch() -> AzureError:
    message = "The MD5 value specified in the request did not match with the MD5 value calculated by the server."
    return blob(400, "Md5Mismatch", message)


def invalid_metadata(name: str) -> AzureError:
    return blob(
        400,
        "InvalidMetadata",
        f"The specified metadata is invalid. It has characters that are not permitted: {name[:200]}",
    )


def invalid_block_list() -> AzureError:
    return blob(400, "InvalidBlockList", "The specified block list is invalid.")


def invalid_xml() -> AzureError:
    return blob(400, "InvalidXmlDocument", "XML specified is not syntactically valid.")


def no_authentication(authority: str) -> AzureError:
    """401 of Azure Storage: neither a token nor a signature came with the request."""
    challenge = f"Bearer authorization_uri={authority}/oauth2/authorize resource_id=https://storage.azure.com"
    message = (
        "Server failed to authenticate the request. Please refer to the information in the www-authenticate header."
    )
    return blob(401, "NoAuthenticationInformation", message, headers={"WWW-Authenticate": challenge})


def storage_token_refused(authority: str, reason: str) -> AzureError:
    """401 of Azure Storage: the bearer token is not good."""
    challenge = f"Bearer authorization_uri={authority}/oauth2/authorize resource_id=https://storage.azure.com"
    message = (
        "Server failed to authenticate the request. Please refer to the information in the www-authenticate header."
    )
    return blob(401, "InvalidAuthenticationInfo", message, detail=reason, headers={"WWW-Authenticate": challenge})


def signature_refused(detail: str) -> AzureError:
    """403: a shared access signature that is forged, expired, not yet good, or of another resource."""
    message = (
        "Server failed to authenticate the request. Make sure the value of Authorization header is formed correctly including "
        "the signature."
    )
    return blob(403, "AuthenticationFailed", message, detail=detail)


def signature_lacks(what: str) -> AzureError:
    """403: a good signature that does not grant `what` (Permission, Service, ResourceType, SourceIP)."""
    sentences = {
        "Permission": "This request is not authorized to perform this operation using this permission.",
        "Service": "This request is not authorized to perform this operation using this service.",
        "ResourceType": "This request is not authorized to perform this operation using this resource type.",
        "SourceIP": "This request is not authorized to perform this operation using this source IP.",
    }
    return blob(403, f"Authorization{what}Mismatch", sentences[what])


def account_key_refused() -> AzureError:
    """403: the account takes signatures and tokens, never its own key."""
    return blob(
        403, "KeyBasedAuthenticationNotPermitted", "Key based authentication is not permitted on this storage account."
    )
