"""What a run shows in Prefect's UI. Keys are lower case with dashes, as Prefect wants them."""

from __future__ import annotations

import math
import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Any

from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.context import FlowRunContext, TaskRunContext
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from tasks.stage import run_logger


def publish_table(key: str, description: str, rows: list[dict[str, Any]]) -> None:
    """A table; nothing outside a run or without rows."""
    if rows and in_a_run():
        shown(key, lambda: create_table_artifact(rows, key=key, description=description))


def publish_markdown(key: str, description: str, markdown: str) -> None:
    """A page of markdown; nothing outside a run."""
    if in_a_run():
        shown(key, lambda: create_markdown_artifact(markdown, key=key, description=description))


def in_a_run() -> bool:
    """Whether there is a run that an artifact could belong to."""
    return bool(FlowRunContext.get() or TaskRunContext.get())


def shown(key: str, show: Callable[[], Any]) -> None:
    """Calls `show`; what only is to be looked at never fails a run, nor holds it up while Prefect's server is away."""
    try:
        with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 1}):
            show()
    except Exception as error:
        run_logger().warning("%s could not be shown in Prefect's UI: %s", key, error)


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table under a header. Cells may hold markdown, for a link."""
    lines = [" | ".join(_cell(value) for value in row) for row in (header, *rows)]
    lines.insert(1, " | ".join("---" for _ in header))
    return "\n".join(f"| {line} |" for line in lines)


def link(text: str, url: str) -> str:
    """`text`, leading to `url` if there is one."""
    return f"[{text}]({url})" if url else text


def plain(text: str) -> str:
    """`text` as somebody else wrote it: nothing in it becomes a link, a picture or a heading."""
    return re.sub(r"([\\`*_{}\[\]<>#|!~])", r"\\\1", text)


def quoting(text: str) -> str:
    """A sentence of ours that quotes others: addresses in it can be clicked, and nothing else is markup."""
    parts = re.split(r"(https?://[^\s|<>\[\]()`]+)", text)
    return "".join(part if number % 2 else plain(part) for number, part in enumerate(parts))


def duration(seconds: float) -> str:
    """In the unit that is read most easily: 0.4 s, 4 min 56 s, 3 h 12 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def line_chart(curves: Mapping[str, Sequence[tuple[float, float]]], width: int = 640, height: int = 280) -> str:
    """`curves` of (step, y) points as an SVG image in markdown, one colour each; empty if there is no point. What is not finite
    is left out."""
    series = {name: [point for point in line if math.isfinite(point[1])] for name, line in curves.items()}
    points = [point for line in series.values() for point in line]
    if not points:
        return ""
    (left, right), (low, high) = _span(x for x, _ in points), _span(y for _, y in points)
    margin = 48

    def place(x: float, y: float) -> tuple[float, float]:
        across = margin + (x - left) / (right - left) * (width - 2 * margin)
        down = height - margin - (y - low) / (high - low) * (height - 2 * margin)
        return round(across, 1), round(down, 1)

    parts = [f'<rect width="{width}" height="{height}" fill="white"/>']
    for y in (low, (low + high) / 2, high):
        down = place(left, y)[1]
        parts.append(f'<path d="M{margin} {down}H{width - margin}" stroke="#e2e8f0"/>')
        parts.append(_text(margin - 8, down + 4, f"{y:.3g}", anchor="end"))
    parts += [_text(place(x, low)[0], height - margin + 20, f"{x:g}", anchor="middle") for x in (left, right)]
    parts.append(_text(width / 2, height - margin + 20, "step", anchor="middle"))
    for number, (name, line) in enumerate(series.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        places = [place(x, y) for x, y in line]
        path = " ".join(f"{across},{down}" for across, down in places)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{across}" cy="{down}" r="2.5" fill="{colour}"/>' for across, down in places]
        parts.append(_text(margin + 150 * number, 24, name, colour))
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">{"".join(parts)}</svg>'
    return f"![{', '.join(series)}](data:image/svg+xml;base64,{b64encode(svg.encode()).decode()})"


_COLOURS = ("#2563eb", "#dc2626", "#059669")


def _span(values: Any) -> tuple[float, float]:
    every = list(values)
    low, high = min(every), max(every)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _text(x: float, y: float, text: str, colour: str = "#475569", anchor: str = "start") -> str:
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="12" font-family="sans-serif" fill="{colour}" text-anchor="{anchor}">'
        f"{escape(text)}</text>"
    )


def _cell(value: Any) -> str:
    return re.sub(r"(?<!\\)\|", r"\\|", str(value)).replace("\n", " ")
