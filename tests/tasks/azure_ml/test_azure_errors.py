"""Errors as Azure is known to publish them: what each is taken for, how often it is tried, and what the person on call is told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ResourceNotFoundError

from tasks.azure_ml.azure_errors import KNOWN, known
from tasks.azure_ml.errors import ErrorInfo, classify, is_not_found, kind_of
from tasks.azure_ml.kinds import ABOUT, MAY_PASS, Kind
from tests.emulated import ROOT

PUBLISHED: list[dict[str, Any]] = json.loads((ROOT / "tests/data/azure_errors.json").read_text())
"""`kind` and `retried` are what we make of it; all else is the source's."""


def text_of(error: dict[str, Any]) -> str:
    return f"{error['code']}: {error['message']}" if error["code"] else error["message"]


@pytest.mark.parametrize("error", PUBLISHED, ids=lambda its: f"{its['code']}-{its['message'][:30]}")
def test_each_published_error_has_its_kind_its_retries_and_its_advice(error: dict[str, Any]) -> None:
    kind = kind_of(error["status"], text_of(error))
    fault = ErrorInfo(kind, error["message"], error["status"], error["code"])
    assert kind == error["kind"]
    assert (fault.tries > 1) is error["retried"]
    said = fault.sentence("creating something")
    assert " ".join(error["message"].split())[:40].rstrip(".") in said or "quota" in said
    # Of roles only where a role is the matter, of other names only where a name is.
    assert ("check the roles" in said) is (kind is Kind.ROLES)
    assert "choose another name" not in said or kind is Kind.CONFLICT or "recover or purge" in said


def test_the_table_has_nothing_that_nobody_has_published() -> None:
    met = {its.pattern for error in PUBLISHED if (its := known(text_of(error)))}
    assert [its.pattern for its in KNOWN if its.pattern not in met] == [r"^(\(\w+\) )?BadArgument:"]
    assert len(PUBLISHED) >= 100 and all(error["source"] for error in PUBLISHED)


