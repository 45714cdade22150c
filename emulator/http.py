"""JSON in and out of HTTP, hardened: whatever a client sends gets an answer of Azure's, never a stack trace."""

from __future__ import annotations

import json
from typing import Any, TypeVar
from urllib.parse import parse_qs

from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from emulator import errors

MAX_DEPTH = 64  # levels of nesting, the default of Azure's JSON reader
BODY_LIMIT = 4 * 1024 * 1024  # bytes; Azure Resource Manager's own limit

Model = TypeVar("Model", bound=BaseModel)


def reply(body: Any = None, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON response; an empty one for None. ASCII on the wire, so that no odd character can break it."""
    if body is None:
        return Response(status_code=status, headers=headers)
    return Response(json.dumps(body), status_code=status, headers=headers, media_type="application/json")


def reply_error(error: errors.AzureError) -> Response:
    """The response for an error."""
    if isinstance(error.body, str):
        return Response(error.body, status_code=error.status, headers=error.headers)
    return reply(error.body, error.status, error.headers)


def comp_of(scope: Scope) -> str:
    """What tells blob operations on one path apart, at most 20 characters; empty if there is none. The only part of a query
    that is ever kept: others hold signatures."""
    found = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("comp")
    return found[0][:20] if found else ""


async def read_body(request: Request, limit: int = BODY_LIMIT) -> bytes:
    """The request's body.

    Raises:
        AzureError: 413, it is longer than `limit` bytes.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise errors.request_too_large(limit)
    return bytes(body)


async def read_json(request: Request, limit: int = BODY_LIMIT) -> dict[str, Any]:
    """The request's body as a JSON object; {} when it is empty.

    Raises:
        AzureError: 400, the body is no JSON object; 413, it is too long.
    """
    raw = await read_body(request, limit)
    if not raw.strip():
        return {}
    try:
        parsed = json.loads(raw)
    except RecursionError:
        raise errors.invalid_request_content("The reader's MaxDepth has been exceeded.") from None
    except ValueError as problem:  # also undecodable bytes
        raise errors.invalid_request_content(str(problem)[:200]) from None
    if _deeper_than(parsed, MAX_DEPTH):
        raise errors.invalid_request_content(f"The reader's MaxDepth of {MAX_DEPTH} has been exceeded.")
    if not isinstance(parsed, dict):
        raise errors.invalid_request_content("The content must be a JSON object.")
    return parsed


def _deeper_than(value: Any, levels: int) -> bool:
    layer = [value]
    for _ in range(levels):
        layer = [
            child
            for each in layer
            if isinstance(each, dict | list)
            for child in (each.values() if isinstance(each, dict) else each)
        ]
        if not layer:
            return False
    return any(isinstance(each, dict | list) for each in layer)


async def read_model(request: Request, model: type[Model]) -> Model:
    """The request's body as `model`.

    Raises:
        AzureError: 400, the body is not of that schema; the sentence names the first member that is wrong.
    """
    body = await read_json(request)
    try:
        return model.model_validate(body)
    except ValidationError as problem:
        first = problem.errors(include_url=False, include_input=False, include_context=False)[0]
        path = ".".join(str(part) for part in first["loc"])
        raise errors.request_invalid(f"{first['msg']}. Path '{path}'.") from None
