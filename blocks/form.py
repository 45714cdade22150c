"""How Prefect's forms show fields: in the order in which they are declared, which is none for those without a position."""

from __future__ import annotations

from typing import Any

from prefect.blocks.core import Block, schema_extra


def number_fields(schema: dict[str, Any]) -> None:
    """Gives each field of a class's JSON schema its position."""
    for position, field in enumerate(schema["properties"].values()):
        field["position"] = position


def block_schema(schema: dict[str, Any], block: type[Block]) -> None:
    """What a block's class does to its schema (`json_schema_extra`): Prefect's part, and the positions."""
    schema_extra(schema, block)
    number_fields(schema)
