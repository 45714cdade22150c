"""How a client is pointed here: environment variables and config.json, nothing else."""

from __future__ import annotations

import os

from emulator.certificates import Certificates
from emulator.installation import Installation

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def environment(installation: Installation, port: int, principal: str = "contributor") -> dict[str, str]:
    """The variables with which the unmodified SDK reaches this emulator, signed in as `principal`."""
    bundle = str(Certificates.open(installation).bundle)
    proxy = f"http://127.0.0.1:{port}"
    who = next(p for p in installation.principals if p.name == principal)
    return {
        # Both spellings: clients prefer the lower-case one, and a user may have it set already.
        "HTTPS_PROXY": proxy,
        "https_proxy": proxy,
        # Local services (a Prefect server, say) are never Azure; some clients would take even them through the proxy.
        "NO_PROXY": _not_proxied(),
        "no_proxy": _not_proxied(),
        "REQUESTS_CA_BUNDLE": bundle,
        "AZURE_TENANT_ID": installation.tenant_id,
        "AZURE_CLIENT_ID": who.client_id,
        "AZURE_CLIENT_SECRET": who.secret,
    }


def _not_proxied() -> str:
    known = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    return ",".join(dict.fromkeys([*filter(None, known.split(",")), *LOOPBACK]))


def workspace_config(installation: Installation) -> dict[str, str]:
    """What `MLClient.from_config` reads."""
    return {
        "subscription_id": installation.subscription_id,
        "resource_group": installation.resource_group,
        "workspace_name": installation.workspace,
    }
