"""What sorts of trouble there are with a remote service, how often each is tried again, and what to do about it."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum

MOST_RETRY_AFTER = 300.0
"""A service that asks for more than five minutes is not waited for as long as it asks."""


class Kind(StrEnum):
    """What sort of trouble an error is."""

    TRANSIENT = "transient"
    THROTTLED = "throttled"
    CAPACITY = "capacity"
    QUOTA = "quota"
    REGIONAL_QUOTA = "regional quota"
    ENDPOINT_QUOTA = "endpoint quota"
    UNAVAILABLE = "not available"
    AUTH = "auth"
    ROLES = "roles"
    SIGN_IN = "sign-in"
    POLICY = "policy"
    LOCKED = "locked"
    NETWORK = "network"
    KEYS = "keys not permitted"
    SUBSCRIPTION = "subscription"
    NOT_FOUND = "not found"
    CONFLICT = "conflict"
    INVALID = "invalid"
    PERMANENT = "permanent"


NO_MACHINES = frozenset({Kind.CAPACITY, Kind.QUOTA, Kind.REGIONAL_QUOTA, Kind.UNAVAILABLE})
"""What another size, tier or region would help with."""
MAY_PASS = frozenset({Kind.TRANSIENT, Kind.THROTTLED, Kind.CONFLICT, Kind.AUTH, Kind.ROLES})
"""What waiting ends: tokens are renewed, and roles take minutes to arrive."""


@dataclass(frozen=True)
class RetryPolicy:
    """How often something is tried, and how long to wait in between (seconds)."""

    attempts: int = 1
    first_wait: float = 1.0
    longest_wait: float = 30.0

    def wait(self, attempt: int, retry_after: float | None) -> float:
        """Seconds before attempt number `attempt + 1`: what the service asked for, else exponential with full jitter
        in the upper half, so that runs that failed together do not come back together."""
        if retry_after is not None:
            return min(retry_after, MOST_RETRY_AFTER)
        ceiling = min(self.longest_wait, self.first_wait * 2 ** (attempt - 1))
        return ceiling * (0.5 + random.random() / 2)


ONCE = RetryPolicy()
_RETRIED: dict[Kind, RetryPolicy] = {
    Kind.TRANSIENT: RetryPolicy(attempts=5),
    Kind.THROTTLED: RetryPolicy(attempts=5, first_wait=4.0, longest_wait=60.0),
    # Somebody else is changing the same thing, or our own lost request was carried out: look again.
    Kind.CONFLICT: RetryPolicy(attempts=5, first_wait=2.0),
    # A token can expire between its check and its use; a second refusal is an answer.
    Kind.AUTH: RetryPolicy(attempts=2),
    Kind.ROLES: RetryPolicy(attempts=2),
}
POLICIES: dict[Kind, RetryPolicy] = {kind: _RETRIED.get(kind, ONCE) for kind in Kind}

ADVICE: dict[Kind, str] = {
    Kind.TRANSIENT: "Azure did not answer properly for longer than the run waits; run it again when Azure is well",
    Kind.THROTTLED: "too many requests; run it again later, or run fewer flows at the same time",
    Kind.CAPACITY: "the region has no such machine free; choose another SKU or region, or try later",
    Kind.QUOTA: "ask for more quota (https://aka.ms/azureml-quota), free some, or choose another SKU",
    Kind.REGIONAL_QUOTA: "ask for more vCPUs of the region as a whole (https://aka.ms/azureml-quota), or free some: another size "
    "of the same region does not help",
    Kind.ENDPOINT_QUOTA: "delete endpoints that nobody needs, or ask for a higher limit (https://aka.ms/azureml-quota)",
    Kind.UNAVAILABLE: "choose another size or region (`az vm list-skus --location REGION --all` tells what the subscription may "
    "have), or ask for access",
    Kind.AUTH: "check that the credentials block names the identity that is meant, and that its secret is valid",
    Kind.ROLES: "check the roles: the identity that Azure names needs one that allows the action that it names, on that scope",
    Kind.SIGN_IN: "correct the credentials block",
    Kind.POLICY: "ask the owner of the policy that Azure names for an exemption, or choose what the policy allows (another size, "
    "region or way to authenticate)",
    Kind.LOCKED: "take the lock off the scope that Azure names (in the portal: Locks), or ask whoever put it there",
    Kind.NETWORK: "let the worker run in a network that is admitted (that of the private endpoint), or admit its address; the "
    "identity's rights are not the matter",
    Kind.KEYS: "let the workspace use identities (systemDatastoresAuthMode: identity, and Storage Blob Data Contributor for the "
    "run's identity and the cluster's), or permit keys on the storage account again",
    Kind.SUBSCRIPTION: "the subscription's owner has to act (in the portal: Subscriptions)",
    Kind.NOT_FOUND: "check the name, and that the block points at the right workspace",
    Kind.CONFLICT: "something of that name is being changed or belongs to somebody else; try later, or choose another name",
    Kind.INVALID: "Azure rejects what was asked for; correct the parameters",
    Kind.PERMANENT: "trying again will not help; read the cause",
}
