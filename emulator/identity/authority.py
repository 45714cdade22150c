"""login.microsoftonline.com: discovery and the token endpoint for client credentials."""

from __future__ import annotations

import hmac
from typing import Any
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from emulator import errors
from emulator.http import read_body, reply
from emulator.identity.tokens import LIFETIME, RESOURCES, Tokens

LOGIN = "https://login.microsoftonline.com"


def grant(tokens: Tokens, tenant: str, form: dict[str, str]) -> dict[str, Any]:
    """Answers a token request.

    Raises:
        AzureError: an AADSTS error for a wrong tenant, grant, client, secret or resource.
    """
    installation = tokens.installation
    _require_tenant(tokens, tenant)
    if form.get("grant_type") != "client_credentials":
        raise errors.oauth(400, "unsupported_grant_type", 70003, "The app requested an unsupported grant type.")
    client = form.get("client_id", "")
    principal = next((p for p in installation.principals if p.client_id == client), None)
    if principal is None:
        raise errors.oauth(
            400,
            "unauthorized_client",
            700016,
            f"Application with identifier '{client[:64]}' was not found in the directory.",
        )
    if "client_assertion" in form:
        raise errors.oauth(401, "invalid_client", 700027, "The certificate of the client assertion is not registered.")
    if not hmac.compare_digest(form.get("client_secret", "").encode(), principal.secret.encode()):
        raise errors.oauth(401, "invalid_client", 7000215, "Invalid client secret provided.")
    audience = form.get("scope", "").split(" ")[0].removesuffix("/.default")
    if audience.rstrip("/") not in RESOURCES:
        raise errors.oauth(
            400, "invalid_resource", 500011, f"The resource principal named {audience[:100]} was not found."
        )
    return {
        "token_type": "Bearer",
        "expires_in": LIFETIME,
        "ext_expires_in": LIFETIME,
        "access_token": tokens.issue(principal, audience),
    }


def _require_tenant(tokens: Tokens, tenant: str) -> None:
    if tenant.lower() != tokens.installation.tenant_id:
        raise errors.oauth(400, "invalid_request", 90002, f"Tenant '{tenant[:64]}' not found.")


def routes(tokens: Tokens) -> list[Route]:
    """The routes of the host login.microsoftonline.com."""

    async def configuration(request: Request) -> Response:
        tenant = request.path_params["tenant"]
        _require_tenant(tokens, tenant)
        base = f"{LOGIN}/{tenant}"
        return reply(
            {
                "token_endpoint": f"{base}/oauth2/v2.0/token",
                "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                "device_authorization_endpoint": f"{base}/oauth2/v2.0/devicecode",
                "jwks_uri": f"{base}/discovery/v2.0/keys",
                "issuer": f"{base}/v2.0",
                "token_endpoint_auth_methods_supported": ["client_secret_post"],
                "response_types_supported": ["code", "id_token", "token"],
                "cloud_instance_name": "microsoftonline.com",
            }
        )

    async def token(request: Request) -> Response:
        form = {k: v[0] for k, v in parse_qs((await read_body(request, 64 * 1024)).decode("latin-1")).items()}
        return reply(grant(tokens, request.path_params["tenant"], form), headers={"Cache-Control": "no-store"})

    async def keys(request: Request) -> Response:
        return reply(tokens.public_keys())

    async def instance(request: Request) -> Response:
        tenant = tokens.installation.tenant_id
        return reply(
            {"tenant_discovery_endpoint": f"{LOGIN}/{tenant}/v2.0/.well-known/openid-configuration", "metadata": []}
        )

    return [
        Route("/common/discovery/instance", instance),
        Route("/{tenant}/v2.0/.well-known/openid-configuration", configuration),
        Route("/{tenant}/oauth2/v2.0/token", token, methods=["POST"]),
        Route("/{tenant}/discovery/v2.0/keys", keys),
    ]
