"""What Azure's errors are taken for. The texts are Azure's own."""

import json

import pytest
from azure.core.exceptions import (
    ClientAuthenticationError,
    DecodeError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceResponseError,
)
from requests.exceptions import ConnectionError as RequestsConnectionError
from requests.exceptions import RetryError
from urllib3.exceptions import ProtocolError

from tasks.azure_ml.errors import AzureFailure, ErrorInfo, InvalidConfiguration, classify, is_not_found, kind_of, redact
from tasks.azure_ml.kinds import ABOUT, Kind
from tasks.azure_ml.quota import shortage_in
from tasks.azure_ml.states import ENDED, word

CLUSTER_QUOTA = (
    "The specified subscription has a Standard NCADSA100v4 family vCPU quota of 6 and cannot accommodate for at least 1 "
    "requested managed compute node which maps to 24 vCPUs. Talk to your Subscription Admin or refer to "
    "https://docs.microsoft.com/azure/machine-learning/how-to-manage-quotas#request-quota-increases"
)
TOTAL_QUOTA = (
    "The specified subscription has a total vCPU quota of 20 and cannot accomodate for at least 1 requested managed compute "
    "node which maps to 24 vCPUs."
)
DEPLOYMENT_QUOTA = (
    'InferencingClient HttpRequest error, error detail: {"errors":{"VmSize":["Not enough quota available for '
    "Standard_NC6s_v3 in SubscriptionId s. Current usage/limit: 0/6. Additional needed: 8 Please see troubleshooting guide, "
    'available here: https://aka.ms/oe-tsg#error-outofquota"]}}'
)
ENDPOINT_QUOTA = (
    "Endpoint Quota reached for subscription S.Current usage/limit: 300/300."
    "Please clean up existing endpoints and try again"
)


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (400, "UserError: Request is invalid and/or missing fields.", Kind.INVALID),
        (400, f"BadRequest: {CLUSTER_QUOTA}", Kind.QUOTA),
        (400, f"BadRequest: {TOTAL_QUOTA}", Kind.REGIONAL_QUOTA),
        (400, f"InferencingClientCreateDeploymentFailed: {DEPLOYMENT_QUOTA}", Kind.QUOTA),
        (400, f"InferencingClientCallFailed: {ENDPOINT_QUOTA}", Kind.ENDPOINT_QUOTA),
        (
            200,
            "(None) OutOfQuota: Not enough cluster CPU quota. See https://aka.ms/oe-tsg#error-outofquota",
            Kind.QUOTA,
        ),
        (
            200,
            "(None) ResourceNotReady: User container has crashed or terminated: Liveness probe failed",
            Kind.PERMANENT,
        ),
        (200, "(None) BadArgument: Invalid model", Kind.INVALID),
        (200, "(None) ImageBuildFailure: ...", Kind.PERMANENT),
        (200, "(None) ResourceNotFound: model", Kind.NOT_FOUND),
        (400, "OverconstrainedAllocationRequest: AllocationFailed", Kind.CAPACITY),
        (401, "InvalidAuthenticationToken: expired", Kind.AUTH),
        (403, "AuthorizationFailed: The client 'c' does not have authorization to perform action 'A'", Kind.ROLES),
        (404, "ResourceNotFound: The Resource was not found", Kind.NOT_FOUND),
        (409, "Conflict: ...", Kind.CONFLICT),
        (400, "UserError: A job with this name already exists.", Kind.CONFLICT),
        (429, "TooManyRequests: quota exceeded, slow down", Kind.THROTTLED),
        (500, "InternalServerError", Kind.TRANSIENT),
        (502, "Bad Gateway", Kind.TRANSIENT),
        (503, "Service Unavailable", Kind.TRANSIENT),
        (504, "Gateway Timeout", Kind.TRANSIENT),
        (408, "Request Timeout", Kind.TRANSIENT),
        (413, "Payload Too Large", Kind.INVALID),
        (404, "Operation returned an invalid status 'Not Found'", Kind.NOT_FOUND),
        (404, "UserError: Model container with name: X not found.", Kind.NOT_FOUND),
        (400, "BadRequest: key: azureml://registries/R/components/C/versions/V, Message: Invalid region", Kind.INVALID),
        (403, "UserError: UnAuthorizedRegistryAccess", Kind.ROLES),
        (403, "KeyBasedAuthenticationNotPermitted: Key based authentication is not permitted", Kind.KEYS),
        (200, "(None) OperationCanceled: The operation was canceled", Kind.PERMANENT),
        (None, "UserError: Pipeline has failed child jobs. Failed nodes: /a.", Kind.PERMANENT),
        (None, "AzureMLCompute job failed. PreemptionError: Nodes of this job got pre-empted.", Kind.CAPACITY),
        (409, "BlobAlreadyExists: The specified blob already exists.", Kind.CONFLICT),
        (404, "BlobNotFound: The specified blob does not exist.", Kind.NOT_FOUND),
        (403, "AuthenticationFailed: Server failed to authenticate the request.", Kind.AUTH),
        (416, "InvalidRange: The range specified is invalid.", Kind.PERMANENT),
        (424, "model error", Kind.PERMANENT),
        (401, "Unauthorized", Kind.AUTH),
        (403, "Forbidden", Kind.AUTH),
        (405, "Method Not Allowed", Kind.INVALID),
        (412, "Precondition Failed", Kind.CONFLICT),
        (422, "Unprocessable Entity", Kind.INVALID),
        (500, "It broke.", Kind.TRANSIENT),
    ],
)
def test_each_error_is_sorted_by_its_text_then_its_status(status: int | None, text: str, kind: Kind) -> None:
    assert kind_of(status, text) is kind


