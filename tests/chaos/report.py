"""docs/reliability.md: what the matrix saw."""

from __future__ import annotations

from collections.abc import Sequence

from tests.chaos import verdict
from tests.chaos.calls import MOST_OCCASIONS, OF_A_POLL
from tests.chaos.matrix import PACK, Cell
from tests.chaos.site import BOUND_SECONDS
from tests.emulated import ROOT
from tests.resilience.page import provenance, short, summary, told
from tests.resilience.seen import Outcome, Standing

PAGE = ROOT / "docs" / "reliability.md"

HEAD = """\
# What happens when Azure fails

{summary}

Written by `make chaos` from what it saw. How the flow survives the death of its own processes is in
[reliability-deaths.md](reliability-deaths.md).

## In short

{effects}

* **Once**: the fault hits one occasion of one call. The run must end Completed with exactly one job, one model version, no
  endpoint and no running job.
* **Lasting**: the call goes wrong from that occasion on, for as long as the run lasts. The run must end Failed within {bound}
  s; its message must name the stage and say what is the matter and what to do; it must not have doubled anything; what it
  could not release it must say, and the reaper, which must end Completed, must release it once Azure is well. A run may
  complete without a call only if the call is listed below.

## What was hit

The Azure calls are those in the emulator's own record of runs without faults: runs that train, and runs that take over a
finished job. All occasions of each call are hit, so that the second PUT of an endpoint, which gives it its traffic, is a cell
of its own. What is asked more than {most} times is polled: its occasions {polls} stand for the rest. What a training run has
in common with one that takes over a job is hit in the latter. Faults that last begin at each write, and at the first and the
last occasion of each read; in training runs, at the first occasion of each call, and of what is polled at occasion {last_poll}
too. A call's stages are those that ran when it was made in the runs without faults; all, if none did.

Up to {pack} calls were hit by the same fault in one run, never two occasions of one call; {shared} of the {once} cells of
faults that happen once were seen so. A run that was not as it must be was taken apart, and each of its calls hit alone.
"""


def page(standing: Standing[Cell]) -> str:
    """The page's text."""
    outcomes = sorted(standing.outcomes.values(), key=lambda outcome: outcome.cell.trains)
    once = [outcome for outcome in outcomes if not outcome.cell.lasts]
    text = HEAD.format(
        summary=summary(standing) + " Faults that last were not tried." * all(not cell.lasts for cell in standing.planned),
        effects=_by_effect(outcomes), bound=BOUND_SECONDS, most=MOST_OCCASIONS, polls=", ".join(map(str, OF_A_POLL)),
        last_poll=OF_A_POLL[-1], pack=PACK, shared=sum(bool(its.how) for its in once), once=len(once),
    )  # fmt: skip
    text += told("Not as it must be", standing.red) + provenance(standing)
    text += "\n## Call by call\n\nHow many of its occasions are as they must be; of faults that last, which stage gave up after "
    text += "how many seconds.\n\n" + _table(outcomes) + "\n## What a run can do without\n\n"
    text += "".join(f"* `{glob}`: {why}.\n" for glob, why in verdict.CAN_DO_WITHOUT.items())
    return text + "\n## What the failed runs said\n\n" + _said(outcomes)


def _by_effect(outcomes: Sequence[Outcome[Cell]]) -> str:
    lines = ["| fault | cells | as they must be |", "|---|---|---|"]
    for effect in dict.fromkeys(outcome.cell.effect for outcome in outcomes):
        those = [outcome for outcome in outcomes if outcome.cell.effect == effect]
        once = "" if those[0].cell.lasts else ", once"
        lines.append(f"| {effect}{once} | {len(those)} | {sum(not outcome.wrong for outcome in those)} |")
    return "\n".join(lines)


def _table(outcomes: Sequence[Outcome[Cell]]) -> str:
    """A Markdown table: a line for each call, a column for each fault."""
    rows: dict[str, dict[str, list[Outcome[Cell]]]] = {}
    for outcome in outcomes:
        name = f"`{str(outcome.cell.call).partition(' (')[0]}`{' *t*' * outcome.cell.trains}"
        rows.setdefault(name, {}).setdefault(outcome.cell.effect, []).append(outcome)
    effects = list(dict.fromkeys(outcome.cell.effect for outcome in outcomes))
    lines = [f"| call (*t*: in a run that trained) | {' | '.join(effects)} |", "|---" * (len(effects) + 1) + "|"]
    lines += [
        f"| {name} | {' | '.join(_shown(row.get(effect, [])) for effect in effects)} |" for name, row in rows.items()
    ]
    return "\n".join(lines) + "\n"


def _shown(outcomes: Sequence[Outcome[Cell]]) -> str:
    ends = [
        "**red**" if its.wrong else f"{verdict.stage_of(its.message) or 'completed'} {its.seconds:.0f}"
        for its in outcomes if its.cell.lasts
    ]  # fmt: skip
    good, whole = sum(not its.wrong for its in outcomes), f"of {len(outcomes)}"
    share = f"{good} {whole}" if good == len(outcomes) else f"**{good} {whole}**"
    return ", ".join(ends) or share * bool(outcomes)


def _said(outcomes: Sequence[Outcome[Cell]]) -> str:
    """The last words of the runs that failed, each once, with the calls under which they were said."""
    calls: dict[str, list[Cell]] = {}
    for outcome in outcomes:
        if verdict.stage_of(outcome.message):
            calls.setdefault(short(outcome.message), []).append(outcome.cell)
    return "".join(
        f"* {said}\n" + "".join(f"  * `{cell}`\n" for cell in cells) for said, cells in sorted(calls.items())
    )
