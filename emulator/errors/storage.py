"""Blob storage: XML, with the code in a header as well."""

from __future__ import annotations

from datetime import UTC, datetime
from xml.sax.saxutils import escape

from emulator.errors.shapes import AzureError


def blob(
    status: int, code: str, message: str, *, detail: str | None = None, headers: dict[str, str] | None = None
) -> AzureError:
    """The shape of Azure Storage: XML, its code also in a header. `detail` says why a signature was refused."""
    extra = f"<AuthenticationErrorDetail>{escape(detail)}</AuthenticationErrorDetail>" if detail else ""
    text = escape(f"{message}\nTime:{datetime.now(UTC).strftime('%Y-%m-%dT%H:%M:%S.%f0Z')}")
    body = f'\ufeff<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code><Message>{text}</Message>{extra}</Error>'
    return AzureError(status, body, {"Content-Type": "application/xml", "x-ms-error-code": code, **(headers or {})})


def blob_not_found() -> AzureError:
    return blob(404, "BlobNotFound", "The specified blob does not exist.")


def container_not_found() -> AzureError:
    return blob(404, "ContainerNotFound", "The specified container does not exist.")


def blob_exists() -> AzureError:
    return blob(409, "BlobAlreadyExists", "The specified blob already exists.")


def blob_path_is_folder() -> AzureError:
    """409: blobs are files here, so one blob's name cannot be the folder of another."""
    return blob(
        409, "PathConflict", "The specified path, or an element of the path, exists and its resource type is invalid."
    )


def invalid_uri(reason: str) -> AzureError:
    """400: a name that no blob can have."""
    return blob(
        400, "InvalidUri", f"The requested URI does not represent any resource on the server. {reason}".rstrip()
    )


def blob_condition_not_met() -> AzureError:
    return blob(412, "ConditionNotMet", "The condition specified using HTTP conditional header(s) is not met.")


def invalid_range(size: int) -> AzureError:
    message = "The range specified is invalid for the current size of the resource."
    return blob(416, "InvalidRange", message, headers={"Content-Range": f"bytes */{size}"})


def invalid_header(name: str, value: str) -> AzureError:
    return blob(
        400,
        "InvalidHeaderValue",
        f"The value for one of the HTTP headers is not in the correct format. {name}: {value[:200]}",
    )


def invalid_query(name: str, reason: str = "") -> AzureError:
    message = "Value for one of the query parameters specified in the request URI is invalid."
    return blob(400, "InvalidQueryParameterValue", f"{message} {name} {reason}".rstrip())


def unsupported_header(name: str) -> AzureError:
    return blob(400, "UnsupportedHeader", f"One of the headers specified in the request is not supported. {name}")


def unsupported_verb() -> AzureError:
    return blob(405, "UnsupportedHttpVerb", "The resource doesn't support specified Http Verb.")


def blob_body_incomplete() -> AzureError:
    return blob(400, "IncompleteBody", "The request body is shorter than its Content-Length.")


def blob_body_too_large(limit: int) -> AzureError:
    message = f"The request body is too large and exceeds the maximum permissible limit of {limit} bytes."
    return blob(413, "RequestBodyTooLarge", message)


def missing_content_length() -> AzureError:
    return blob(411, "MissingContentLengthHeader", "Content-Length HTTP header is missing.")


def md5_mismatch() -> AzureError:
    message = "The MD5 value specified in the request did not match with the MD5 value calculated by the server."
    return blob(400, "Md5Mismatch", message)


def invalid_metadata(name: str) -> AzureError:
    return blob(
        400,
        "InvalidMetadata",
        f"The specified metadata is invalid. It has characters that are not permitted: {name[:200]}",
    )


def invalid_block_list() -> AzureError:
    return blob(400, "InvalidBlockList", "The specified block list is invalid.")


def invalid_xml() -> AzureError:
    return blob(400, "InvalidXmlDocument", "XML specified is not syntactically valid.")


def no_authentication(authority: str) -> AzureError:
    """401 of Azure Storage: neither a token nor a signature came with the request."""
    challenge = f"Bearer authorization_uri={authority}/oauth2/authorize resource_id=https://storage.azure.com"
    message = (
        "Server failed to authenticate the request. Please refer to the information in the www-authenticate header."
    )
    return blob(401, "NoAuthenticationInformation", message, headers={"WWW-Authenticate": challenge})


def storage_token_refused(authority: str, reason: str) -> AzureError:
    """401 of Azure Storage: the bearer token is not good."""
    challenge = f"Bearer authorization_uri={authority}/oauth2/authorize resource_id=https://storage.azure.com"
    message = (
        "Server failed to authenticate the request. Please refer to the information in the www-authenticate header."
    )
    return blob(401, "InvalidAuthenticationInfo", message, detail=reason, headers={"WWW-Authenticate": challenge})


def signature_refused(detail: str) -> AzureError:
    """403: a shared access signature that is forged, expired, not yet good, or of another resource."""
    message = (
        "Server failed to authenticate the request. Make sure the value of Authorization header is formed correctly including "
        "the signature."
    )
    return blob(403, "AuthenticationFailed", message, detail=detail)


def signature_lacks(what: str) -> AzureError:
    """403: a good signature that does not grant `what` (Permission, Service, ResourceType, SourceIP)."""
    sentences = {
        "Permission": "This request is not authorized to perform this operation using this permission.",
        "Service": "This request is not authorized to perform this operation using this service.",
        "ResourceType": "This request is not authorized to perform this operation using this resource type.",
        "SourceIP": "This request is not authorized to perform this operation using this source IP.",
    }
    return blob(403, f"Authorization{what}Mismatch", sentences[what])


def account_key_refused() -> AzureError:
    """403: the account takes signatures and tokens, never its own key."""
    return blob(
        403, "KeyBasedAuthenticationNotPermitted", "Key based authentication is not permitted on this storage account."
    )