ALONE: dict[Kind, tuple[str, ...]] = {
    Kind.POLICY: ("RequestDisallowedByPolicy: Ask first.", "Resource 'gpu' was disallowed by policy."),
    Kind.LOCKED: ("ScopeLocked: Not now.", "Conflict: The following scope(s) are locked: 's'."),
    Kind.KEYS: ("KeyBasedAuthenticationNotPermitted: No.", "Key based authentication is not permitted here."),
    Kind.NETWORK: (
        "No private endpoint connection is approved.", "ForbiddenByConnection: No.", "NetworkIsolationViolated: No.",
        "Public access is disabled.", "Public network access was not permitted.", "Public access has been disabled.",
        "Public access is not allowed.", "The address is not allowed access.", "AuthorizationSourceIPMismatch: No.",
        "The firewall settings don't permit this data access.",
    ),
    Kind.SUBSCRIPTION: (
        "ReadOnlyDisabledSubscription: No.", "SubscriptionDisabled: No.", "The subscription 's' is disabled.",
        "MissingSubscriptionRegistration: No.", "MissingRegistrationForResourceProvider: No.", "InvalidSubscriptionId: No.",
        "The subscription is not registered to use namespace 'Microsoft.Compute'.",
    ),
    Kind.TRANSIENT: (
        "AADSTS50196", "AADSTS90024", "temporarily_unavailable", "ServiceUnavailable: Later.", "InternalError: Later.",
    ),
    Kind.SIGN_IN: tuple(
        f"AADSTS{code}: No."
        for code in (
            70021, 7002138, 700024, 700211, 700212, 700027, 900023, 500014, 50034, 65001, 700082, 530032, 53003, 530003, 50076,
            50079,
        )
    ),
    Kind.ROLES: (
        "The client does not have authorization to perform action 'A'.", "ForbiddenByRbac: No.",
        "Caller is not authorized to perform action on resource.", "The user does not have secrets get permission.",
        "The user does not have keys list permission.", "The user does not have certificates get permission.",
    ),
    Kind.AUTH: (
        "InvalidAuthenticationToken: No.", "InvalidAuthenticationInfo: No.", "NoAuthenticationInformation: No.",
        "Server failed to authenticate the request.", "AuthenticationFailed: No.",
    ),
    Kind.ENDPOINT_QUOTA: (
        "Deployment quota reached.", "The limit of endpoints is reached.", "It would exceed the quota of 100 resources.",
    ),
    Kind.REGIONAL_QUOTA: ("It results in exceeding approved TotalDedicatedCores.",),
    Kind.QUOTA: (
        "Of low priority cores no quota is left.", "OutOfQuota: No.", "QuotaExceeded: No.", "ClusterQuotaReached: No.",
        "JobNodeCountExceedsCoreQuota: No.", "ClusterMinNodesExceedCoreQuota: No.", "Not enough cluster CPU quota.",
        "Quota reached.",
    ),
    Kind.UNAVAILABLE: (
        "RequestDisallowedByAzure: No.", "Resource 'x' was disallowed by Azure.", "LocationNotAvailableForResourceType: No.",
        "See https://aka.ms/locationineligible.", "The region is not accepting new customers.",
        "Standard_NC6 is not a supported VM size.",
    ),
    Kind.CAPACITY: (
        "OutOfCapacity: No.", "OverconstrainedAllocationRequest: No.", "NotEnoughCapacity: No.", "PreemptionError: No.",
        "Nodes of this job got preempted.", "The region does not have enough capacity.", "Zones do not have capacity.",
        "Insufficient capacity.", "There is not enough VM capacity.", "It failed for lack of capacity.",
    ),
    Kind.THROTTLED: (
        "TooManyRequests: Later.", "RequestsThrottled: Later.", "There are too many pending requests.", "It is being throttled.",
    ),
    Kind.CONFLICT: (
        "It is in Creating provisioning state.", "It is in Deleting provisioning state.", "The endpoint is being updated.",
        "The container is being deleted.", "OperationPreempted: Later.", "ResourceExists: No.", "BlobAlreadyExists: No.",
    ),
    Kind.INVALID: ("There is an endpoint with this name.", "The endpoint name needs to be unique."),
    Kind.NOT_FOUND: ("ResourceGroupNotFound: No.", "BlobNotFound: No.", "ContainerNotFound: No."),
    Kind.PERMANENT: (
        "ResourceGroupBeingDeleted: No.", "The resource group 'rg' is in deprovisioning state.", "SubnetIsFull: No.",
        "Subnet nodes does not have enough capacity for 1 address.", "The number of IPs exceeds IPs available.",
        "UserScriptException: No.", "Caught an unhandled exception from the user script.", "ImageBuildFailure: No.",
        "Failed to pull Docker image.", "ObjectIsDeletedButRecoverable: No.", "ServiceModelDeprecated: No.",
        "The model has been deprecated.", "The asset was deleted at 07/17/2023 and cannot be recreated.",
    ),
}  # fmt: skip
"""What the published errors say only beside another sign: a code with no sentence of Azure's, or a sentence with no code of its."""


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in ALONE.items() for text in texts])
def test_a_code_or_a_sentence_is_enough(kind: Kind, text: str) -> None:
    found = known(text)
    assert found is not None and found.kind is kind


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (409, "Conflict: Endpoint 'firewall-of-may' cannot be changed now.", Kind.CONFLICT),
        (400, "BadRequest: Job 'OutOfCapacity' has no such output.", Kind.INVALID),
        (400, "BadRequest: /subscriptions/s/resourceGroups/privatelink/providers/P has no such thing.", Kind.INVALID),
    ],
)
def test_a_name_says_nothing_of_the_trouble(status: int, text: str, kind: Kind) -> None:
    assert kind_of(status, text) is kind


