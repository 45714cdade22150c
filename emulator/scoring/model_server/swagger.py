"""What `GET /swagger.json` says."""

from typing import Any


def document(name: str) -> dict[str, Any]:
    """The OpenAPI description of a deployment's scoring routes."""
    message = {
        "type": "object",
        "required": ["role", "content"],
        "properties": {"role": {"type": "string"}, "content": {"type": "string"}},
    }
    request = {
        "type": "object",
        "required": ["input_data"],
        "properties": {
            "input_data": {
                "type": "object",
                "required": ["input_string"],
                "properties": {
                    "input_string": {"type": "array", "items": message},
                    "parameters": {"type": "object"},
                },
            }
        },
        "example": {
            "input_data": {
                "input_string": [{"role": "user", "content": "Hello"}],
                "parameters": {"max_new_tokens": 50},
            }
        },
    }
    answer = {"type": "object", "properties": {"output": {"type": "string"}}}
    return {
        "openapi": "3.0.3",
        "info": {
            "title": name,
            "version": "1.0",
            "description": f"API specification for the Azure ML deployment of {name}",
        },
        "paths": {
            "/": {"get": {"operationId": "ServiceHealthCheck", "responses": {"200": {"description": "Healthy"}}}},
            "/score": {
                "post": {
                    "operationId": "RunMLService",
                    "requestBody": {"content": {"application/json": {"schema": request}}, "required": True},
                    "responses": {
                        "200": {"description": "The answer", "content": {"application/json": {"schema": answer}}},
                        "400": {"description": "The body is wrong"},
                        "500": {"description": "The model failed"},
                    },
                }
            },
        },
    }
