"""What opens an endpoint: its keys, or tokens made for it."""

from __future__ import annotations

import hmac
import secrets
import time
from typing import Any

import jwt

from emulator.identity.tokens import AZURE_ML, KEY_ID, TokenRefused, Tokens
from emulator.store import Document

TOKEN_SECONDS = 12 * 3600
AUDIENCE = "urn:azureml:online-endpoint:"


def new_key() -> str:
    """A key of an endpoint: 32 characters."""
    return secrets.token_hex(16)


def issue_token(tokens: Tokens, endpoint: str) -> str:
    """A token that opens one endpoint for `TOKEN_SECONDS`."""
    now = int(time.time())
    claims = {"aud": AUDIENCE + endpoint.lower(), "iss": tokens.issuer, "iat": now, "nbf": now - 5, "exp": now + TOKEN_SECONDS}
    return jwt.encode(claims, tokens.signing_key, algorithm="RS256", headers={"kid": KEY_ID})


def opens(authorization: str, endpoint: Document, tokens: Tokens) -> bool:
    """Whether an Authorization header opens the endpoint, in its auth mode."""
    scheme, _, credential = authorization.partition(" ")
    credential = credential.strip()
    if scheme.lower() != "bearer" or not credential:
        return False
    if endpoint["authMode"] == "Key":
        given = credential.encode("utf-8", "replace")
        # Both are compared, so that the time tells nothing of which one it was not.
        matches = [hmac.compare_digest(given, key.encode()) for key in endpoint["keys"].values()]
        return any(matches)
    if endpoint["authMode"] == "AMLToken":
        return _is_endpoint_token(credential, endpoint["name"], tokens)
    try:
        tokens.verify(authorization, AZURE_ML)
    except TokenRefused:
        return False
    return True


def _is_endpoint_token(credential: str, endpoint: str, tokens: Tokens) -> bool:
    required: dict[str, Any] = {"require": ["exp", "aud", "iss"]}
    try:
        jwt.decode(
            credential,
            tokens.signing_key.public_key(),
            algorithms=["RS256"],
            audience=AUDIENCE + endpoint.lower(),
            issuer=tokens.issuer,
            options=required,  # type: ignore[arg-type]
        )
    except (jwt.InvalidTokenError, ValueError, RecursionError):
        return False
    return True
