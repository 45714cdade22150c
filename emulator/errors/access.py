"""Who may do what: sign-in, tokens, roles."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

from emulator.errors.shapes import AzureError, gateway


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
