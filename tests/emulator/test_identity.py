"""Tokens are issued by Entra's rules and checked on every call."""

from __future__ import annotations

import jwt
import pytest
import requests
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.identity import ClientSecretCredential, DefaultAzureCredential

from emulator.identity.tokens import Tokens
from tests.emulated import Emulator

ARM = "https://management.azure.com"


def call_workspace(emulator: Emulator, token: str | None) -> requests.Response:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    url = f"{ARM}{emulator.installation.workspace_id}?api-version=2024-10-01"
    return requests.get(url, headers=headers, timeout=10)


def test_the_default_credential_signs_in_with_the_printed_environment(emulator: Emulator) -> None:
    token = DefaultAzureCredential().get_token(f"{ARM}/.default").token
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["aud"] == ARM
    assert claims["tid"] == emulator.installation.tenant_id
    assert call_workspace(emulator, token).status_code == 200


def test_anyone_can_check_a_token_with_the_published_keys(emulator: Emulator) -> None:
    token = emulator.credential().get_token("https://ml.azure.com/.default").token
    base = f"https://login.microsoftonline.com/{emulator.installation.tenant_id}"
    configuration = requests.get(f"{base}/v2.0/.well-known/openid-configuration", timeout=10).json()
    keys = jwt.PyJWKSet.from_dict(requests.get(configuration["jwks_uri"], timeout=10).json())
    jwt.decode(
        token, keys[jwt.get_unverified_header(token)["kid"]].key, algorithms=["RS256"], audience="https://ml.azure.com"
    )


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"client_secret": "wrong"}, "AADSTS7000215"),
        ({"client_id": "00000000-0000-0000-0000-000000000001"}, "AADSTS700016"),
        ({"tenant_id": "00000000-0000-0000-0000-000000000002"}, "Unable to get authority configuration"),
    ],
)
def test_a_wrong_sign_in_gets_entras_own_refusal(emulator: Emulator, change: dict[str, str], code: str) -> None:
    env = emulator.environment()
    right = {
        "tenant_id": env["AZURE_TENANT_ID"],
        "client_id": env["AZURE_CLIENT_ID"],
        "client_secret": env["AZURE_CLIENT_SECRET"],
    }
    with pytest.raises(ClientAuthenticationError) as refused:
        ClientSecretCredential(**{**right, **change}).get_token(f"{ARM}/.default")
    assert code in str(refused.value)
    assert env["AZURE_CLIENT_SECRET"] not in str(refused.value)


def test_a_token_is_refused_when_missing_expired_broken_or_for_another_audience(emulator: Emulator) -> None:
    tokens = Tokens(emulator.installation)
    principal = emulator.installation.principals[0]
    good = tokens.issue(principal, ARM)
    head, payload, signature = good.split(".")
    other = "A" if signature[5] != "A" else "B"
    refused = {
        "missing": None,
        "expired": tokens.issue(principal, ARM, lifetime=-60),
        "altered": f"{head}.{payload}.{signature[:5]}{other}{signature[6:]}",
        "unsigned": jwt.encode({"aud": ARM, "appid": principal.client_id}, key="", algorithm="none"),
        "foreign audience": tokens.issue(principal, "https://storage.azure.com"),
        "no token": "x" * 50,
    }
    for why, token in refused.items():
        answer = call_workspace(emulator, token)
        assert answer.status_code == 401, why
        assert answer.json()["error"]["code"] in ("InvalidAuthenticationToken", "AuthenticationFailed"), why
        assert answer.headers["WWW-Authenticate"].startswith("Bearer authorization_uri="), why
    assert call_workspace(emulator, good).status_code == 200


def test_who_has_no_token_yet_is_told_where_to_get_one(emulator: Emulator) -> None:
    [cloud] = requests.get(f"{ARM}/metadata/endpoints?api-version=2022-09-01", timeout=10).json()
    assert cloud["resourceManager"].rstrip("/") == ARM
    assert ARM in {audience.rstrip("/") for audience in cloud["authentication"]["audiences"]}
    login = f"{cloud['authentication']['loginEndpoint']}/{emulator.installation.tenant_id}"
    answer = requests.get(f"{login}/v2.0/.well-known/openid-configuration", timeout=10)
    assert answer.json()["token_endpoint"] == f"{login}/oauth2/v2.0/token"


def test_a_reader_may_look_and_not_touch(emulator: Emulator) -> None:
    from azure.ai.ml.entities import AmlCompute

    reader = emulator.client("reader")
    assert reader.workspaces.get(emulator.installation.workspace).name == emulator.installation.workspace
    with pytest.raises(HttpResponseError) as refused:
        reader.compute.begin_create_or_update(AmlCompute(name="readers-own", size="Standard_NC6s_v3"))
    assert refused.value.status_code == 403
    assert "Microsoft.MachineLearningServices/workspaces/computes/write" in str(refused.value)
    with pytest.raises(HttpResponseError, match="listSecrets/action"):
        reader.datastores.get("workspaceblobstore", include_secrets=True)


def test_no_secret_reaches_the_log(emulator: Emulator) -> None:
    client = emulator.client()
    secret = client.datastores.get("workspaceblobstore", include_secrets=True).credentials
    token = emulator.credential().get_token(f"{ARM}/.default").token
    call_workspace(emulator, token)
    here = emulator.installation
    planted = [token, here.storage_key, here.token_key.splitlines()[2], *(p.secret for p in here.principals)]
    planted.append(str(vars(secret).get("sas_token") or vars(secret)["account_key"]))
    for value in planted:
        assert value not in emulator.log
