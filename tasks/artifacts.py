"""What a run shows in Prefect's UI. Keys are lower case with dashes, as Prefect wants them."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from typing import Any

from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.context import FlowRunContext, TaskRunContext


def publish_table(key: str, description: str, rows: list[dict[str, Any]]) -> None:
    """A table; nothing outside a run or without rows."""
    if rows and _in_a_run():
        create_table_artifact(rows, key=key, description=description)


def publish_markdown(key: str, description: str, markdown: str) -> None:
    """A page of markdown; nothing outside a run."""
    if _in_a_run():
        create_markdown_artifact(markdown, key=key, description=description)


def markdown_table(rows: dict[str, Any]) -> str:
    """Two columns: what, and its value."""
    lines = [f"| {name} | {_cell(value)} |" for name, value in rows.items()]
    return "\n".join(["| | |", "|---|---|", *lines])


def line_chart(series: dict[str, Sequence[tuple[float, float]]], width: int = 640, height: int = 280) -> str:
    """`series` of (x, y) points as an SVG image in markdown, one colour each; empty if there is no point."""
    points = [point for line in series.values() for point in line]
    if not points:
        return ""
    (left, right), (low, high) = _span(x for x, _ in points), _span(y for _, y in points)
    margin = 48

    def place(x: float, y: float) -> tuple[float, float]:
        across = margin + (x - left) / (right - left) * (width - 2 * margin)
        down = height - margin - (y - low) / (high - low) * (height - 2 * margin)
        return round(across, 1), round(down, 1)

    parts = [
        f'<rect width="{width}" height="{height}" fill="white"/>',
        *(_text(4, place(left, y)[1] + 4, f"{y:.3g}") for y in (low, (low + high) / 2, high)),
        *(_text(place(x, low)[0] - 8, height - margin + 18, f"{x:g}") for x in (left, right)),
    ]
    for number, (name, line) in enumerate(series.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        places = [place(x, y) for x, y in line]
        path = " ".join(f"{across},{down}" for across, down in places)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{across}" cy="{down}" r="2.5" fill="{colour}"/>' for across, down in places]
        parts.append(_text(margin + 130 * number, 20, name, colour))
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">{"".join(parts)}</svg>'
    return f"![{', '.join(series)}](data:image/svg+xml;base64,{b64encode(svg.encode()).decode()})"


_COLOURS = ("#2563eb", "#dc2626", "#059669")


def _in_a_run() -> bool:
    return bool(FlowRunContext.get() or TaskRunContext.get())


def _span(values: Any) -> tuple[float, float]:
    every = list(values)
    low, high = min(every), max(every)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _text(x: float, y: float, text: str, colour: str = "#475569") -> str:
    return f'<text x="{x:g}" y="{y:g}" font-size="12" font-family="sans-serif" fill="{colour}">{text}</text>'


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
