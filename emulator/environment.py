"""How a client is pointed here: environment variables and config.json, nothing else."""

from __future__ import annotations

import os

from emulator.certificates import Certificates
from emulator.hosts import AZURE_SUFFIXES
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
    """What goes past the proxy: what the user names, but for Azure's own hosts, as those who have private endpoints do. Their
    calls would reach Azure itself."""
    named = (os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or "").split(",")
    kept = [entry.strip() for entry in named if entry.strip() and not _names_azure(entry.strip())]
    return ",".join(dict.fromkeys([*kept, *LOOPBACK]))


def _names_azure(entry: str) -> bool:
    """Whether an entry of NO_PROXY covers a host of Azure: `*`, `.com`, `.azure.com`, `login.microsoftonline.com:443`."""
    name = entry.lower().partition(":")[0].lstrip("*").lstrip(".")
    return not name or any(suffix.endswith(name) or f".{name}".endswith(f".{suffix}") for suffix in AZURE_SUFFIXES)


def workspace_config(installation: Installation) -> dict[str, str]:
    """What `MLClient.from_config` reads."""
    return {
        "subscription_id": installation.subscription_id,
        "resource_group": installation.resource_group,
        "workspace_name": installation.workspace,
    }
