"""The end of the demo: one page that says what was made and what it is worth."""

from __future__ import annotations

from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from flows.outcome import FlowResult
from tasks.naming import dated


def show(result: FlowResult, seconds: float, console: Console | None = None) -> None:
    """Prints the page. `seconds` is what the whole demo took."""
    console = console or Console(width=100)
    console.print(
        Panel(Group(_facts(result), *_conversations(result), _times(result)), title=_title(result), padding=(1, 2))
    )
    console.print(
        f"All of this happened on this machine in {seconds:.0f} s, through the real Azure ML SDK. Nothing is left running."
    )


def _title(result: FlowResult) -> str:
    if result.model is None:
        return "The model was not good enough: nothing was registered or deployed"
    return f"{result.model.name}, version {dated(result.model.version)}"


def _facts(result: FlowResult) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    data, review = result.dataset, result.review
    table.add_row("base model", f"{result.base_model.name} {result.base_model.version}")
    held_out = f", {data.validation.rows} held out" if data.validation else ""
    trained = str(review.learnt["train"].used) if "train" in review.learnt else f"an unknown part of {data.train.rows}"
    table.add_row("trained on", f"{trained} conversations{held_out}; sha256 {data.sha256[:16]}")
    table.add_row("job", f"{result.job.name} on {result.compute.cluster} ({result.compute.size})")
    if review.eval_loss is not None and review.eval_loss_before is not None:
        change = Text(
            f"{review.eval_loss_before:.3f} -> {review.eval_loss:.3f}",
            style="bold green" if result.model else "bold red",
        )
        table.add_row("loss on held-out rows", change)
    if result.endpoint is not None:
        table.add_row("answered at", result.endpoint.scoring_uri)
    table.add_row("torn down", str(result.released))
    return table


def _conversations(result: FlowResult) -> list[Panel]:
    if result.smoke is None:
        return []
    return [
        Panel(
            Text.assemble(
                ("user   ", "dim"), answer.question.strip(), ("\nmodel  ", "dim"), (answer.answer.strip(), "bold")
            ),
            subtitle=f"{answer.seconds:.1f} s over HTTPS",
            subtitle_align="right",
        )
        for answer in result.smoke.answers
    ]


def _times(result: FlowResult) -> Text:
    return Text(" | ".join(f"{stage} {seconds:.0f} s" for stage, seconds in result.seconds.items()), style="dim")
