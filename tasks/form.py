"""What every group of the flow's parameters has in common."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, ConfigDict

from blocks.form import number_fields

_BOUNDS = (
    ("minimum", "at least {:,}"),
    ("exclusiveMinimum", "more than {:,}"),
    ("maximum", "at most {:,}"),
    ("exclusiveMaximum", "less than {:,}"),
    ("maxLength", "at most {:,} characters"),
)


def _as_a_person_reads_it(schema: dict[str, Any]) -> None:
    """Numbers the fields, and ends each description with what the form does not show: bounds, default and an example."""
    number_fields(schema)
    for field in schema["properties"].values():
        said = field["description"]
        told = [*_bounds(field), *_default(field, said), *_example(field, said)]
        field["description"] = f"{said} {_sentence('; '.join(told))}".strip()


def _bounds(field: dict[str, Any]) -> list[str]:
    for variant in (field, *field.get("anyOf", [])):
        told = [words.format(variant[key]) for key, words in _BOUNDS if key in variant]
        # Of a name its own sentence says which are taken.
        if told and "pattern" not in variant:
            return [", ".join(told)]
    return []


def _default(field: dict[str, Any], said: str) -> list[str]:
    default = field.get("default")
    return [] if default in (None, {}) or "Default:" in said else [f"default {shown(default)}"]


def _example(field: dict[str, Any], said: str) -> list[str]:
    return [f"for example {shown(field['examples'][0])}"] if "examples" in field and "or example" not in said else []


def shown(value: Any) -> str:
    """A value as a description has it."""
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else json.dumps(value)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}." if text else ""


class ParameterGroup(BaseModel):
    """A group of the form. Unknown names are refused, so that a misspelt parameter never passes for its default."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, protected_namespaces=(), json_schema_extra=_as_a_person_reads_it
    )
