"""What an online endpoint answers instead of a score."""

from __future__ import annotations

from emulator.errors.shapes import AzureError


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
