"""Models of which a test needs a part."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel

M = TypeVar("M", bound=BaseModel)


def with_only(model: type[M], **fields: Any) -> M:
    """A `model` that has these fields and its defaults, whatever else it asks for."""
    return model.model_construct(**fields)
