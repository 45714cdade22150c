"""What became of the rows of a split: the trainer's own figures, as metrics of the job."""

from dataclasses import dataclass

from emulator.components.chat_completion.encoded import EncodedSplit


@dataclass
class Figures:
    """Counts of one data input.

    Attributes:
        rows: rows that were read.
        too_long: rows left out because no answer begins within the sequence length.
        nothing_to_learn: rows left out because they hold no answer to learn at all: none, only ones of weight 0, or only
            ones that the chat template does not write.
        truncated: rows used of which the end is cut off.
        answers_left_out: answers to learn that are not learnt, or not whole: cut off, or changed by the chat template.
        answers_changed: those of them that the chat template changes.
        first_changed: where the first of those stands.
    """

    rows: int = 0
    too_long: int = 0
    nothing_to_learn: int = 0
    truncated: int = 0
    answers_left_out: int = 0
    answers_changed: int = 0
    first_changed: str = ""

    @property
    def left_out(self) -> int:
        return self.too_long + self.nothing_to_learn

    def reasons(self, limit: int) -> str:
        """Why rows were left out, each with its number."""
        reasons = {
            f"have no answer within max_seq_length, {limit} tokens": self.too_long,
            "have nothing to learn (no answer, one of weight 0, or one that the chat template drops)": self.nothing_to_learn,
        }
        return ", ".join(f"{number} {reason}" for reason, number in reasons.items() if number)

    def metrics(self, split: str) -> dict[str, float]:
        """The figures under the names that they are logged by."""
        return {
            f"{split}_rows_left_out": self.left_out,
            f"{split}_rows_left_out_too_long": self.too_long,
            f"{split}_rows_left_out_nothing_to_learn": self.nothing_to_learn,
            f"{split}_rows_truncated": self.truncated,
            f"{split}_answers_left_out": self.answers_left_out,
        }


def use(split: str, rows: EncodedSplit) -> dict[str, float]:
    """What training uses of a split, as metrics."""
    return {
        f"{split}_rows_used": len(rows),
        f"{split}_tokens": len(rows.tokens),
        f"{split}_tokens_with_loss": int(rows.labelled.sum()),
    }
