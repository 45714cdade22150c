"""What Azure is known to answer, and what each answer takes.

The text comes before the status: Azure sends quota and capacity as 400 or as a failed operation with status 200, a private
link's refusal as 502, a lock as 409. The published errors that this table is made from are in tests/data/azure_errors.json, each
with its source.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tasks.azure_ml.kinds import ABOUT, Kind


@dataclass(frozen=True)
class Known:
    """One sort of answer."""

    pattern: str
    """Of the code, a colon and the message; case does not matter."""
    kind: Kind
    means: str
    """For the page: what has happened."""
    do: str = ""
    """Where there is more to say than of the kind."""

    @property
    def advice(self) -> str:
        """What to do."""
        return self.do or ABOUT[self.kind].do


PREEMPTED = r"\bPreemptionError\b|nodes of this job got pre-?empted"
"""Azure's own words. A job's log may speak of pre-emption as it likes."""

KNOWN: tuple[Known, ...] = (
    # Said before all others: their messages name actions and scopes, in which anything may stand.
    Known(
        r"^(\(\w+\) )?(Linked)?AuthorizationFailed\b",
        Kind.ROLES,
        "the identity has no role that allows it (or the name of subscription, group or workspace is misspelt)",
    ),
    Known(
        r"DenyAssignmentAuthorizationFailed",
        Kind.POLICY,
        "a deny assignment (of a managed application or a blueprint) forbids it, whatever the roles",
        "ask the owner of the deny assignment (in the portal: Access control, Deny assignments)",
    ),
    # Who may not, and who says so.
    Known(
        r"RequestDisallowedByPolicy|disallowed by policy",
        Kind.POLICY,
        "a policy of the organisation denies it; rights play no part",
    ),
    Known(
        r"ScopeLocked|scope\(s\) are locked",
        Kind.LOCKED,
        "somebody has put a lock on the resource, its group or the subscription",
    ),
    Known(
        r"KeyBasedAuthenticationNotPermitted|key based authentication is not permitted",
        Kind.KEYS,
        "the storage account takes no account keys, nor signatures made with them",
    ),
    Known(
        r"PublicAccessNotPermitted",
        Kind.KEYS,
        "the storage account lets nobody in without a sign-in",
        "use a datastore with credentials or an identity instead of an anonymous address",
    ),
    Known(
        r"private[- ]?link|private endpoint connection|ForbiddenByConnection|NetworkIsolation|firewall|AuthorizationFailure\b"
        r"|public (network )?access (is|was|has been) (disabled|not (permitted|allowed))|is not allowed access"
        r"|client address is not authorized|AuthorizationSourceIPMismatch",
        Kind.NETWORK,
        "the request comes from a network that the workspace, its storage, key vault or container registry does not admit",
    ),
    # The subscription.
    Known(
        r"ReadOnlyDisabledSubscription|SubscriptionDisabled|DisabledSubscription|AccountIsDisabled|subscription .{0,60}is disabled",
        Kind.SUBSCRIPTION,
        "the subscription is disabled: unpaid, expired, or at its spending limit; nothing can be made or deleted in it",
        "the subscription's owner has to activate it again (in the portal: Subscriptions); deleting works only after that",
    ),
    Known(
        r"MissingSubscriptionRegistration|MissingRegistrationFor(ResourceProvider|Location)|NoRegisteredProviderFound"
        r"|not registered to use namespace",
        Kind.SUBSCRIPTION,
        "the subscription has never used this sort of resource",
        "register the resource provider that Azure names: `az provider register --namespace NAMESPACE`",
    ),
    Known(
        r"SubscriptionNotFound|InvalidSubscriptionId|InvalidAuthenticationTokenTenant",
        Kind.SUBSCRIPTION,
        "there is no such subscription, or it belongs to another tenant than the sign-in",
        "correct subscription_id in the workspace block, or tenant_id in the credentials block",
    ),
    Known(
        r"ResourceNotAvailableForOffer",
        Kind.SUBSCRIPTION,
        "the subscription's offer (free, student, sponsored) does not include it",
        "use a subscription of another offer",
    ),
    Known(
        r"ResourceGroupBeingDeleted|is in deprovisioning state",
        Kind.PERMANENT,
        "somebody is deleting the resource group with all that is in it",
        "let the block point at another workspace, or make this one anew",
    ),
    # Signing in: https://learn.microsoft.com/entra/identity-platform/reference-error-codes
    Known(
        r"AADSTS(90033|90055|50196|90024)|temporarily_unavailable",
        Kind.TRANSIENT,
        "the sign-in service does not work or has too much to do",
    ),
    Known(
        r"AADSTS(700213|70021|7002138|700024|700211|700212)\b",
        Kind.SIGN_IN,
        "the token of the workload identity is not one that the client's federated credential trusts, or is out of its time",
        "correct the federated credential (issuer, subject, audience), the token file, or this machine's clock",
    ),
    Known(
        r"AADSTS(7000215|7000222|700027)",
        Kind.SIGN_IN,
        "the client's secret or certificate is wrong or has expired",
        "make a new secret (in the portal: App registrations, Certificates & secrets) and put it into the credentials block",
    ),
    Known(
        r"AADSTS(90002|900023|700016|500011|500014|50034|65001|700082)",
        Kind.SIGN_IN,
        "the tenant does not exist, or does not know the client or user",
        "correct tenant and client in the credentials block",
    ),
    Known(
        r"AADSTS7000112",
        Kind.SIGN_IN,
        "the client (app registration) is disabled",
        "its owner has to enable it again (in the portal: Enterprise applications, Properties)",
    ),
    Known(
        r"AADSTS(530032|53003|530003|50076|50079)",
        Kind.SIGN_IN,
        "conditional access forbids this sign-in, or wants a second factor",
        "use a service principal or managed identity that the tenant's rules let in",
    ),
    # What one may.
    Known(
        r"RoleAssignmentLimitExceeded",
        Kind.PERMANENT,
        "the subscription has as many role assignments as it may have",
        "remove some that nobody needs",
    ),
    Known(
        r"does not have authorization to perform action|ForbiddenByRbac|Caller is not authorized to perform action"
        r"|does not have (secrets|keys|certificates) \w+ permission"
        r"|AuthorizationPermissionMismatch|InsufficientAccountPermissions|UnAuthorizedRegistryAccess"
        r"|does not have pull permission|StorageAuthError|You don't have permission to do the requested action",
        Kind.ROLES,
        "the identity has no role that allows it (or the name of subscription, group or workspace is misspelt)",
    ),
    Known(
        r"(Expired|Invalid)AuthenticationToken|InvalidAuthenticationInfo|NoAuthenticationInformation|Server failed to authenticate"
        r"|\bAuthenticationFailed\b",
        Kind.AUTH,
        "the token, key or signature has expired, is malformed, or the clock of this machine is wrong",
        "check this machine's clock, and that the credentials block names the identity that is meant",
    ),
    # Machines and how many.
    Known(
        r"(endpoint|deployment) quota|limit of endpoints|ResourceQuotaExceeded|exceed the quota of \d+ resources",
        Kind.ENDPOINT_QUOTA,
        "the region or group has as many endpoints as it may have",
    ),
    Known(
        r"total regional|\btotal vCPU quota|TotalDedicatedCores|quota limits of Core\b",
        Kind.REGIONAL_QUOTA,
        "all sizes of the region together have a limit, too, and it is reached",
    ),
    Known(
        r"LowPriorityCores quota|low[- ]?priority .{0,40}quota",
        Kind.QUOTA,
        "low-priority vCPUs have a quota of their own",
        "ask for more low-priority quota (https://aka.ms/azureml-quota), or set compute.priority to dedicated",
    ),
    Known(
        r"UnsupportedVMSizeForLowPriority",
        Kind.UNAVAILABLE,
        "the size is not to be had with low priority",
        "set compute.priority to dedicated, or choose another size",
    ),
    Known(
        r"RequestDisallowedByAzure|disallowed by Azure|SkuNotAvailable|LocationNotAvailableForResourceType"
        r"|RegionDoesNotAllowProvisioning|locationineligible"
        r"|not accepting new customers|is not a supported VM size|belongs to a specialty sku",
        Kind.UNAVAILABLE,
        "the size or the region is not open to this subscription",
    ),
    Known(
        r"SubnetIsFull|subnet .{0,200}not have enough capacity|IPs? exceeds IPs available",
        Kind.PERMANENT,
        "the subnet has no addresses left for the nodes",
        "give the cluster a larger subnet, or fewer nodes",
    ),
    Known(
        rf"OutOfCapacity|AllocationFailed|OverconstrainedAllocation|NotEnoughCapacity|{PREEMPTED}"
        r"|(do(es)? not have|insufficient|not enough|lack of) (\w+ )*capacity",
        Kind.CAPACITY,
        "the region has no such machine free, or has taken a low-priority one back",
    ),
    Known(
        r"OutOfQuota|QuotaExceeded|QuotaReached|Exceeds?CoreQuota|vCPU quota|not enough (\w+ )*quota"
        r"|quota reached|exceed\w* .*quota|quota .*exceed",
        Kind.QUOTA,
        "the family of machine sizes, or clusters as such, have no vCPUs left under the subscription's limit",
    ),
    # Throttling.
    Known(
        r"TooManyRequests|RequestsThrottled|too many pending requests|being throttled",
        Kind.THROTTLED,
        "too many requests, of this run or of others in the subscription",
    ),
    # What is in the way for a while.
    Known(
        r"in (Creating|Updating|Deleting) provisioning state|AnotherOperationInProgress|being (updated|deleted)|OperationPreempted"
        r"|canceled by another operation|canceled due to a previous operation|WorkspaceManagedNetworkNotReady",
        Kind.CONFLICT,
        "Azure is still busy with an earlier change of the same thing",
        "something of that name is still being changed; run again in a few minutes",
    ),
    # What is broken.
    Known(
        r"unrecoverable state",
        Kind.PERMANENT,
        "an earlier deployment of this name failed for good",
        "delete the deployment (or its endpoint) and run again",
    ),
    Known(
        r"User container has crashed|UserScriptException|Caught an unhandled exception from the user script",
        Kind.PERMANENT,
        "the model's container does not start, or ends",
        "read the container's last lines; the model or its environment has to be mended",
    ),
    Known(
        r"ImageBuildFailure|Failed to pull Docker image",
        Kind.PERMANENT,
        "the environment's image could not be built or fetched",
        "read the image's build log in the workspace's storage (azureml/ImageLogs)",
    ),
    Known(
        r"waiting for Environment Image",
        Kind.PERMANENT,
        "the environment's image was not built in time",
        "wait until the image's build has ended (in studio: Environments), and run again",
    ),
    Known(
        r"ObjectIsDeletedButRecoverable|deleted but recoverable|soft-deleted workspace exists",
        Kind.PERMANENT,
        "something of that name was deleted softly and still holds the name",
        "recover or purge it (in the portal: Manage deleted), or choose another name",
    ),
    Known(
        r"ServiceModelDeprecated|has been deprecated|was deleted at .{0,60}cannot be recreated",
        Kind.PERMANENT,
        "the publisher or the workspace has withdrawn the model or asset for good",
        "choose another model or version",
    ),
    Known(
        r"AzureMLCompute cluster .{0,60}failed state",
        Kind.PERMANENT,
        "the cluster is broken",
        "delete the cluster in studio; the next run makes it anew",
    ),
    Known(
        r"BlobImmutableDueToPolicy",
        Kind.PERMANENT,
        "the container keeps its blobs unchanged by a rule of retention",
        "let the workspace use a storage container without such a rule",
    ),
    Known(
        r"endpoint with this name|endpoint name needs to be unique",
        Kind.INVALID,
        "another workspace of the region has an endpoint of this name",
        "choose another deployment.endpoint, or leave it empty",
    ),
    # Plain ones, by their words.
    Known(
        r"already exists|ResourceExists|BlobAlreadyExists|Asset paths cannot be updated",
        Kind.CONFLICT,
        "something of that name is there already",
    ),
    Known(
        r"^(\(\w+\) )?(InternalServerError|InternalError|ServiceUnavailable|GatewayTimeout)\b",
        Kind.TRANSIENT,
        "Azure itself fails",
    ),
    Known(
        r"^(\(\w+\) )?(ResourceNotFound|ParentResourceNotFound|ResourceGroupNotFound|NotFound|BlobNotFound|ContainerNotFound"
        r"|ModelAssetPathNotFoundInStorage)\b|^(\w+: )?AzureMLCompute cluster \S+ does not exist",
        Kind.NOT_FOUND,
        "there is no such thing, or the identity may not see it",
    ),
    Known(r"^(\(\w+\) )?BadArgument:", Kind.INVALID, "Azure rejects what was asked for"),
)  # fmt: skip
"""The first that fits counts."""


_NAMES = re.compile(r"/subscriptions/\S+|'[^' ]{1,300}'")
"""Paths and quoted names, in which any word may stand: a workspace may be called firewall."""


def known(text: str, status: int | None = None) -> Known | None:
    """What Azure's `text` (code, colon, message) says, if it is known.

    Args:
        status: of the answer. What is not found is told by its code alone: the message is mostly its name.
    """
    said = text.partition(": ")[0] if status == 404 else _NAMES.sub("''", text)
    return next((its for its in KNOWN if re.search(its.pattern, said, re.IGNORECASE)), None)
