"""Errors as Azure is known to publish them: what each is taken for, how often it is tried, and what the person on call is told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ResourceNotFoundError

from tasks.azure_errors import KNOWN, known
from tasks.errors import Fault, kind_of, lists_as_missing, read
from tasks.kinds import ABOUT, MAY_PASS, Kind
from tests.emulated import ROOT

PUBLISHED: list[dict[str, Any]] = json.loads((ROOT / "tests/data/azure_errors.json").read_text())
"""`kind` and `retried` are what we make of it; all else is the source's."""


def text_of(error: dict[str, Any]) -> str:
    return f"{error['code']}: {error['message']}" if error["code"] else error["message"]


@pytest.mark.parametrize("error", PUBLISHED, ids=lambda its: f"{its['code']}-{its['message'][:30]}")
def test_each_published_error_has_its_kind_its_retries_and_its_advice(error: dict[str, Any]) -> None:
    kind = kind_of(error["status"], text_of(error))
    fault = Fault(kind, error["message"], error["status"], error["code"])
    assert kind == error["kind"]
    assert (fault.policy.attempts > 1) is error["retried"]
    said = fault.sentence("creating something")
    assert " ".join(error["message"].split())[:40].rstrip(".") in said or "quota" in said
    # Of roles only where a role is the matter, of other names only where a name is.
    assert ("check the roles" in said) is (kind is Kind.ROLES)
    assert "choose another name" not in said or kind is Kind.CONFLICT or "recover or purge" in said


def test_the_table_has_nothing_that_nobody_has_published() -> None:
    met = {its.pattern for error in PUBLISHED if (its := known(text_of(error)))}
    assert [its.pattern for its in KNOWN if its.pattern not in met] == [r"^(\(\w+\) )?BadArgument:"]
    assert len(PUBLISHED) >= 100 and all(error["source"] for error in PUBLISHED)


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
    fault = read(raised)
    assert fault is not None and fault.kind is Kind.POLICY
    said = fault.sentence("creating the cluster")
    assert said.startswith("creating the cluster failed, policy (HTTP 403): Resource 'gpu' was disallowed")
    assert "No GPU above V100" in said and "ask the owner of the policy" in said


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
    fault = read(raised)
    assert fault is not None and fault.kind is Kind.NOT_FOUND
    assert lists_as_missing(raised)


@pytest.mark.parametrize(
    "message",
    [
        "DefaultAzureCredential: HTTPSConnectionPool: Max retries exceeded: [Errno 111] Connection refused",
        "Temporary failure in name resolution",
        "ManagedIdentityCredential authentication unavailable, no response from the IMDS endpoint.",
    ],
)
def test_a_sign_in_that_nobody_answered_is_no_refusal(message: str) -> None:
    fault = read(ClientAuthenticationError(message))
    assert fault is not None and fault.kind is Kind.TRANSIENT