@pytest.mark.parametrize(
    "error",
    [
        ServiceRequestError("connection refused"),
        ServiceResponseError("reset"),
        ConnectionResetError(),
        TimeoutError(),
        ProtocolError("Connection broken"),
        RequestsConnectionError("Connection broken"),
    ],
)
def test_a_lost_connection_is_transient(error: Exception) -> None:
    fault = classify(error)
    assert fault is not None
    assert fault.kind is Kind.TRANSIENT


def answer_of_mlflow(status: int, body: str) -> ErrorInfo | None:
    """What is read of the error that MLflow's client makes of an answer."""
    from mlflow.exceptions import MlflowException
    from mlflow.utils.rest_utils import verify_rest_response
    from requests import Response

    response = Response()
    response.status_code, response._content = status, body.encode()
    with pytest.raises(MlflowException) as error:
        verify_rest_response(response, "/api/2.0/mlflow/runs/get")
    return classify(error.value)


@pytest.mark.parametrize(
    ("status", "body", "kind", "code"),
    [
        # zenml-io/zenml 4207
        (404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "Run with id=2bf8 not found"}, Kind.NOT_FOUND,
         "RESOURCE_DOES_NOT_EXIST"),
        # mlflow/mlflow 10694
        (400, {"error_code": "INVALID_PARAMETER_VALUE", "message": "Response: {'Error': {'Code': 'ValidationError'}}"},
         Kind.INVALID, "INVALID_PARAMETER_VALUE"),
        (403, {"error_code": "PERMISSION_DENIED", "message": "x"}, Kind.AUTH, "PERMISSION_DENIED"),
        (429, {"error_code": "REQUEST_LIMIT_EXCEEDED", "message": "x"}, Kind.THROTTLED, "REQUEST_LIMIT_EXCEEDED"),
        # Azure's own form, of which MLflow's client keeps no status.
        (403, {"error": {"code": "AuthorizationFailed", "message": "The client 'x' does not have authorization to perform action"}},
         Kind.ROLES, "AuthorizationFailed"),
        (500, {"error": {"code": "ServiceError", "message": "InternalServerError"}}, Kind.TRANSIENT, "ServiceError"),
        (400, {"error_code": "UserError", "Error": {"Code": "UserError", "Message": "x"}}, Kind.TRANSIENT, "UserError"),
    ],
)  # fmt: skip
def test_what_mlflow_s_client_makes_of_an_answer_is_read(status: int, body: object, kind: Kind, code: str) -> None:
    fault = answer_of_mlflow(status, json.dumps(body))
    assert fault is not None and (fault.kind, fault.code) == (kind, code)
    assert fault.status in (status, None) and "{" not in fault.message.partition("Response:")[0]


