"""What Azure's errors mean, and what can be done about each: one kind, one retry policy, one sentence."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from tasks.quota import shortage_in


class Kind(StrEnum):
    """What sort of trouble an error is."""

    TRANSIENT = "transient"
    THROTTLED = "throttled"
    CAPACITY = "capacity"
    QUOTA = "quota"
    AUTH = "auth"
    NOT_FOUND = "not found"
    CONFLICT = "conflict"
    INVALID = "invalid"
    PERMANENT = "permanent"


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


MOST_RETRY_AFTER = 300.0
"""A service that asks for more than five minutes is not waited for as long as it asks."""

POLICIES: dict[Kind, RetryPolicy] = {
    Kind.TRANSIENT: RetryPolicy(attempts=5),
    Kind.THROTTLED: RetryPolicy(attempts=5, first_wait=4.0, longest_wait=60.0),
    # Somebody else is changing the same thing, or our own lost request was carried out: look again.
    Kind.CONFLICT: RetryPolicy(attempts=5, first_wait=2.0),
    # A token can expire between its check and its use; a second refusal is an answer.
    Kind.AUTH: RetryPolicy(attempts=2),
    Kind.CAPACITY: RetryPolicy(),
    Kind.QUOTA: RetryPolicy(),
    Kind.NOT_FOUND: RetryPolicy(),
    Kind.INVALID: RetryPolicy(),
    Kind.PERMANENT: RetryPolicy(),
}

_ADVICE: dict[Kind, str] = {
    Kind.TRANSIENT: "Azure did not answer properly for longer than the run waits; run it again when Azure is well",
    Kind.THROTTLED: "too many requests; run it again later, or run fewer flows at the same time",
    Kind.CAPACITY: "the region has no such machine free; choose another SKU or region, or try later",
    Kind.QUOTA: "ask for more quota (https://aka.ms/azureml-quota), free some, or choose another SKU",
    Kind.AUTH: "check the credentials block and the identity's roles on the workspace",
    Kind.NOT_FOUND: "check the name, and that the block points at the right workspace",
    Kind.CONFLICT: "something of that name is being changed or belongs to somebody else; try later, or choose another name",
    Kind.INVALID: "Azure rejects what was asked for; correct the parameters",
    Kind.PERMANENT: "trying again will not help; read the cause",
}


@dataclass(frozen=True)
class Fault:
    """An error, understood."""

    kind: Kind
    message: str
    status: int | None = None
    code: str | None = None
    retry_after: float | None = None

    @property
    def policy(self) -> RetryPolicy:
        return POLICIES[self.kind]

    def sentence(self, doing: str) -> str:
        """What happened, to what, and what to do; free of secrets."""
        shortage = shortage_in(self.message)
        what = f"{shortage}. Azure: {shortage.reason}" if shortage else self.message
        advice = (shortage and shortage.advice) or _ADVICE[self.kind]
        status = f" (HTTP {self.status})" if self.status and self.status >= 400 else ""
        return f"{doing} failed, {self.kind}{status}: {what.rstrip('.')}. What to do: {advice}."


class AzureFailure(Exception):
    """Azure refused or failed, and trying again did not or cannot help. `fault` says which kind of trouble it was."""

    def __init__(self, fault: Fault, doing: str) -> None:
        self.fault = fault
        super().__init__(fault.sentence(doing))


class Refused(ValueError):
    """The flow itself will not go on with what it was given; nothing has been spent. The message says what to change."""


def read(error: BaseException) -> Fault | None:
    """Understands what the Azure SDKs raise; None for an error that is not about a remote service.

    The flow's own exceptions say all they have to say: what they were raised from is only their cause.
    """
    if isinstance(error, AzureFailure):
        return error.fault
    if type(error).__module__.partition(".")[0] in _OWN_PACKAGES:
        return None
    for cause in _causes(error):
        if fault := _read_azure_core(cause) or _read_connection(cause):
            return fault
    return _read_sdk(error)


def redact(text: str) -> str:
    """`text` without signatures, tokens and keys."""
    return _SECRETS.sub(lambda found: f"{found.group(1)}********", text)


def lists_as_missing(error: BaseException) -> bool:
    """Whether `error` says that the thing asked for does not exist."""
    fault = read(error)
    return fault is not None and fault.kind is Kind.NOT_FOUND


_OWN_PACKAGES = frozenset({"tasks", "blocks", "flows"})
_SECRETS = re.compile(
    r"((?:\bsig=|\bBearer\s+|client_secret=|AccountKey=|(?:primary|secondary)Key\"?:\s*\"?))[^\s&\"',;]+", re.IGNORECASE
)

# What Azure storage appends to every message.
_STORAGE_TRACE = re.compile(r"\s*\b(RequestId|Time|ErrorCode):\S*")

_TEXT_RULES: tuple[tuple[re.Pattern[str], Kind], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), kind)
    for pattern, kind in (
        (r"OutOfCapacity|AllocationFailed|SkuNotAvailable|OverconstrainedAllocation|NotEnoughCapacity", Kind.CAPACITY),
        (r"(do(es)? not have|insufficient|not enough|lack of) (enough )?(\w+ )?capacity|preempt", Kind.CAPACITY),
        (r"OutOfQuota|QuotaExceeded|vCPU quota|not enough quota|quota reached|exceed\w* .*quota|quota .*exceed", Kind.QUOTA),
        (r"already exists|ResourceExists|BlobAlreadyExists|AnotherOperationInProgress|being (updated|deleted)", Kind.CONFLICT),
        (r"^(\(\w+\) )?(InternalServerError|ServiceUnavailable|GatewayTimeout)\b", Kind.TRANSIENT),
        (r"^(\(\w+\) )?ResourceNotFound:", Kind.NOT_FOUND),
        (r"^(\(\w+\) )?BadArgument:", Kind.INVALID),
    )
)  # fmt: skip

_STATUS_RULES: dict[int, Kind] = {
    400: Kind.INVALID,
    401: Kind.AUTH,
    403: Kind.AUTH,
    404: Kind.NOT_FOUND,
    405: Kind.INVALID,
    408: Kind.TRANSIENT,
    409: Kind.CONFLICT,
    412: Kind.CONFLICT,
    413: Kind.INVALID,
    422: Kind.INVALID,
    424: Kind.PERMANENT,
    429: Kind.THROTTLED,
}


def kind_of(status: int | None, text: str) -> Kind:
    """The kind of an error with HTTP `status` and Azure's `text` (code and message).

    The text comes first: Azure sends quota and capacity as 400, or as a failed operation with status 200 and no code.
    """
    if status == 429:
        return Kind.THROTTLED
    for pattern, kind in _TEXT_RULES:
        if pattern.search(text):
            return kind
    if status is not None and status >= 500:
        return Kind.TRANSIENT
    return _STATUS_RULES.get(status or 0, Kind.PERMANENT)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it was raised from: the SDK wraps service errors in its own."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        inner = getattr(cause, "inner_exception", None)
        cause = inner if isinstance(inner, BaseException) else cause.__cause__ or cause.__context__


def _read_azure_core(error: BaseException) -> Fault | None:
    from azure.core import exceptions as core

    if isinstance(error, core.HttpResponseError) and not isinstance(error, core.IncompleteReadError):
        status = error.status_code
        code, message = _code_and_message(error)
        kind = kind_of(status, f"{code}: {message}" if code else message)
        for raised_as, meant in (
            (core.ClientAuthenticationError, Kind.AUTH),
            (core.ResourceNotFoundError, Kind.NOT_FOUND),
            (core.ResourceExistsError, Kind.CONFLICT),
        ):
            if isinstance(error, raised_as):
                kind = meant
        return Fault(kind, _STORAGE_TRACE.sub("", message), status, code, _retry_after(error))
    if isinstance(error, core.ServiceRequestError | core.ServiceResponseError | core.IncompleteReadError):
        return Fault(Kind.TRANSIENT, _one_line(error))
    return None


def _code_and_message(error: BaseException) -> tuple[str | None, str]:
    """Azure ML puts the telling code and text into the innermost `details`."""
    described = getattr(error, "error", None)
    details = getattr(described, "details", None) or []
    inner = details[0] if details and getattr(details[0], "message", None) else described
    code = getattr(inner, "code", None) or getattr(described, "code", None)
    message = getattr(inner, "message", None) or getattr(error, "message", None) or str(error)
    return code, _one_line(message)


def _retry_after(error: BaseException) -> float | None:
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    try:
        return float(headers["Retry-After"])
    except (KeyError, ValueError, TypeError):
        return None


def _read_connection(error: BaseException) -> Fault | None:
    if isinstance(error, ConnectionError | TimeoutError):
        return Fault(Kind.TRANSIENT, _one_line(error))
    if type(error).__module__.startswith(("requests.", "urllib3.")):
        return Fault(Kind.TRANSIENT, _one_line(error))
    return None


def _read_sdk(error: BaseException) -> Fault | None:
    """What azure-ai-ml raises on its own account: validation, missing files, an address that discovery did not give it."""
    if isinstance(error, KeyError) and error.args and type(error.args[0]).__module__.startswith("azure."):
        address = getattr(error.args[0], "value", error.args[0])
        return Fault(
            Kind.TRANSIENT, f"Azure did not tell the address of the workspace's '{address}' service (discovery)"
        )
    if not type(error).__module__.startswith("azure."):
        return None
    message = _one_line(error)
    return Fault(Kind.INVALID if "validation" in type(error).__name__.lower() else kind_of(None, message), message)


def _one_line(error: object) -> str:
    return redact(" ".join(str(error).split()))[:2000]
