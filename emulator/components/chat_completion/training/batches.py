"""The order of rows, and rows made into tensors."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from emulator.components.chat_completion.encoded import EncodedSplit
from emulator.components.chat_completion.training.plan import Plan

if TYPE_CHECKING:
    import torch

# Rows are sorted by length within this many batches at a time: little padding, and the order stays random enough.
BATCHES_SORTED_TOGETHER = 8


@dataclass(frozen=True)
class Batch:
    """Rows as tensors.

    Attributes:
        inputs: token ids, rows by positions.
        attention: 1 where there is a token, 0 where there is padding; None where nothing is padded.
        predicts: positions (row-major, flat) whose next token is to be learnt.
        targets: those next tokens.
    """

    inputs: "torch.Tensor"
    attention: "torch.Tensor | None"
    predicts: "torch.Tensor"
    targets: "torch.Tensor"

    @property
    def tokens(self) -> int:
        """Tokens that are not padding."""
        return int(self.attention.sum()) if self.attention is not None else self.inputs.numel()


def collate(split: EncodedSplit, rows: Sequence[int], pad_to: int | None = None) -> Batch:
    """Makes a batch of the rows with these indices, padded to the longest of them or to `pad_to` tokens."""
    import torch

    lengths = split.lengths[list(rows)]
    width = max(int(lengths.max()), pad_to or 0)
    # The padding's id is of no consequence: it is neither attended to nor learnt.
    inputs = np.zeros((len(rows), width), np.int64)
    labelled = np.zeros((len(rows), width), np.bool_)
    for line, row in enumerate(rows):
        inputs[line, : lengths[line]], labelled[line, : lengths[line]] = split.row(row)
    attention = (np.arange(width) < lengths[:, None]).astype(np.int64)
    # A token is predicted from the position before it.
    learnt = np.zeros_like(labelled)
    learnt[:, :-1] = labelled[:, 1:]
    return Batch(
        inputs=torch.from_numpy(inputs),
        attention=None if attention.all() else torch.from_numpy(attention),
        predicts=torch.from_numpy(np.flatnonzero(learnt)),
        targets=torch.from_numpy(inputs[:, 1:][labelled[:, 1:]]),
    )


def epoch_order(lengths: NDArray[np.int64], batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """The batches (row indices) of one epoch; the same for the same seed and epoch, whatever came before."""
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(len(lengths))
    if batch_size == 1:
        return [[int(row)] for row in order]
    stretch = batch_size * BATCHES_SORTED_TOGETHER
    batches: list[list[int]] = []
    for start in range(0, len(order), stretch):
        part = order[start : start + stretch]
        part = part[np.argsort(-lengths[part], kind="stable")]
        cut = [part[n : n + batch_size].tolist() for n in range(0, len(part), batch_size)]
        batches += [cut[n] for n in random.permutation(len(cut))]
    return batches


def steps_from(lengths: NDArray[np.int64], plan: Plan, done: int) -> Iterator[tuple[int, list[list[int]]]]:
    """Yields each step's number (from `done` + 1 to the plan's last) with the batches that it accumulates."""
    step = done
    while step < plan.total_steps:
        epoch, within = divmod(step, plan.steps_per_epoch)
        batches = iter(epoch_order(lengths, plan.batch_size, plan.seed, epoch))
        for _ in range(within):
            list(islice(batches, plan.accumulation))
        while step < plan.total_steps and (group := list(islice(batches, plan.accumulation))):
            step += 1
            yield step, group


def evaluation_order(lengths: NDArray[np.int64], batch_size: int) -> list[list[int]]:
    """Batches of rows of like length, shortest first."""
    order = np.argsort(lengths, kind="stable")
    return [order[start : start + batch_size].tolist() for start in range(0, len(order), batch_size)]