@pytest.mark.parametrize(
    ("status", "kind"), [(401, Kind.AUTH), (404, Kind.NOT_FOUND), (502, Kind.TRANSIENT), (200, Kind.TRANSIENT)]
)
def test_a_page_where_mlflow_expects_json_is_told_in_our_words(status: int, kind: Kind) -> None:
    # 401 without a body of JSON: mlflow/mlflow 2888
    fault = answer_of_mlflow(status, "<html>Sign in</html>")
    assert fault is not None and fault.kind is kind
    assert fault.message == "an answer came that is not Azure's, or not all of it"


@pytest.mark.parametrize(("status", "kind"), [(429, Kind.THROTTLED), (503, Kind.TRANSIENT)])
def test_what_mlflow_s_client_has_asked_for_in_vain_keeps_its_status(status: int, kind: Kind) -> None:
    from mlflow.exceptions import MlflowException

    try:
        try:
            raise RetryError(
                f"HTTPSConnectionPool(host='x', port=443): Max retries exceeded (Caused by ResponseError('too many {status} "
                "error responses'))"
            )
        except RetryError as error:
            raise MlflowException(f"API request to https://x failed with exception {error}")  # noqa: B904 - as MLflow does
    except MlflowException as error:
        fault = classify(error)
    assert fault is not None and (fault.kind, fault.status) == (kind, status)


def test_a_failed_sign_in_is_about_authentication_even_without_a_status() -> None:
    for said, kind in (("AADSTS7000215: Invalid client secret provided.", Kind.SIGN_IN), ("No token.", Kind.AUTH)):
        fault = classify(ClientAuthenticationError(said))
        assert fault is not None
        assert fault.kind is kind


def decoded(text: str) -> None:
    json.loads(text)


def test_an_answer_that_is_not_azure_s_is_transient_and_no_decoder_speaks() -> None:
    for spoilt in ("<html>", ""):
        with pytest.raises(ValueError) as raised:
            decoded(spoilt)
        fault = classify(raised.value)
        assert fault is not None and fault.kind is Kind.TRANSIENT
        assert fault.message == "an answer came that is not Azure's, or not all of it"
    fault = classify(DecodeError("JSON is invalid: Expecting value"))
    assert fault is not None and fault.kind is Kind.TRANSIENT and "Expecting" not in fault.message


def test_a_field_that_the_sdk_misses_is_transient_and_one_that_we_miss_is_not() -> None:
    from azure.ai.ml.entities import AmlCompute

    with pytest.raises(AttributeError) as theirs:
        AmlCompute._load_from_rest(None)  # type: ignore[arg-type]
    fault = classify(theirs.value)
    assert fault is not None and fault.kind is Kind.TRANSIENT
    with pytest.raises(AttributeError) as ours:
        None.tags  # type: ignore[attr-defined] # noqa: B018
    assert classify(ours.value) is None


def test_only_three_states_of_a_job_are_ends() -> None:
    from azure.ai.ml._restclient.arm_ml_service.models import JobStatus

    assert {str(state.value) for state in JobStatus} & ENDED == ENDED == {"Completed", "Failed", "Canceled"}


def test_a_state_is_azures_word_however_the_sdk_hands_it_over() -> None:
    from azure.ai.ml._restclient.arm_ml_service.models import JobStatus

    assert [word(state) for state in (JobStatus.COMPLETED, "Completed", None)] == ["Completed", "Completed", ""]


def test_an_error_that_the_sdk_has_wrapped_is_read_through() -> None:
    try:
        try:
            raise ServiceResponseError("reset by peer")
        except ServiceResponseError as inner:
            raise RuntimeError("upload failed") from inner
    except RuntimeError as error:
        fault = classify(error)
    assert fault is not None
    assert fault.kind is Kind.TRANSIENT