def test_only_what_waiting_ends_is_tried_again() -> None:
    assert {Kind.TRANSIENT, Kind.THROTTLED, Kind.CONFLICT, Kind.AUTH, Kind.ROLES} == MAY_PASS
    assert set(ABOUT) == set(Kind)


class Response:
    """What azure-core makes an error of."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        self.status_code, self.reason, self.headers = status, "Forbidden", {"Content-Type": "application/json"}
        self._body = json.dumps(body)

    def text(self, encoding: str | None = None) -> str:
        return self._body

    def body(self) -> bytes:
        return self._body.encode()


POLICY = {
    "type": "PolicyViolation",
    "info": {
        "policyAssignmentDisplayName": "No GPU above V100",
        "policyAssignmentName": "a1b2",
        "policyDefinitionName": "c3",
    },
}


@pytest.mark.parametrize(
    "error",
    [
        {
            "code": "RequestDisallowedByPolicy",
            "message": "Resource 'gpu' was disallowed by policy. Reasons: 'Ask first.'. See error details for policy resource IDs.",
            "additionalInfo": [POLICY],
        },
        {
            "code": "ResourceValidationFailed",
            "message": "Resource validation failed, see details for more information.",
            "details": [
                {
                    "code": "RequestDisallowedByPolicy",
                    "message": "Resource 'gpu' was disallowed.",
                    "additionalInfo": [POLICY],
                }
            ],
        },
    ],
    ids=["itself", "within"],
)
def test_the_policy_is_named_that_azure_names_beside_its_sentence(error: dict[str, Any]) -> None:
    from azure.mgmt.core.exceptions import ARMErrorFormat

    raised: Any = HttpResponseError(response=Response(403, {"error": error}), error_format=ARMErrorFormat)  # type: ignore[arg-type]
    fault = classify(raised)
    assert fault is not None and fault.kind is Kind.POLICY
    said = fault.sentence("creating the cluster")
    assert said.startswith("creating the cluster failed, policy (HTTP 403): Resource 'gpu' was disallowed")
    assert "No GPU above V100" in said and "ask the owner of the policy" in said


def test_a_policy_that_the_message_names_is_not_named_twice() -> None:
    from azure.mgmt.core.exceptions import ARMErrorFormat

    message = "Resource 'gpu' was disallowed by policy. Policy: No GPU above V100."
    body = {"error": {"code": "RequestDisallowedByPolicy", "message": message, "additionalInfo": [POLICY]}}
    fault = classify(HttpResponseError(response=Response(403, body), error_format=ARMErrorFormat))  # type: ignore[arg-type]
    assert fault is not None and fault.message.count("No GPU above V100") == 1


@pytest.mark.parametrize(
    "message",
    [
        "The Resource 'Microsoft.MachineLearningServices/workspaces/w/onlineEndpoints/firewall-chat' under resource group "
        "'rg-privatelink' was not found.",
        "Run nightly-preempt-ft was not found",
    ],
)
def test_what_is_not_found_is_that_whatever_it_is_called(message: str) -> None:
    raised = ResourceNotFoundError(response=Response(404, {"error": {"code": "ResourceNotFound", "message": message}}))  # type: ignore[arg-type]
    fault = classify(raised)
    assert fault is not None and fault.kind is Kind.NOT_FOUND
    assert is_not_found(raised)


@pytest.mark.parametrize(
    "message",
    [
        "DefaultAzureCredential: HTTPSConnectionPool: Max retries exceeded: [Errno 111] Connection refused",
        "Temporary failure in name resolution",
        "Failed to resolve 'login.microsoftonline.com'",
        "Failed to establish a new connection",
        "Max retries exceeded with url: /common",
        "Read timed out.",
        "Connection refused",
        "Connection reset by peer",
        "Connection aborted.",
        "ManagedIdentityCredential authentication unavailable, no response from the IMDS endpoint.",
    ],
)
def test_a_sign_in_that_nobody_answered_is_no_refusal(message: str) -> None:
    fault = classify(ClientAuthenticationError(message))
    assert fault is not None and fault.kind is Kind.TRANSIENT
