"""What sorts of trouble there are with a remote service, how often each is tried again, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


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
REFUSALS = frozenset({
    Kind.POLICY, Kind.LOCKED, Kind.NETWORK, Kind.KEYS, Kind.SUBSCRIPTION, Kind.ROLES, Kind.INVALID, Kind.UNAVAILABLE, Kind.QUOTA,
    Kind.REGIONAL_QUOTA, Kind.ENDPOINT_QUOTA,
})  # fmt: skip
"""An answer that the same question gets tomorrow, too, unless a person acts."""


@dataclass(frozen=True)
class About:
    """What is behind a kind of trouble, and what to do about it."""

    means: str
    do: str
    tries: int = 1
    """How often a stage is tried that meets it."""


ABOUT: dict[Kind, About] = {
    Kind.TRANSIENT: About(
        "5xx, a connection that was cut, a time-out, an answer that is not Azure's. Look at <https://status.azure.com>",
        "Azure did not answer properly for longer than the run waits; run it again when Azure is well",
        tries=5,
    ),
    Kind.THROTTLED: About(
        "429. Many runs, or other tools, with the same identity or subscription",
        "too many requests; run it again later, or run fewer flows at the same time",
        tries=5,
    ),
    Kind.CAPACITY: About(
        "machines are sold out; nights and other regions are better",
        "the region has no such machine free; choose another size or a workspace in another region, or try later",
    ),
    Kind.QUOTA: About(
        "your subscription's limit for the family, not Azure's stock",
        "ask for more quota (https://aka.ms/azureml-quota), free some, or choose another size",
    ),
    Kind.REGIONAL_QUOTA: About(
        "your subscription's limit for the region, all sizes together",
        "ask for more of the region's total (https://aka.ms/azureml-quota), free some, or take fewer or smaller machines: another "
        "family has the same total",
    ),
    Kind.ENDPOINT_QUOTA: About(
        "your subscription's limit for endpoints or deployments",
        "delete endpoints that nobody uses, or ask for a higher limit "
        "(https://learn.microsoft.com/azure/machine-learning/how-to-manage-quotas#endpoint-limit-increases)",
    ),
    Kind.UNAVAILABLE: About(
        "the subscription may not have this size, or use this region",
        "choose another size or region (`az vm list-skus --location REGION --all` tells what the subscription may have), or ask "
        "for access",
    ),
    Kind.AUTH: About(
        "401, or 403 without a known reason: a secret ran out while the run went on, a token is malformed",
        "check that the credentials block names the identity that is meant, and that its secret is valid",
        # A token can expire between its check and its use; a second refusal is an answer.
        tries=2,
    ),
    Kind.ROLES: About(
        "a role is missing, or was taken away while the run went on",
        "check the roles: the identity that Azure names needs one that allows the action that it names, on that scope",
        tries=2,
    ),
    Kind.SIGN_IN: About("the sign-in service refuses", "correct the credentials block"),
    Kind.POLICY: About(
        "a policy of the organisation denies it; rights play no part",
        "ask the owner of the policy that Azure names for an exemption, or choose what the policy allows (another size, region or "
        "way to authenticate)",
    ),
    Kind.LOCKED: About(
        "somebody has put a lock on the resource, its group or the subscription",
        "take the lock off the scope that Azure names (in the portal: Locks), or ask whoever put it there",
    ),
    Kind.NETWORK: About(
        "private link or a firewall",
        "let the worker run in a network that is admitted (that of the private endpoint), or admit its address; the identity's "
        "rights are not the matter",
    ),
    Kind.KEYS: About(
        "the storage account takes no keys",
        "let the workspace use identities (systemDatastoresAuthMode: identity, and Storage Blob Data Contributor for the run's "
        "identity and the cluster's), or permit keys on the storage account again",
    ),
    Kind.SUBSCRIPTION: About(
        "the subscription itself is not, or not yet, what is needed",
        "the subscription's owner has to act (in the portal: Subscriptions)",
    ),
    Kind.NOT_FOUND: About(
        "somebody deleted it during the run, or the block names another workspace",
        "check the name, and that the block points at the right workspace",
    ),
    # Somebody else is changing the same thing, or our own lost request was carried out: look again.
    Kind.CONFLICT: About(
        "two runs, or a person in studio, changed the same thing",
        "something of that name is being changed or belongs to somebody else; try later, or choose another name",
        tries=5,
    ),
    Kind.INVALID: About(
        "a parameter that the form could not know to be wrong",
        "Azure rejects what was asked for; correct the parameters",
    ),
    Kind.PERMANENT: About("anything else; the cause is Azure's own text", "trying again will not help; read the cause"),
}

MAY_PASS = frozenset(kind for kind, about in ABOUT.items() if about.tries > 1)
"""What waiting ends, so that it is tried again: tokens are renewed, and roles take minutes to arrive."""