def test_an_error_that_another_came_upon_is_read_through_however_deep_it_lies() -> None:
    error: Exception = ServiceResponseError("reset by peer")
    for doing in ("send", "upload", "submit", "run"):
        try:
            try:
                raise error
            except Exception:
                raise RuntimeError(f"{doing} failed")  # noqa: B904
        except RuntimeError as outer:
            error = outer
    fault = classify(error)
    assert fault is not None and fault.kind is Kind.TRANSIENT


@pytest.mark.timeout(60)
def test_errors_that_cause_each_other_are_read_once() -> None:
    first, second = RuntimeError("first"), RuntimeError("second")
    first.__cause__, second.__cause__ = second, first
    assert classify(first) is None


def test_an_error_of_our_own_is_not_taken_for_azures() -> None:
    assert classify(ValueError("no such parameter")) is None


def test_only_azures_own_not_found_counts_as_missing() -> None:
    assert is_not_found(ResourceNotFoundError("gone"))
    assert not is_not_found(ServiceRequestError("no route"))
    assert not is_not_found(KeyError("name"))


def test_what_exists_already_is_a_conflict_even_without_a_status() -> None:
    fault = classify(ResourceExistsError("There is one."))
    assert fault is not None and fault.kind is Kind.CONFLICT


class _Response:
    """What azure-core needs of a response to make an error of it."""

    def __init__(self, status: int, body: dict[str, object], headers: dict[str, str] | None = None) -> None:
        self.status_code, self.reason, self.headers = status, "reason", headers or {}
        self._body = json.dumps(body)

    def text(self) -> str:
        return self._body


def test_the_innermost_detail_tells_more_than_its_wrapper() -> None:
    body = {
        "error": {
            "code": "UserError",
            "message": "not found",
            "details": [{"code": "ModelNotFound", "message": "Model x not found."}],
        }
    }
    fault = classify(ResourceNotFoundError(response=_Response(404, body)))  # type: ignore[arg-type]
    assert fault is not None
    assert (fault.kind, fault.code, fault.message) == (Kind.NOT_FOUND, "ModelNotFound", "Model x not found.")


def test_what_azure_asks_to_wait_is_read() -> None:
    body = {"error": {"code": "TooManyRequests", "message": "slow down"}}
    fault = classify(HttpResponseError(response=_Response(429, body, {"Retry-After": "7"})))  # type: ignore[arg-type]
    assert fault is not None
    assert fault.retry_after == 7


@pytest.mark.parametrize("kind", [Kind.AUTH, Kind.ROLES])
def test_a_second_refusal_is_an_answer(kind: Kind) -> None:
    assert ABOUT[kind].tries == 2


@pytest.mark.parametrize(
    "trace",
    [
        "Trace ID: 3c2b-a1 Correlation ID: 9f8e-77 Timestamp: 2026-11-27 02:00:04Z",
        "RequestId:3c2b-a1\nTime:2026-11-27T02:00:04.1234567Z\nErrorCode:BlobNotFound",
    ],
    ids=["sign-in", "storage"],
)
def test_what_only_azures_support_reads_is_left_out(trace: str) -> None:
    fault = classify(HttpResponseError(f"It is not so at all times. {trace}"))
    assert fault is not None and fault.message == "It is not so at all times."


def test_of_too_many_requests_no_quota_is_asked_for() -> None:
    fault = ErrorInfo(Kind.THROTTLED, "Quota exceeded, slow down.", 429, "TooManyRequests")
    assert "too many requests; run it again later" in fault.sentence("submit pipeline")


def test_what_the_sdk_finds_wrong_itself_is_for_the_caller_to_correct() -> None:
    from azure.ai.ml.exceptions import ValidationException

    fault = classify(ValidationException(message="No such field.", no_personal_data_message="No such field."))
    assert fault is not None and fault.kind is Kind.INVALID


def test_a_sentence_of_azures_is_ended_once() -> None:
    assert ": It broke. What to do:" in ErrorInfo(Kind.PERMANENT, "It broke.").sentence("submit pipeline")


def test_every_kind_is_tried_and_has_a_sentence() -> None:
    for kind in Kind:
        assert ABOUT[kind].tries >= 1
        assert "What to do:" in ErrorInfo(kind, "it broke").sentence("submit pipeline")


