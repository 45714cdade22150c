"""The gateway in front of Azure Resource Manager: who calls, may they, and does the scope exist."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime
from urllib.parse import parse_qs

from starlette.types import Message, Receive, Scope, Send

from emulator import errors
from emulator.identity.tokens import ARM, TokenRefused, Tokens
from emulator.installation import PROVIDER, Installation, Principal
from emulator.routing import AzureRouter

SCOPE = re.compile(
    r"\A/subscriptions/(?P<subscription>[^/]+)"
    r"(?:/resourcegroups/(?P<group>[^/]+)(?:/providers/microsoft\.machinelearningservices/workspaces/(?P<workspace>[^/]+))?)?",
    re.IGNORECASE,
)
# Without a token: the cloud's metadata, which a client reads before it can sign in.
OPEN_PATHS = ("/metadata/endpoints",)
READ_METHODS = ("GET", "HEAD")
# POSTs that only read, and that the Reader role may therefore call.
READ_ACTIONS = ("batchgetresolveduris", "rundata")


class Gate:
    """Checks token, role, api-version and scope before the resource's own code is reached."""

    def __init__(self, app: AzureRouter, installation: Installation, tokens: Tokens) -> None:
        self.operations = app.operations
        self._app = app
        self._installation = installation
        self._tokens = tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if path.lower() not in OPEN_PATHS:
            principal = authenticate(scope, self._tokens, ARM)
            _require_api_version(scope)
            self._require_scope(path)
            authorize(principal, scope)
        await self._app(scope, receive, _with_arm_headers(send, self._installation.region))

    def _require_scope(self, path: str) -> None:
        found = SCOPE.match(path)
        if found is None:
            return
        here = self._installation
        if found["subscription"].lower() != here.subscription_id:
            raise errors.subscription_not_found(found["subscription"])
        if found["group"] is not None and found["group"].lower() != here.resource_group.lower():
            raise errors.resource_group_not_found(found["group"])
        if found["workspace"] is not None and found["workspace"].lower() != here.workspace.lower():
            raise errors.resource_not_found(f"{PROVIDER}/workspaces/{found['workspace']}", here.resource_group)


def authenticate(scope: Scope, tokens: Tokens, audiences: tuple[str, ...]) -> Principal:
    """The principal that calls.

    Raises:
        AzureError: 401 with Azure's challenge.
    """
    header = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
    try:
        return tokens.verify(header.decode("latin-1"), audiences)
    except TokenRefused as refusal:
        raise errors.invalid_token(tokens.authority, str(refusal)) from None


def authorize(principal: Principal, scope: Scope) -> None:
    """Lets a Reader read and a Contributor do anything.

    Raises:
        AzureError: 403 AuthorizationFailed, naming the action and the scope.
    """
    last = scope["path"].rsplit("/", 1)[-1].lower()
    if principal.role == "Contributor" or scope["method"] in READ_METHODS or last in READ_ACTIONS:
        return
    needed = action(scope["method"], scope["path"])
    raise errors.authorization_failed(principal.client_id, principal.object_id, needed, scope["path"])


def action(method: str, path: str) -> str:
    """Azure's name for what a call does, as roles list it: `Microsoft.MachineLearningServices/workspaces/jobs/write`."""
    parts = path.split("/providers/")[-1].strip("/").split("/")
    types = parts[1::2]
    if method != "POST":
        verb = {"PUT": "write", "PATCH": "write", "DELETE": "delete"}.get(method, "read")
        return "/".join([parts[0], *types, verb])
    # The last segment of a POST is the action itself.
    return "/".join([parts[0], *types[: (len(parts) - 1) // 2], parts[-1], "action"])


def _require_api_version(scope: Scope) -> None:
    query = parse_qs(scope["query_string"].decode("latin-1"))
    if "api-version" not in {name.lower() for name in query}:
        raise errors.missing_api_version()


def _with_arm_headers(send: Send, region: str) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], *_arm_headers(region)]
        await send(message)

    return sending


def _arm_headers(region: str) -> list[tuple[bytes, bytes]]:
    correlation = str(uuid.uuid4())
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    headers = {
        "x-ms-correlation-request-id": correlation,
        "x-ms-routing-request-id": f"{region.upper()}:{stamp}:{correlation}",
        "x-ms-response-type": "standard",
        "Cache-Control": "no-cache",
        "Pragma": "no-cache",
        "Expires": "-1",
        "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
        "X-Content-Type-Options": "nosniff",
    }
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]
