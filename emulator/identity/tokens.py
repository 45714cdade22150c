"""Access tokens: JWTs with Entra's claims, signed with the installation's RSA key and checked on every call."""

from __future__ import annotations

import os
import time
import uuid
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from jwt.types import Options

from emulator.installation import Installation, Principal

ARM = ("https://management.azure.com", "https://management.core.windows.net")
AZURE_ML = ("https://ml.azure.com",)
STORAGE = ("https://storage.azure.com",)
RESOURCES = ARM + AZURE_ML + STORAGE

# Seconds, as Entra grants; a test of what happens when they expire wants fewer.
LIFETIME = int(os.environ.get("AZUREML_EMULATOR_TOKEN_SECONDS", "3599"))
KEY_ID = "emulator"
# One clock gives and checks. Once it is set back, its own tokens are from the future, and clients go on using them.
CLOCK_MAY_BE_SET: Options = {"verify_nbf": False, "verify_iat": False}


class TokenRefused(Exception):
    """The token is not good; the message says why, without the token."""


@dataclass(frozen=True)
class Tokens:
    """Issues and verifies access tokens of one installation."""

    installation: Installation

    @cached_property
    def _key(self) -> RSAPrivateKey:
        key = serialization.load_pem_private_key(self.installation.token_key.encode(), None)
        assert isinstance(key, RSAPrivateKey)
        return key

    @property
    def issuer(self) -> str:
        return f"https://sts.windows.net/{self.installation.tenant_id}/"

    @property
    def authority(self) -> str:
        """What a 401's challenge names as the place to sign in."""
        return f"https://login.microsoftonline.com/{self.installation.tenant_id}"

    def issue(self, principal: Principal, audience: str, lifetime: int = LIFETIME) -> str:
        """A token for `principal` and the resource `audience`, good for `lifetime` seconds."""
        now = int(time.time())
        claims = {
            "aud": audience,
            "iss": self.issuer,
            "iat": now,
            "nbf": now - 5,
            "exp": now + lifetime,
            "appid": principal.client_id,
            "oid": principal.object_id,
            "sub": principal.object_id,
            "tid": self.installation.tenant_id,
            "idtyp": "app",
            "uti": uuid.uuid4().hex[:22],
            "ver": "1.0",
        }
        return jwt.encode(claims, self._key, algorithm="RS256", headers={"kid": KEY_ID})

    def verify(self, authorization: str | None, audiences: tuple[str, ...]) -> Principal:
        """The principal that an Authorization header's bearer token speaks for.

        Raises:
            TokenRefused: no token, a broken signature, an expired one, one for another audience or of an unknown principal.
        """
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise TokenRefused("Authentication failed. The 'Authorization' header is missing.")
        accepted = [form for audience in audiences for form in (audience, audience + "/")]
        try:
            claims: dict[str, Any] = jwt.decode(
                token.strip(),
                self._key.public_key(),
                algorithms=["RS256"],
                audience=accepted,
                issuer=self.issuer,
                options=CLOCK_MAY_BE_SET,
            )
        except jwt.ExpiredSignatureError:
            raise TokenRefused("The access token expiry UTC time is earlier than current UTC time.") from None
        except jwt.InvalidAudienceError:
            raise TokenRefused(
                f"The access token has been obtained for wrong audience or resource; expected {audiences[0]}."
            ) from None
        except (jwt.InvalidTokenError, ValueError, RecursionError):
            raise TokenRefused("The access token is invalid.") from None
        for principal in self.installation.principals:
            if principal.client_id == claims.get("appid"):
                return principal
        raise TokenRefused("The access token is invalid.")

    def public_keys(self) -> dict[str, Any]:
        """The JSON Web Key Set with which anyone can check the tokens."""
        from jwt.algorithms import RSAAlgorithm

        key = RSAAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        return {"keys": [{**key, "kid": KEY_ID, "use": "sig"}]}