@pytest.mark.parametrize(
    ("text", "numbers", "advice"),
    [
        (CLUSTER_QUOTA, "need 24 vCPUs of family Standard NCADSA100v4, have 6", "ask for more quota"),
        (TOTAL_QUOTA, "need 24 vCPUs of all families in the region, have 20", "ask for more of the region's total"),
        (DEPLOYMENT_QUOTA, "need 8 vCPUs for Standard_NC6s_v3, have 6", "ask for more quota"),
        (ENDPOINT_QUOTA, "the quota of endpoints is used up", "delete endpoints that nobody uses"),
    ],
)
def test_a_lack_of_quota_is_told_in_numbers_and_in_azures_words(text: str, numbers: str, advice: str) -> None:
    kind = kind_of(400, text)
    sentence = str(AzureFailure(ErrorInfo(kind, text, 400), "create it"))
    found = shortage_in(text)
    assert found is not None
    assert f"create it failed, {kind} (HTTP 400): {numbers}. Azure: {found.reason}. What to do: {advice}" in sentence
    assert "traceId" not in sentence


@pytest.mark.parametrize(
    "secret",
    [
        "https://a.blob.core.windows.net/c/b?sv=1&sig=SECRET%3D&se=2",
        "Authorization: Bearer SECRET",
        "client_secret=SECRET&x=1",
        '{"primaryKey": "SECRET"}',
        "AccountKey=SECRET;EndpointSuffix=core.windows.net",
        '{"client_secret": "SECRET"}',
        "client_secret: SECRET",
        '"accountKey":"SECRET"',
        "'primaryKey': 'SECRET'",
        "primary_key='SECRET'",
        '"access_token":"SECRET"',
        "HF_TOKEN=SECRET",
        "secondaryKey=SECRET",
        "accessKey=SECRET",
        "storage_key=SECRET",
        "refresh_token=SECRET",
        '"id_token": "SECRET"',
        "sas_token=SECRET",
        "api_key='SECRET'",
        "SharedAccessKey=SECRET",
        "?sv=1&sig%3DSECRET&se=2",
        "Authorization: Basic SECRET",
        "https://user:SECRET@host/path",
        "password=SECRET",
        "eyJhbGciOi.eyJhdWQiSECRET.c2lnbmF0dXJl",
        "the token hf_abcdefSECRET is",
        "key sk-abcdSECRETefgh of",
        "{'Authorization': 'Basic SECRET'}",
        '"userAccessToken": "SECRET"',
    ],
)
def test_secrets_are_taken_out_of_messages(secret: str) -> None:
    assert "SECRET" not in redact(secret)


@pytest.mark.parametrize(
    "plain",
    [
        "https://host:443/path?a=1",
        "the tokenizer has 5 tokens: a, b",
        "key: value",
        "Keys=3 and sign=4",
        "max_tokens=200",
        "11:30:05 a@b",
        "Tier: Basic A100, a basic model",
        "valid_token=3",
    ],
)
def test_what_is_no_secret_stays(plain: str) -> None:
    assert redact(plain) == plain


@pytest.mark.parametrize("error", [HttpResponseError, ServiceRequestError, ConnectionError])
def test_what_azure_refuses_is_told_without_its_secrets(error: type[Exception]) -> None:
    fault = classify(error("Not by https://a.blob.core.windows.net/c?sv=1&sig=SECRET%3D&se=2."))
    assert fault is not None and "Not by https://a.blob" in fault.message
    assert "SECRET" not in fault.message
    assert "SECRET" not in str(AzureFailure(fault, "submit pipeline"))


def test_what_the_flow_says_itself_is_not_replaced_by_its_cause() -> None:
    try:
        raise InvalidConfiguration("there is no such model") from ResourceNotFoundError("404")
    except InvalidConfiguration as error:
        assert classify(error) is None


def test_an_address_that_discovery_did_not_give_is_transient_and_said_in_words() -> None:
    from azure.ai.ml.constants._common import WorkspaceDiscoveryUrlKey

    fault = classify(KeyError(WorkspaceDiscoveryUrlKey.API))
    assert fault is not None
    assert fault.kind is Kind.TRANSIENT
    assert "discovery" in fault.message
    assert classify(KeyError("ours")) is None
