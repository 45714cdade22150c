"""Reads what the Azure SDKs raise: one kind, one retry policy, one sentence."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from tasks.azure_ml.azure_errors import known
from tasks.azure_ml.kinds import ABOUT, Kind
from tasks.azure_ml.quota import shortage_in

T = TypeVar("T")


@dataclass(frozen=True)
class ErrorInfo:
    """An error, understood."""

    kind: Kind
    message: str
    status: int | None = None
    code: str | None = None
    retry_after: float | None = None

    @property
    def advice(self) -> str:
        """What to do, of this very error where it is known."""
        found = known(f"{self.code}: {self.message}" if self.code else self.message, self.status)
        return found.advice if found and found.kind is self.kind else ABOUT[self.kind].do

    @property
    def tries(self) -> int:
        """How often a stage is tried that meets it."""
        return ABOUT[self.kind].tries

    def sentence(self, doing: str) -> str:
        """What happened, to what, and what to do; free of secrets."""
        shortage = shortage_in(self.message)
        what = f"{shortage}. Azure: {shortage.reason}" if shortage else self.message
        status = f" (HTTP {self.status})" if self.status and self.status >= 400 else ""
        return f"{doing} failed, {self.kind}{status}: {what.rstrip('.')}. What to do: {self.advice}."


class AzureFailure(Exception):
    """Azure refused or failed, and trying again did not or cannot help. `info` says which kind of trouble it was."""

    def __init__(self, info: ErrorInfo, doing: str) -> None:
        self.info, self.doing = info, doing
        super().__init__(info.sentence(doing))


class InvalidConfiguration(ValueError):
    """The flow itself will not go on with what it was given; nothing has been spent. The message says what to change."""


def says_all(error: BaseException | None) -> bool:
    """Whether it is one of the flow's own exceptions: a sentence for people, to which the place in the code adds nothing."""
    return type(error).__module__.partition(".")[0] in _OWN_PACKAGES


def classify(error: BaseException) -> ErrorInfo | None:
    """Understands what the Azure SDKs raise; None for an error that is not about a remote service.

    The flow's own exceptions say all they have to say: what they were raised from is only their cause.
    """
    if isinstance(error, AzureFailure):
        return error.info
    if says_all(error):
        return None
    for cause in _causes(error):
        if info := _read_answer(cause) or _read_azure_core(cause) or _read_mlflow(cause) or _read_connection(cause):
            return info
    return _read_sdk(error)


def redact(text: str) -> str:
    """`text` without signatures, tokens and keys."""
    return _SECRETS.sub(lambda found: f"{found.group(1) or ''}********", text)


def is_not_found(error: BaseException) -> bool:
    """Whether `error` says that the thing asked for does not exist."""
    info = classify(error)
    return info is not None and info.kind is Kind.NOT_FOUND


def find(get: Callable[[], T]) -> T | None:
    """What `get` returns; None only if Azure says that it does not exist. Any other trouble is raised: what cannot be read must
    never be taken for missing."""
    try:
        return get()
    except Exception as error:
        if is_not_found(error):
            return None
        raise


_OWN_PACKAGES = frozenset({"tasks", "flows"})
_SECRETS = re.compile(
    r"((?:\bsig(?:=|%3D)|\bBearer\s+|\bAuthorization\W+Basic\s+|://[^\s/:@]+:(?=[^\s/@]+@)"
    r"|(?:client_?secret|password|(?:account|primary|secondary|access|api|storage)_?key|(?:access|refresh|(?<![a-z])id|sas|hf)_?token)"
    r"[\"']?\s*[:=]\s*[\"']?))[^\s&\"',;@}]+"
    r"|()\b(?:eyJ[\w-]+\.[\w-]+\.[\w-]*|hf_\w{8,}|sk-[\w-]{8,})",
    re.IGNORECASE,
)
"""By what stands before them, and tokens by their form."""

# What Azure storage and the sign-in service append to every message.
_TRACE = re.compile(r"\s*\b(RequestId|Time|ErrorCode):\S*|\s*\b((Trace|Correlation) ID|Timestamp): \S+( \d\S+Z)?")

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
    if found := known(text, status):
        return found.kind
    if status is not None and status >= 500:
        return Kind.TRANSIENT
    return _STATUS_RULES.get(status or 0, Kind.PERMANENT)


_UNREACHED = re.compile(
    r"Failed to (establish|resolve)|Max retries exceeded|name resolution|timed out|no response from the IMDS"
    r"|Connection (refused|reset|aborted)",
    re.IGNORECASE,
)
"""azure-identity takes it for a refusal that nobody answered."""
_UNSORTED = frozenset({*_STATUS_RULES.values(), Kind.PERMANENT})
"""What the status alone may have said, less than the exception's class does."""


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it was raised from: the SDK wraps service errors in its own."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        inner = getattr(cause, "inner_exception", None)
        cause = inner if isinstance(inner, BaseException) else cause.__cause__ or cause.__context__


def _read_answer(error: BaseException) -> ErrorInfo | None:
    """An answer that its reader could make nothing of: a proxy's page of HTML with status 200, a body that breaks off, a field that
    is missing. The same request may well be answered properly a moment later."""
    from azure.core.exceptions import DecodeError

    decoder = isinstance(
        error, (DecodeError, json.JSONDecodeError, *_named("google.protobuf.json_format", "ParseError"))
    )
    reader = isinstance(error, AttributeError | LookupError | TypeError) and _raised_by(error, _READERS)
    return ErrorInfo(Kind.TRANSIENT, _NOT_AZURES) if decoder or reader else None


