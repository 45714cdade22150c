"""What opens an endpoint: its keys, or tokens made for it."""

from __future__ import annotations

import hmac
import secrets
import time

import jwt

from emulator.identity.tokens import AZURE_ML, CLOCK_MAY_BE_SET, TokenRefused, Tokens
from emulator.store import Document

TOKEN_SECONDS = 12 * 3600
AUDIENCE = "urn:azureml:online-endpoint:"
ALGORITHM = "HS256"


def new_key() -> str:
    """A key of an endpoint: 32 characters."""
    return secrets.token_hex(16)


def issue_token(endpoint: Document) -> str:
    """A token that opens one endpoint for `TOKEN_SECONDS`, signed with the endpoint's own primary key."""
    now = int(time.time())
    claims = {"aud": AUDIENCE + endpoint["name"].lower(), "iat": now, "nbf": now - 5, "exp": now + TOKEN_SECONDS}
    return jwt.encode(claims, endpoint["keys"]["primary"], algorithm=ALGORITHM)


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
        return _is_own_token(credential, endpoint)
    try:
        tokens.verify(authorization, AZURE_ML)
    except TokenRefused:
        return False
    return True


def _is_own_token(credential: str, endpoint: Document) -> bool:
    audience = AUDIENCE + endpoint["name"].lower()
    try:
        jwt.decode(
            credential,
            endpoint["keys"]["primary"],
            algorithms=[ALGORITHM],
            audience=audience,
            options={"require": ["exp"], **CLOCK_MAY_BE_SET},
        )
    except (jwt.InvalidTokenError, ValueError, RecursionError):
        return False
    return True
