"""Who may do what to a blob: a shared access signature, or an Entra token for Azure Storage."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass

from emulator import errors
from emulator.blob import sas
from emulator.identity.tokens import STORAGE, TokenRefused, Tokens
from emulator.installation import Installation


@dataclass(frozen=True)
class Need:
    """What an operation needs.

    Attributes:
        permissions: letters of a signature, of which one is enough.
        resource_type: `s` for the account, `c` for a container, `o` for a blob.
    """

    permissions: str
    resource_type: str

    @property
    def is_read(self) -> bool:
        return bool(set(self.permissions) & {"r", "l"})


@dataclass(frozen=True)
class Caller:
    """What came with a request: query, Authorization header, client address."""

    query: Mapping[str, str]
    authorization: str
    address: str


class Access:
    """Decides whether a request may go on."""

    def __init__(self, installation: Installation, tokens: Tokens) -> None:
        self._installation = installation
        self._tokens = tokens

    def require(self, caller: Caller, container: str, blob: str, need: Need) -> None:
        """Returns when the caller may.

        Raises:
            AzureError: 401, 403, with Azure Storage's code and detail.
        """
        if "sig" in caller.query:
            self._require_grant(caller, container, blob, need)
        elif caller.authorization.lower().startswith("sharedkey"):
            raise errors.account_key_refused()
        elif caller.authorization:
            self._require_role(caller.authorization, need)
        else:
            raise errors.no_authentication(self._tokens.authority)

    def _require_grant(self, caller: Caller, container: str, blob: str, need: Need) -> None:
        try:
            grant = sas.verify(self._installation, container, blob, caller.query)
        except sas.SignatureRefused as refusal:
            raise errors.signature_refused(str(refusal)) from None
        if grant.addresses and not _within(caller.address, grant.addresses):
            raise errors.signature_lacks("SourceIP")
        if "b" not in grant.services:
            raise errors.signature_lacks("Service")
        if need.resource_type not in grant.resource_types:
            raise errors.signature_lacks("ResourceType")
        if not set(need.permissions) & set(grant.permissions):
            raise errors.signature_lacks("Permission")

    def _require_role(self, authorization: str, need: Need) -> None:
        try:
            principal = self._tokens.verify(authorization, STORAGE)
        except TokenRefused as refusal:
            raise errors.storage_token_refused(self._tokens.authority, str(refusal)) from None
        if principal.role != "Contributor" and not need.is_read:
            raise errors.signature_lacks("Permission")


def _within(address: str, allowed: str) -> bool:
    first, _, last = allowed.partition("-")
    try:
        here, low, high = (ipaddress.ip_address(text) for text in (address, first, last or first))
        return int(low) <= int(here) <= int(high)
    except ValueError:
        return False
