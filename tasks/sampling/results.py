"""What a sample is: its files, what is in them, and where it came from."""

from pathlib import Path

from pydantic import BaseModel, Field


class Bucket(BaseModel):
    """One bar of a histogram."""

    upper: int = Field(description="Largest value that is counted here.")
    rows: int


class SourceFile(BaseModel):
    """A file of the source that a split was read from."""

    name: str = Field(description="Relative to the source.")
    bytes: int


class DroppedRows(BaseModel):
    """Rows that broke one rule and were left out."""

    rule: str
    rows: int
    first: str = Field(description="File and row of the first, and what it holds, in short.")


class Outlook(BaseModel):
    """What would be sampled of a split."""

    split: str
    rows: int = Field(description="Rows that would be sampled.")
    source_rows: int = Field(description="Rows of the whole split at the source.")


class SampledSplit(BaseModel):
    """One JSON Lines file of the sample: UTF-8, one conversation a line."""

    split: str = Field(description="The source's split that the rows were taken from.")
    path: Path
    rows: int
    source_rows: int = Field(description="Rows of the whole split at the source.")
    dropped: int = Field(description="Sampled rows that broke a rule and were left out.")
    dropped_for: list[DroppedRows] = Field([], description="The same by rule.")
    bytes: int
    sha256: str = Field(description="Of the file's bytes, in hex.")
    turns: list[Bucket] = Field(description="Messages of a conversation.")
    characters: list[Bucket] = Field(description="Characters of a conversation, all its messages together.")
    files: list[SourceFile] = Field([], description="The source's files that the split is made of, all of them.")
    left_out: dict[str, int] = Field(
        {}, description="Columns, and fields of messages, that were not kept: of how many sampled rows."
    )
    kept: dict[str, int] = Field(
        {}, description="What messages carry beside role and text, and the file keeps: in how many rows."
    )


class SampledDataset(BaseModel):
    """A sample as it lies on disk."""

    source: str
    subset: str = Field("default", description="The source's configuration, as `datasets` names it.")
    revision: str = Field(
        description="Pins the source's content: a hub commit, a hash of its blobs' ETags, or of what was sampled."
    )
    key: str = Field(description="Hash of revision, parameters and writer: samples with the same key are the same.")
    sha256: str = Field(description="Names the content: a hash of the splits' purposes and hashes, in hex.")
    writer: str = Field(description="Version of the code that chose and wrote the rows.")
    train: SampledSplit
    validation: SampledSplit | None
    test: SampledSplit | None
    score: SampledSplit | None
    reused: bool = Field(False, description="Whether an earlier run wrote it.")

    def splits(self) -> dict[str, SampledSplit]:
        """The files by purpose, only those that there are."""
        every = {"train": self.train, "validation": self.validation, "test": self.test, "score": self.score}
        return {purpose: split for purpose, split in every.items() if split is not None}