_NOT_AZURES = "an answer came that is not Azure's, or not all of it"
_READERS = frozenset({"azure", "msrest", "mlflow", "requests", "msal"})
"""Packages that take answers apart."""


def _raised_by(error: BaseException, packages: frozenset[str]) -> bool:
    """Whether one of `packages` raised it."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return frame is not None and str(frame.tb_frame.f_globals.get("__name__", "")).partition(".")[0] in packages


def _read_azure_core(error: BaseException) -> ErrorInfo | None:
    from azure.core import exceptions as core

    if isinstance(error, core.HttpResponseError):
        status = error.status_code
        code, message = _code_and_message(error)
        kind = kind_of(status, f"{code}: {message}" if code else message)
        if kind in _UNSORTED:
            for raised_as, meant in (
                (core.ClientAuthenticationError, Kind.AUTH),
                (core.ResourceNotFoundError, Kind.NOT_FOUND),
                (core.ResourceExistsError, Kind.CONFLICT),
            ):
                kind = meant if isinstance(error, raised_as) else kind
        if isinstance(error, core.ClientAuthenticationError) and _UNREACHED.search(message):
            kind = Kind.TRANSIENT
        return ErrorInfo(kind, _TRACE.sub("", message), status, code, _retry_after(error))
    if isinstance(error, core.ServiceRequestError | core.ServiceResponseError):
        return ErrorInfo(Kind.TRANSIENT, _one_line(error))
    return None


def _code_and_message(error: BaseException) -> tuple[str | None, str]:
    """Azure ML puts the telling code and text into the innermost `details`."""
    described = getattr(error, "error", None)
    details = getattr(described, "details", None) or []
    inner = details[0] if details and getattr(details[0], "message", None) else described
    code = getattr(inner, "code", None) or getattr(described, "code", None)
    message = getattr(inner, "message", None) or getattr(error, "message", None) or str(error)
    return code, _one_line(" ".join([str(message), *_policies(inner, described, message)]))


def _policies(inner: Any, described: Any, message: object) -> Iterator[str]:
    """The policies that Azure names beside its message, where the message has only the policy's own reason."""
    for place in dict.fromkeys((inner, described)):
        for more in getattr(place, "additional_info", None) or []:
            its = getattr(more, "info", None)
            its = its if isinstance(its, dict) else {}
            name = its.get("policyAssignmentDisplayName") or its.get("policyAssignmentName")
            if name and str(name) not in str(message):
                yield f"(Policy: {name}.)"


def _retry_after(error: BaseException) -> float | None:
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    try:
        return float(headers["Retry-After"])
    except (KeyError, ValueError, TypeError):
        return None


def _read_mlflow(error: BaseException) -> ErrorInfo | None:
    """What MLflow's client raises of an answer; what it raises where none came is read from its cause.

    An answer of Azure's own form has none of MLflow's codes, and with that the client loses its status.
    """
    if not isinstance(error, _named("mlflow.exceptions", "MlflowException")):
        return None
    answer = getattr(error, "json", None)
    if isinstance(answer, dict):
        its = {name.lower(): value for name, value in answer.items()}
        described = (
            {name.lower(): value for name, value in its["error"].items()} if isinstance(its.get("error"), dict) else its
        )
        code = described.get("code") or its.get("error_code")
        message = _one_line(described.get("message") or error)
        [statuses] = _named("mlflow.exceptions", "ERROR_CODE_TO_HTTP_STATUS")
        status: int | None = statuses.get(str(its.get("error_code")))
        return ErrorInfo(kind_of(status or 500, f"{code}: {message}"), message, status, code)
    if refused := re.search(r"failed with error code (\d{3}) != 200", str(error)):
        return ErrorInfo(kind_of(int(refused[1]), ""), _NOT_AZURES, int(refused[1]))
    return ErrorInfo(Kind.TRANSIENT, _NOT_AZURES) if "not in a valid JSON format" in str(error) else None


def _named(module: str, name: str) -> tuple[Any, ...]:
    """What is called so in a module that need not be imported yet, or not to its end: then nobody has raised anything of it."""
    found = getattr(sys.modules.get(module), name, None)
    return () if found is None else (found,)


def _read_connection(error: BaseException) -> ErrorInfo | None:
    by_requests = type(error).__module__.startswith(("requests.", "urllib3."))
    if by_requests and (refused := re.search(r"too many (\d{3}) error responses", str(error))):
        return ErrorInfo(kind_of(int(refused[1]), ""), f"HTTP {refused[1]} at every try", int(refused[1]))
    if by_requests or isinstance(error, ConnectionError | TimeoutError):
        return ErrorInfo(Kind.TRANSIENT, _one_line(error))
    return None


def _read_sdk(error: BaseException) -> ErrorInfo | None:
    """What azure-ai-ml raises on its own account: validation, missing files, an address that discovery did not give it."""
    if isinstance(error, KeyError) and error.args and type(error.args[0]).__module__.startswith("azure."):
        address = getattr(error.args[0], "value", error.args[0])
        return ErrorInfo(
            Kind.TRANSIENT, f"Azure did not tell the address of the workspace's '{address}' service (discovery)"
        )
    if not type(error).__module__.startswith("azure."):
        return None
    message = _one_line(error)
    return ErrorInfo(Kind.INVALID if "validation" in type(error).__name__.lower() else kind_of(None, message), message)


def _one_line(error: object) -> str:
    return redact(" ".join(str(error).split()))[:2000]
