"""Requests that are not as they must be."""

from __future__ import annotations

from emulator.errors.shapes import AzureError, frontend, gateway
from emulator.errors.storage import blob


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


def method_not_allowed(method: str, path: str) -> AzureError:
    return gateway(405, "MethodNotAllowed", f"The requested resource '{path}' does not support http method '{method}'.")


def conflict(message: str) -> AzureError:
    return frontend(409, "UserError", message, inner=["BadArgument", "Conflict"])


def unavailable(reason: str, *, of_storage: bool) -> AzureError:
    """503, which clients try again: the emulator cannot do its work now."""
    return blob(503, "ServerBusy", reason) if of_storage else gateway(503, "ServiceUnavailable", reason)


def not_emulated(method: str, host: str, path: str) -> AzureError:
    """404 for a call of Azure's that this emulator does not know: refused plainly, never answered with something made up."""
    return gateway(
        404,
        "NotEmulated",
        f"This emulator does not serve {method} https://{host}{path}. See docs/emulator-coverage.md.",
    )
