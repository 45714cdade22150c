"""What is sampled, how much of it, and what a row must be. Part of the flow's form."""

from typing import Literal, Self

from pydantic import Field, model_validator

from tasks.form import ParameterGroup

SPLIT_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$"

EndsWith = Literal["assistant", "user", "any"]


class SplitOptions(ParameterGroup):
    """What one split does otherwise than the rest."""

    percent: float | None = Field(
        None, gt=0, le=100, title="Percent", description="Share of this split's rows, in percent. Default: as for all."
    )
    rows: int | None = Field(
        None,
        ge=1,
        title="Rows",
        description="Number of this split's rows; wins over a percentage. Default: as for all.",
    )
    ends_with: EndsWith | None = Field(
        None,
        title="Last speaker",
        description="Who must speak last in every conversation of this split. Default: as its name says.",
    )


class DatasetParameters(ParameterGroup):
    """Which rows of which dataset the model is trained, validated, tested and smoke-scored with."""

    source: str = Field(
        "HuggingFaceH4/ultrachat_200k",
        min_length=1,
        title="Source",
        description=(
            "A Hugging Face dataset id; a local folder, Parquet or JSON Lines file, or glob; or a data asset or datastore "
            "path of the workspace (azureml:NAME:VERSION, azureml://datastores/NAME/paths/PATH)."
        ),
    )
    subset: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        title="Subset",
        description=(
            "The dataset's configuration, for example en. Needed where it has several and its card names no default; where no "
            "card describes any, the name of a folder."
        ),
    )
    revision: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,199}$",
        title="Revision",
        description=(
            "Commit, tag or branch of a Hugging Face dataset. Default: the newest commit of its main branch. The run records "
            "the commit it resolved to."
        ),
        examples=["main"],
    )
    hub_token_block: str | None = Field(
        None,
        title="Hub token block",
        description="Name of the Prefect Secret block that holds a Hugging Face token. Gated and private datasets need one.",
        examples=["hugging-face-token"],
    )
    format: Literal["auto", "messages", "sharegpt", "prompt_response"] = Field(
        "auto",
        title="Format",
        description=(
            "How the rows keep conversations: messages (ultrachat, OpenAI, Foundry), sharegpt (conversations of from and value) or "
            "prompt_response (two columns). auto tells it by the columns."
        ),
    )
    prompt_column: str | None = Field(
        None,
        min_length=1,
        title="Prompt column",
        description="The column of what the user asks, for rows of a prompt and a response. Default: the common names.",
        examples=["instruction"],
    )
    response_column: str | None = Field(
        None,
        min_length=1,
        title="Response column",
        description="The column of what the assistant answers, for rows of a prompt and a response. Default: the common names.",
        examples=["output"],
    )
    percent: float = Field(5.0, gt=0, le=100, title="Percent", description="Share of each split's rows, in percent.")
    rows: int | None = Field(
        None,
        ge=1,
        title="Rows",
        description="Number of rows of each split; wins over percent, but not over a split's own option. A split that has fewer "
        "gives all it has.",
        examples=[5000],
    )
    method: Literal["head", "random"] = Field(
        "head",
        title="Method",
        description="The first rows, or rows at random by a hash of seed and content: the same ones on every machine.",
    )
    seed: int = Field(
        42,
        ge=0,
        title="Seed",
        description="Decides which rows are taken at random, and which are held out for validation.",
    )
    train_split: str = Field(
        "train_sft", pattern=SPLIT_NAME, title="Training split", description="The split that the model learns from."
    )
    validation_split: str | None = Field(
        None,
        pattern=SPLIT_NAME,
        title="Validation split",
        description="The split the trainer validates with. Default: rows held out of the training sample.",
        examples=["validation"],
    )
    validation_percent: float = Field(
        10.0,
        ge=0,
        le=50,
        title="Validation percent",
        description=(
            "Share of the training sample held out for validation, in percent, at least one row, when no validation split is "
            "named. 0 holds out none here: then the component cuts a share of its own off the training rows."
        ),
    )
    test_split: str | None = Field(
        "test_sft",
        pattern=SPLIT_NAME,
        title="Test split",
        description="The split the trained model is tested with; null where the dataset has none.",
    )
    score_split: str | None = Field(
        "test_gen",
        pattern=SPLIT_NAME,
        title="Scoring split",
        description=(
            "The split whose conversations the deployed model is asked to answer; may be the test split. null: those of the test "
            "split are taken, or of the training split where there is none."
        ),
    )
    split_options: dict[str, SplitOptions] = Field(
        default_factory=dict,
        title="Options of single splits",
        description=(
            "By split name: percent (more than 0, at most 100), rows (at least 1), ends_with (assistant, user or any). Without an "
            "option, conversations end with the assistant, except that those of splits named *_gen may end with either speaker."
        ),
        examples=[{"test_sft": {"percent": 100.0}}],
    )
    on_invalid: Literal["fail", "drop"] = Field(
        "fail",
        title="On invalid rows",
        description="Whether rows that break a rule fail the run or are left out of the sample.",
    )
    max_dropped: int = Field(
        100,
        ge=0,
        title="Most rows to drop",
        description="More invalid rows than this in all splits together fail the run even where they may be dropped.",
    )
    max_dropped_percent: float = Field(
        20.0,
        ge=0,
        le=100,
        title="Largest share to drop",
        description="Dropping more than this share of all sampled rows, in percent, fails the run: the data is not what it was.",
    )
    extra_columns: Literal["fail", "drop"] = Field(
        "fail",
        title="On extra columns",
        description=(
            "Whether columns, and fields of messages, that are not of a conversation fail the run or are left out of the sample, "
            "counted on the run's page. Kept in any case: prompt, messages, prompt_id, tools; of a message its role, content, "
            "tool_calls, tool_call_id, thinking, reasoning_content and weight."
        ),
    )
    min_characters: int = Field(
        1,
        ge=1,
        title="Fewest characters",
        description="Fewest characters of a conversation, all its messages together.",
    )
    max_characters: int = Field(
        200_000,
        ge=1,
        le=10_000_000,
        title="Most characters",
        description="Most characters of a conversation, all its messages together.",
    )
    max_tokens: int | None = Field(
        None,
        ge=1,
        title="Most tokens",
        description="Most tokens of a conversation's text, all its messages together, without the chat template's own.",
        examples=[2048],
    )
    tokenizer: str | None = Field(
        None,
        title="Tokenizer",
        description=(
            "The model's tokenizer.json, or a folder that holds it. Needed to bound tokens, and to forecast what can be learnt "
            "where the registry's model has none."
        ),
        examples=["/data/phi-4/tokenizer.json"],
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        names = [name for name in self.splits().values() if name is not None]
        # Nothing is measured with the scoring split.
        own = names[:-1] if self.score_split is not None and self.score_split == self.test_split else names
        if len(set(own)) < len(own):
            raise ValueError(
                f"one split cannot serve twice, but the splits are {', '.join(names)}. Name another, or null for the test or "
                "scoring split that the dataset has not; only the scoring split may be the test's"
            )
        if unknown := set(self.split_options) - set(names):
            raise ValueError(
                f"options are given for {', '.join(sorted(unknown))}, but the splits are {', '.join(names)}"
            )
        if self.min_characters > self.max_characters:
            raise ValueError(f"min_characters {self.min_characters} is more than max_characters {self.max_characters}")
        if (self.prompt_column or self.response_column) and self.format not in ("auto", "prompt_response"):
            raise ValueError(f"columns of a prompt and a response are named, but the format is {self.format}")
        if self.prompt_column is not None and self.prompt_column == self.response_column:
            raise ValueError(f"{self.prompt_column} cannot be both the prompt's and the response's column")
        if self.max_tokens is not None and self.tokenizer is None:
            raise ValueError("max_tokens needs the model's tokenizer: name its tokenizer.json in `tokenizer`")
        return self

    def splits(self) -> dict[str, str | None]:
        """The source's split for each purpose, training first: the others are checked for rows that leaked from it."""
        return {
            "train": self.train_split,
            "validation": self.validation_split,
            "test": self.test_split,
            "score": self.score_split,
        }

    def ends_with(self, split: str) -> EndsWith:
        """Who must speak last in the conversations of `split`."""
        chosen = self.split_options.get(split, SplitOptions()).ends_with
        return chosen or ("any" if split.endswith("_gen") else "assistant")

    def sample_size(self, split: str, total: int) -> int:
        """How many of the `total` rows of `split` are sampled.

        Rounds as `datasets` does for `split="train[0%:5%]"`: to the nearest row, halves to even.
        """
        options = self.split_options.get(split, SplitOptions())
        rows = options.rows or (None if options.percent else self.rows)
        if rows is not None:
            return min(rows, total)
        return round((options.percent or self.percent) * total / 100.0)
