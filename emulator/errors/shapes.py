"""The shapes in which Azure says that something is wrong, and the exception that carries one.

Three exist on the Azure ML wire: the ARM gateway's, that of Azure ML behind ARM ("managementfrontend"), and that of Azure ML's
data plane (api.azureml.ms, registries, run errors).
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

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


def bad_request(message: str, *, detail: tuple[str, str] | None = None) -> AzureError:
    """400 BadRequest of Azure ML with its own sentence."""
    return frontend(400, "BadRequest", message, details=[detail] if detail else None, inner=["BadRequest"])
