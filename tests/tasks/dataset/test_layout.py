"""Which files are which split: ours takes exactly what `datasets` takes, of made-up trees and of public ones, or refuses."""

import re
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from tasks.sampling.errors import SourceUnavailable
from tasks.sampling.layout import layout_of
from tasks.sampling.names import named_after, refuse_unlike
from tasks.sampling.sample import sample
from tasks.sampling.source import resolve
from tasks.sampling.tree import DataFile, Tree
from tests.tasks.dataset.made import conversations, only_train, read_jsonl, write_jsonl

Splits = dict[str, list[str]]
Config = dict[str, Any]

REASONS = (
    r"would be made of files that are not alike",
    r"is there in \d formats",
    r"is incomplete: of the \d+ files",
    r"holds files of two uploads",
    r"which is not Parquet, JSON Lines, JSON, CSV or Arrow by its name",
)
"""Why ours may refuse what `datasets` takes."""


@dataclass(frozen=True)
class MadeTree:
    """A folder's files by name, what its card says, and what is asked of it."""

    files: list[str]
    configs: list[Config] = field(default_factory=list)
    card: str = "README.md"
    subset: str | None = None
    absent: str = "train_sft"
    """A split that is asked for whether it is there or not."""

    def write(self, folder: Path) -> Path:
        for name in self.files:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        if self.configs:
            described = yaml.safe_dump({"license": "mit", "configs": self.configs}, sort_keys=False)
            written = f"---\n{described}---\n\n# Card\n" if self.card == "README.md" else described
            (folder / self.card).write_text(written)
        return folder


def datasets_finds(folder: Path, subset: str | None = None, *, described: bool = False) -> Splits:
    """The files of each split by `datasets` itself, each of them once."""
    import datasets

    is_folder = not described and subset is not None and (folder / subset).is_dir()
    chosen = {"data_dir": subset} if is_folder else {"name": subset}
    with tempfile.TemporaryDirectory() as cache:
        builder = datasets.load_dataset_builder(str(folder), cache_dir=cache, **chosen)
    return {
        str(split): list(dict.fromkeys(Path(path).relative_to(folder.resolve()).as_posix() for path in paths))
        for split, paths in builder.config.data_files.items()
    }


def ours_finds(folder: Path, splits: Iterable[str], subset: str | None = None) -> Splits:
    """The files of each split by ours."""
    found = resolve(str(folder), splits, subset=subset)
    return {split: [file.name for file in files] for split, files in found.splits.items()}


def shards(stem: str, count: int, suffix: str = ".parquet", hashes: bool = False) -> list[str]:
    """Numbered as `push_to_hub` numbers them."""
    return [
        f"{stem}-{index:05}-of-{count:05}{f'-{index + 0xA3ECF927:016x}' if hashes else ''}{suffix}"
        for index in range(count)
    ]


WORDS = [
    "train", "training", "test", "validation", "valid", "dev", "val", "eval", "data", "chats", "part", "sft", "gen", "english",
    "german", "2024", "rejected", "v1.0",
]  # fmt: skip
KEYWORDS = ["train", "training", "test", "validation", "valid", "dev", "val", "eval"]
NOISE = [
    "README.md", "LICENSE", ".gitattributes", "config.json", "notes.txt", ".hidden", "__pycache__/made.pyc", "CONTRIBUTING.md",
    "dataset_infos.json.bak", "images/logo.png",
]  # fmt: skip
TEXT_ENDINGS = [".jsonl", ".json", ".csv", ".tsv", ".ndjson"]
ENDINGS = [
    ".parquet", ".arrow", *TEXT_ENDINGS, *(kind + packed for kind in TEXT_ENDINGS[:3] for packed in (".gz", ".bz2", ".xz", ".zst")),
]  # fmt: skip

words = st.sampled_from(WORDS)
separators = st.sampled_from(["_", "-", ".", " "])


@st.composite
def _numbered(draw: st.DrawFn, stem: str, ending: str) -> list[str]:
    """A file, or the files of a numbered one; now and then one of them is lost."""
    count = draw(st.integers(1, 3))
    match draw(st.sampled_from(["none", "none", "shards", "shards", "hashed", "counted"])):
        case "none":
            return [stem + ending]
        case "shards":
            names = shards(stem, count, ending)
        case "hashed":
            names = shards(stem, count, ending, hashes=True)
        case _:
            names = [f"{stem}{draw(separators)}{index}{ending}" for index in range(count)]
    if count > 1 and draw(st.integers(0, 9)) == 0:
        names.pop(draw(st.integers(0, count - 1)))
    return names


@st.composite
def _orderly(draw: st.DrawFn) -> list[str]:
    """Splits side by side under names of one pattern, as people lay them out."""
    splits = draw(st.lists(st.sampled_from([*KEYWORDS, "train_sft", "test_gen"]), min_size=1, max_size=3, unique=True))
    ending = draw(st.sampled_from(ENDINGS))
    pattern = draw(
        st.sampled_from(
            [
                "{}", "data/{}", "{}/part", "data/{}/chats", "chats_{}", "{}_english", "english/{}", "my-{}-chats", "2024/{}/0",
                "data/english/{}",
            ]
        )
    )  # fmt: skip
    return [name for split in splits for name in draw(_numbered(pattern.format(split), ending))]


@st.composite
def _wild(draw: st.DrawFn) -> list[str]:
    """Any names at all."""
    common = draw(st.sampled_from(ENDINGS))
    names: list[str] = []
    for _ in range(draw(st.integers(1, 4))):
        folders = draw(st.lists(words, max_size=3))
        stem = draw(separators).join(draw(st.lists(words, min_size=1, max_size=3)))
        ending = common if draw(st.integers(0, 4)) else draw(st.sampled_from([*ENDINGS, ".txt", ".JSONL"]))
        names += draw(_numbered("/".join([*folders, stem]), ending))
    return names


@st.composite
def _paths(draw: st.DrawFn, files: list[str]) -> str | list[str]:
    """A file by its name or by a glob, or several."""
    made: list[str] = []
    for _ in range(draw(st.integers(1, 2))):
        name = draw(st.sampled_from(files))
        folder, _, base = name.rpartition("/")
        stem, _, ending = base.partition(".")
        start = re.split(r"[-_ 0-9]", stem)[0] or stem
        below = f"{folder}/" if folder else ""
        forms = [name, name, f"{below}{start}*", f"{below}*.{ending}", f"**/*.{ending}", f"{below}**"]
        made.append(draw(st.sampled_from(forms)))
    return made[0] if len(made) == 1 and draw(st.booleans()) else made


@st.composite
def _configs(draw: st.DrawFn, files: list[str]) -> list[Config]:
    configs: list[Config] = []
    folders = sorted({name.rpartition("/")[0] for name in files} - {""})
    names = draw(st.lists(st.sampled_from(["default", "en", "de", "2024-10"]), min_size=1, max_size=3, unique=True))
    for name in names:
        config: Config = {"config_name": name}
        form = draw(st.sampled_from(["paths", "splits", "splits", "splits", "folder"]))
        if form == "folder" and folders:
            config["data_dir"] = draw(st.sampled_from(folders))
        elif form == "splits":
            splits = draw(
                st.lists(st.sampled_from(["train", "test", "train_sft"]), min_size=1, max_size=3, unique=True)
            )
            config["data_files"] = [{"split": split, "path": draw(_paths(files))} for split in splits]
        else:
            config["data_files"] = draw(_paths(files))
        configs.append(config)
    if draw(st.booleans()):
        draw(st.sampled_from(configs))["default"] = True
    return configs


@st.composite
def trees(draw: st.DrawFn) -> MadeTree:
    """A folder that might be someone's dataset."""
    files = sorted(set(draw(st.one_of(_orderly(), _orderly(), _wild()))))
    # A name cannot be a file's and a folder's.
    files = [name for name in files if not any(other.startswith(f"{name}/") for other in files)]
    configs = draw(_configs(files)) if draw(st.integers(0, 2)) == 0 else []
    folders = sorted({name.partition("/")[0] for name in files if "/" in name})
    subsets = [config["config_name"] for config in configs] or folders
    subset = draw(st.sampled_from([None, None, *subsets]))
    noise = draw(st.lists(st.sampled_from(NOISE), max_size=4, unique=True))
    card = draw(st.sampled_from(["README.md", "README.md", "README.md", ".huggingface.yaml"]))
    absent = draw(st.sampled_from(["train", "train_sft", "test", "chats", "gen", "validation"]))
    return MadeTree(sorted({*files, *noise}), configs, card, subset, absent)


def _outcome(folder: Path, split: str, subset: str | None) -> list[str] | str:
    """The files of a split, or why it is refused."""
    try:
        return ours_finds(folder, [split], subset)[split]
    except SourceUnavailable as refused:
        return str(refused)


def _held_against_datasets(folder: Path, tree: MadeTree) -> list[bool]:
    """Asserts that ours agrees with `datasets`; says of each of its splits whether ours took it."""
    described = bool(tree.configs)
    try:
        theirs = datasets_finds(folder, tree.subset, described=described)
    except Exception as refusal:  # `datasets` raises whatever its parts raise
        ours = _outcome(folder, tree.absent, tree.subset)
        assert isinstance(ours, str), f"`datasets` refuses ({refusal}), ours takes {ours}"
        event("`datasets` refuses")
        return []
    taken = []
    for split, expected in theirs.items():
        ours = _outcome(folder, split, tree.subset)
        if isinstance(ours, str):
            assert any(re.search(reason, ours) for reason in REASONS), f"{split}: {expected} is refused: {ours}"
        else:
            assert ours == expected
        taken.append(not isinstance(ours, str))
    if tree.absent not in theirs:
        ours = _outcome(folder, tree.absent, tree.subset)
        if not isinstance(ours, str):
            below = f"{tree.subset}/" if tree.subset else ""
            names = [] if described else named_after(tree.absent, tree.files, below)
            assert ours in (names, *(theirs.values() if len(theirs) == 1 else ()))
    event(f"taken: {sum(taken)} of {len(taken)} splits")
    return taken


def test_of_made_up_trees_ours_takes_exactly_the_files_that_datasets_takes(tmp_path: Path) -> None:
    counted: Counter[bool] = Counter()

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(trees())
    def holds(tree: MadeTree) -> None:
        with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
            counted.update(_held_against_datasets(tree.write(Path(folder, "made")), tree))

    holds()
    # It must not hold by refusing everything.
    assert counted[True] > counted[False]


def split(name: str, path: str | list[str]) -> Config:
    """A split of a card's configuration."""
    return {"split": name, "path": path}


def config(name: str, *splits: Config, **more: Any) -> Config:
    """A configuration of a card."""
    return {"config_name": name, **({"data_files": list(splits)} if splits else {}), **more}


@dataclass(frozen=True)
class Public:
    """A layout in use, and the files of all its splits."""

    name: str
    files: list[str]
    splits: Splits
    configs: list[Config] = field(default_factory=list)
    subset: str | None = None

    def __str__(self) -> str:
        return self.name


def _four(kind: str = "data/{}-*") -> Config:
    return config(
        "default", *(split(name, kind.format(name)) for name in ("train_sft", "test_sft", "train_gen", "test_gen"))
    )


def _all(splits: Splits) -> list[str]:
    return [name for its in splits.values() for name in its]


def _by_folder(names: Iterable[str], path: str = "{}/train-*", **more: Any) -> list[Config]:
    return [config(name, split("train", path.format(name)), **more) for name in names]


ULTRACHAT = {
    "train_sft": [
        "data/train_sft-00000-of-00003-a3ecf92756993583.parquet",
        "data/train_sft-00001-of-00003-0a1804bcb6ae68c6.parquet",
        "data/train_sft-00002-of-00003-ee46ed25cfae92c6.parquet",
    ],
    "test_sft": ["data/test_sft-00000-of-00001-f7dfac4afe5b93f4.parquet"],
    "train_gen": [
        "data/train_gen-00000-of-00003-a6c9fb894be3e50b.parquet",
        "data/train_gen-00001-of-00003-d6a0402e417f35ca.parquet",
        "data/train_gen-00002-of-00003-c0db75b92a2f48fd.parquet",
    ],
    "test_gen": ["data/test_gen-00000-of-00001-3d4cd8309148a71f.parquet"],
}
FEEDBACK = {
    f"{part}_{kind}": shards(f"data/{part}_{kind}", 1) for kind in ("prefs", "sft", "gen") for part in ("train", "test")
}
OASST = [
    "2023-04-12_oasst_all.messages.jsonl.gz",
    "2023-04-12_oasst_all.trees.jsonl.gz",
    "2023-04-12_oasst_ready.trees.jsonl.gz",
]
HARMLESS = [f"{folder}/{part}.jsonl.gz" for folder in ("harmless-base", "helpful-base") for part in ("test", "train")]
FINEWEB = ["data/CC-MAIN-2013-20/000_00000.parquet", "data/CC-MAIN-2024-10/000_00000.parquet",
           "data/CC-MAIN-2024-10/000_00001.parquet", "sample/10BT/000_00000.parquet"]  # fmt: skip
FINEWEB_CONFIGS = [
    config("default", split("train", "data/*/*")),
    config("sample-10BT", split("train", "sample/10BT/*")),
    config("CC-MAIN-2024-10", split("train", "data/CC-MAIN-2024-10/*")),
    config("CC-MAIN-2013-20", split("train", "data/CC-MAIN-2013-20/*")),
]
WIKIPEDIA = [*shards("20231101.de/train", 20), *shards("20231101.en/train", 41)]
COSMOPEDIA = ["auto_math_text", "khanacademy", "openstax", "stanford", "stories", "web_samples_v1", "wikihow"]

PUBLIC = [
    Public("ultrachat_200k", [*_all(ULTRACHAT), ".gitattributes", "README.md"], ULTRACHAT, [_four()]),
    Public("ultrachat_200k-without-its-card", _all(ULTRACHAT), ULTRACHAT),
    Public("ultrachat-of-the-first-upload", [f"train_{number}.jsonl" for number in range(10)],
           {"train": [f"train_{number}.jsonl" for number in range(10)]}),
    Public("ultrafeedback_binarized", _all(FEEDBACK), FEEDBACK,
           [config("default", *(split(name, f"data/{name}-*") for name in FEEDBACK))]),
    Public("no_robots", [*shards("data/train", 1), *shards("data/test", 1)],
           {"train": shards("data/train", 1), "test": shards("data/test", 1)},
           [config("default", split("train", "data/train-*"), split("test", "data/test-*"))]),
    Public("oasst1", [*OASST, *shards("data/train", 1, hashes=True), *shards("data/validation", 1, hashes=True)],
           {"train": shards("data/train", 1, hashes=True), "validation": shards("data/validation", 1, hashes=True)}),
    Public("aya_dataset", [*shards("data/train", 1), *shards("data/test", 1), *shards("demographics/train", 1)],
           {"train": shards("data/train", 1), "test": shards("data/test", 1)},
           [config("default", split("train", "data/train-*"), split("test", "data/test-*")),
            config("demographics", split("train", "demographics/train-*"))]),
    Public("aya_dataset-demographics", [*shards("data/train", 1), *shards("demographics/train", 1)],
           {"train": shards("demographics/train", 1)},
           [config("default", split("train", "data/train-*")), *_by_folder(["demographics"])], "demographics"),
    Public("cosmopedia-stories", [name for its in COSMOPEDIA for name in shards(f"data/{its}/train", 4)],
           {"train": shards("data/stories/train", 4)}, _by_folder(COSMOPEDIA, "data/{}/train-*"), "stories"),
    Public("tulu-3-sft-mixture", shards("data/train", 6), {"train": shards("data/train", 6)},
           [config("default", split("train", "data/train-*"))]),
    Public("dolly", ["databricks-dolly-15k.jsonl", "README.md"], {"train": ["databricks-dolly-15k.jsonl"]}),
    Public("alpaca", shards("data/train", 1, hashes=True), {"train": shards("data/train", 1, hashes=True)}),
    Public("alpaca-cleaned", ["alpaca_data_cleaned.json"], {"train": ["alpaca_data_cleaned.json"]}),
    Public("OpenOrca", ["1M-GPT4-Augmented.parquet", "3_5M-GPT3_5-Augmented.parquet", "OpenOrcaLogo.png"],
           {"train": ["1M-GPT4-Augmented.parquet", "3_5M-GPT3_5-Augmented.parquet"]}),
    Public("SlimOrca", ["oo-labeled_correct.gpt4.sharegpt.jsonl"], {"train": ["oo-labeled_correct.gpt4.sharegpt.jsonl"]}),
    Public("ShareGPT90K", ["sg_90k_part1.json", "sg_90k_part2.json", "optional_clean.py"],
           {"train": ["sg_90k_part1.json", "sg_90k_part2.json"]}),
    Public("lima-without-its-script", ["test.jsonl", "train.jsonl"], {"train": ["train.jsonl"], "test": ["test.jsonl"]}),
    Public("OpenHermes-2.5", ["openhermes2_5.json"], {"train": ["openhermes2_5.json"]}),
    Public("glaive-function-calling-v2", ["glaive-function-calling-v2.json"], {"train": ["glaive-function-calling-v2.json"]}),
    Public("xlam-function-calling-60k", ["xlam_function_calling_60k.json"], {"train": ["xlam_function_calling_60k.json"]},
           [config("dataset", split("train", "xlam_function_calling_60k.json"))]),
    Public("wikipedia-20231101", WIKIPEDIA, {"train": shards("20231101.en/train", 41)},
           _by_folder(["20231101.de", "20231101.en"]), "20231101.en"),
    Public("wikipedia-20220301", [*shards("data/20220301.en/train", 3), *shards("data/20220301.simple/train", 1)],
           {"train": shards("data/20220301.simple/train", 1)},
           _by_folder(["20220301.en", "20220301.simple"], "data/{}/train-*"), "20220301.simple"),
    Public("fineweb-its-default", FINEWEB, {"train": FINEWEB[:3]}, FINEWEB_CONFIGS),
    Public("fineweb-a-sample", FINEWEB, {"train": FINEWEB[3:]}, FINEWEB_CONFIGS, "sample-10BT"),
    Public("fineweb-a-crawl", FINEWEB, {"train": FINEWEB[1:3]}, FINEWEB_CONFIGS, "CC-MAIN-2024-10"),
    Public("gsm8k", [*shards("main/train", 1), *shards("main/test", 1), *shards("socratic/train", 1)],
           {"train": shards("main/train", 1), "test": shards("main/test", 1)},
           [config("main", split("train", "main/train-*"), split("test", "main/test-*")), *_by_folder(["socratic"])], "main"),
    Public("hh-rlhf-one-of-its-folders", HARMLESS, {"train": [HARMLESS[1]], "test": [HARMLESS[0]]}, subset="harmless-base"),
    Public("lmsys-chat-1m", shards("data/train", 6, hashes=True), {"train": shards("data/train", 6, hashes=True)}),
    Public("docs-one-file", ["README.md", "data.csv"], {"train": ["data.csv"]}),
    Public("docs-names", ["train.csv", "test.csv", "validation.csv"],
           {"train": ["train.csv"], "validation": ["validation.csv"], "test": ["test.csv"]}),
    Public("docs-words-within-names", ["my_train_file_00001.csv", "my_train_file_00002.csv", "my_test_file_00001.csv"],
           {"train": ["my_train_file_00001.csv", "my_train_file_00002.csv"], "test": ["my_test_file_00001.csv"]}),
    Public("docs-keywords", ["data/training.csv", "data/eval.csv", "data/valid.csv"],
           {"train": ["data/training.csv"], "validation": ["data/valid.csv"], "test": ["data/eval.csv"]}),
    Public("docs-folders", ["data/train/data.csv", "data/test/more_data.csv", "data/validation/even_more_data.csv"],
           {"train": ["data/train/data.csv"], "validation": ["data/validation/even_more_data.csv"],
            "test": ["data/test/more_data.csv"]}),
    Public("docs-several-files", ["train_0.csv", "train_1.csv", "train_2.csv", "test_0.csv"],
           {"train": ["train_0.csv", "train_1.csv", "train_2.csv"], "test": ["test_0.csv"]}),
    Public("docs-several-files-in-folders", ["data/train/shard_0.csv", "data/train/shard_1.csv", "data/test/shard_0.csv"],
           {"train": ["data/train/shard_0.csv", "data/train/shard_1.csv"], "test": ["data/test/shard_0.csv"]}),
    Public("docs-a-split-s-own-name", [*shards("data/random", 3, ".csv"), *shards("data/train", 1, ".csv")],
           {"train": shards("data/train", 1, ".csv"), "random": shards("data/random", 3, ".csv")}),
    Public("docs-manual", ["data.csv", "holdout.csv"], {"train": ["data.csv"], "test": ["holdout.csv"]},
           [config("default", split("train", "data.csv"), split("test", "holdout.csv"))]),
    Public("docs-manual-lists", ["data/abc.csv", "data/def.csv", "holdout/ghi.csv"],
           {"train": ["data/abc.csv", "data/def.csv"], "test": ["holdout/ghi.csv"]},
           [config("default", split("train", ["data/abc.csv", "data/def.csv"]), split("test", "holdout/ghi.csv"))]),
    Public("docs-manual-globs", ["data/abc.csv", "data/def.csv", "holdout/ghi.csv"],
           {"train": ["data/abc.csv", "data/def.csv"], "test": ["holdout/ghi.csv"]},
           [config("default", split("train", "data/*.csv"), split("test", "holdout/*.csv"))]),
    Public("docs-manual-default", ["main_data.csv", "additional_data.csv"], {"train": ["main_data.csv"]},
           [config("main_data", data_files="main_data.csv", default=True),
            config("additional_data", data_files="additional_data.csv")]),
    Public("docs-manual-separators", ["main_data.csv", "additional_data.csv"], {"train": ["main_data.csv"]},
           [config("tab", data_files="main_data.csv", sep="\t"), config("comma", data_files="additional_data.csv", sep=",")],
           "tab"),
    Public("folders-of-configs", ["en/test.jsonl", "en/train.jsonl", "de/train.jsonl"],
           {"train": ["en/train.jsonl"], "test": ["en/test.jsonl"]},
           [config("en", data_dir="en", default=True), config("de", data_dir="de")]),
    Public("the-hub-s-own-conversion", ["default/train/0000.parquet", "default/train/0001.parquet", "default/test/0000.parquet"],
           {"train": ["default/train/0000.parquet", "default/train/0001.parquet"], "test": ["default/test/0000.parquet"]}),
    Public("spark", ["train/_SUCCESS", *(f"train/part-0000{part}-0b0c-c000.snappy.parquet" for part in (0, 1))],
           {"train": [f"train/part-0000{part}-0b0c-c000.snappy.parquet" for part in (0, 1)]}),
    Public("a-file-a-day", ["chats-2024-01-05.jsonl.gz", "chats-2024-01-06.jsonl.gz"],
           {"train": ["chats-2024-01-05.jsonl.gz", "chats-2024-01-06.jsonl.gz"]}),
    Public("a-folder-a-year", ["2023/train.jsonl", "2024/train.jsonl"], {"train": ["2023/train.jsonl", "2024/train.jsonl"]}),
    Public("beside-papers", ["train.jsonl", "val.jsonl", "CONTRIBUTING.md", "LICENSE", "notes.txt", "config.json"],
           {"train": ["train.jsonl"], "validation": ["val.jsonl"]}),
]  # fmt: skip


@pytest.mark.parametrize("public", PUBLIC, ids=str)
def test_layouts_in_use_are_taken_as_datasets_takes_them(public: Public, tmp_path: Path) -> None:
    folder = MadeTree(public.files, public.configs).write(tmp_path / "made")
    assert ours_finds(folder, public.splits, public.subset) == public.splits
    assert datasets_finds(folder, public.subset, described=bool(public.configs)) == public.splits


def _refused(folder: Path, *splits: str, subset: str | None = None) -> str:
    with pytest.raises(SourceUnavailable) as refused:
        resolve(str(folder), splits or ("train",), subset=subset)
    return str(refused.value)


def test_several_configurations_and_none_named_are_refused_with_their_names(tmp_path: Path) -> None:
    tree = MadeTree(["de/train.jsonl", "en/train.jsonl"], _by_folder(["en", "de"], "{}/train.jsonl"))
    folder = tree.write(tmp_path / "made")
    assert _refused(folder).endswith("has 2 subsets: en, de. Name the one that is meant in subset.")
    told = _refused(folder, subset="fr")
    assert told.endswith("has 2 subsets: en, de; there is none called fr. Name one of them in subset.")
    assert ours_finds(folder, ["train"], "de") == {"train": ["de/train.jsonl"]}


def test_a_subset_of_what_has_none_is_refused(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "made/train.jsonl", conversations(1))
    assert "has no subset en: it has none. Leave subset empty." in _refused(tmp_path / "made", subset="en")
    told = _refused(tmp_path / "made/train.jsonl", subset="en")
    assert "has no subset en: it is files chosen by name" in told


@pytest.mark.parametrize("described", [True, False], ids=["by a card", "by their names"])
def test_a_split_in_two_formats_is_refused_by_name(described: bool, tmp_path: Path) -> None:
    tree = MadeTree(["data/chats.csv", "data/chats.jsonl"], [config("default", split("train", "data/*"))] * described)
    told = _refused(tree.write(tmp_path / "made"))
    assert "split train is there in 2 formats: " in told
    assert "csv (data/chats.csv)" in told
    assert "json (data/chats.jsonl)" in told


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (
            ["english/train.jsonl", "german/train.jsonl"],
            "Name the folder that is meant in subset, one of english, german",
        ),
        (
            ["train.jsonl", "train.rejected.jsonl"],
            "would be made of files that are not alike: train.jsonl, train.rejected.jsonl",
        ),
        (["train_chosen.jsonl", "train_rejected.jsonl"], "train_chosen.jsonl, train_rejected.jsonl"),
        (
            [shards("data/train", 3)[0], shards("data/train", 3)[2]],
            "is incomplete: of the 3 files of data/train, number 00001",
        ),
        ([*shards("data/train", 2), *shards("data/train", 3)], "holds files of two uploads of data/train: 5 files"),
        (
            ["train-0-of-2.jsonl", "train-1-of-2.jsonl", "train-00000-of-00002.jsonl", "train-00001-of-00002.jsonl"],
            "holds files of two uploads of train: 4 files, numbered of 2",
        ),
        (["train-0-of-3.jsonl", "train-2-of-3.jsonl"], "is incomplete: of the 3 files of train, number 1 is missing"),
        (["train_1_of_2.jsonl"], "is incomplete: of the 2 files of train, number 2 is missing"),
        (["train-00000.jsonl", "train-00002.jsonl"], "is incomplete: of the files train-..., number 00001 is missing"),
        (
            ["train_part_1.jsonl", "train_part_3.jsonl"],
            "is incomplete: of the files train_part_..., number 2 is missing",
        ),
        (["data/part-2.jsonl", "data/part-3.jsonl"], "of the files data/part-..., number 1 is missing"),
        (["train_shard_1.jsonl", "train_shard_3.jsonl"], "of the files train_shard_..., number 2 is missing"),
        (["chunk-0.jsonl", "chunk-2.jsonl"], "of the files chunk-..., number 1 is missing"),
        (["part-1.jsonl", "part-300000.jsonl"], "8, 9, 10, 11 and 99989 more is missing"),
        (
            ["train-00000-of-00001-0a1804bcb6ae68c6.jsonl", "train-00000-of-00001-a3ecf92756993583.jsonl"],
            "holds files of two uploads of train: 2 files, numbered of 1",
        ),
        (["accepted.jsonl", "rejected.jsonl"], "that are not alike: accepted.jsonl, rejected.jsonl"),
        (["chats.jsonl", "chats_old.jsonl"], "that are not alike: chats.jsonl, chats_old.jsonl"),
        (["chats - Copy.jsonl", "chats.jsonl"], "that are not alike: chats - Copy.jsonl, chats.jsonl"),
        (["train/backup/x.jsonl", "train/data.jsonl"], "that are not alike: train/backup/x.jsonl, train/data.jsonl"),
        (["Test.jsonl", "Train.jsonl"], "that are not alike: Test.jsonl, Train.jsonl"),
        (["testset.jsonl", "trainset.jsonl"], "that are not alike: testset.jsonl, trainset.jsonl"),
        (["testdata.jsonl", "traindata.jsonl"], "that are not alike: testdata.jsonl, traindata.jsonl"),
        (["devsplit.jsonl", "trainsplit.jsonl"], "that are not alike: devsplit.jsonl, trainsplit.jsonl"),
        (["chatsHeldout.jsonl", "chatsTrain.jsonl"], "that are not alike: chatsHeldout.jsonl, chatsTrain.jsonl"),
        (["train-00000-of-00001.jsonl", "train.jsonl"], "that are not alike: train-00000-of-00001.jsonl, train.jsonl"),
        (["train.json", "train.jsonl"], "that are not alike: train.json, train.jsonl"),
        (["train.jsonl", "train.jsonl.gz"], "that are not alike: train.jsonl, train.jsonl.gz"),
        (["v1/train.jsonl", "v2/train.jsonl"], "Name the folder that is meant in subset, one of v1, v2"),
        (["train_v1.jsonl", "train_v2.jsonl"], "that are not alike: train_v1.jsonl, train_v2.jsonl"),
        (["train_V1.jsonl", "train_V2.jsonl"], "that are not alike: train_V1.jsonl, train_V2.jsonl"),
        (["train_10k.jsonl", "train_1k.jsonl"], "that are not alike: train_10k.jsonl, train_1k.jsonl"),
        (["qwen72b/train.jsonl", "qwen7b/train.jsonl"], "in subset, one of qwen72b, qwen7b"),
        (["train/data.jsonl", "train/rejected.jsonl"], "that are not alike: train/data.jsonl, train/rejected.jsonl"),
    ],
)
def test_what_datasets_would_mix_is_refused(files: list[str], told: str, tmp_path: Path) -> None:
    folder = MadeTree(files).write(tmp_path / "made")
    assert datasets_finds(folder) == {"train": sorted(files)}
    assert told in _refused(folder)


@pytest.mark.parametrize(
    "files",
    [
        ["2026-11-01.jsonl", "2026-11-03.jsonl"],
        ["chats-20261101.jsonl", "chats-20261103.jsonl"],
        ["chats-20261101T0300Z.jsonl", "chats-20261103T0301Z.jsonl"],
        ["train1.jsonl", "train2.jsonl"],
        ["2023/train.jsonl", "2024/train.jsonl"],
        ["train/de.jsonl", "train/en.jsonl"],
        ["old/chats-1.jsonl", "old/chats-2.jsonl"],
        ["part-00000-4f1c.c000.jsonl", "part-00002-4f1c.c000.jsonl"],  # Spark, which leaves empty parts out
        ["train-00000.jsonl", "train-00001.jsonl"],
        ["train-1.jsonl", "train-2.jsonl", "train-5.jsonl"],
        ["part-00003.jsonl"],
        ["chats-1.gpq", "chats-2.geoparquet"],
    ],
)
def test_what_names_say_nothing_against_is_taken_as_datasets_takes_it(files: list[str], tmp_path: Path) -> None:
    folder = MadeTree(files).write(tmp_path / "made")
    assert ours_finds(folder, ["train"]) == datasets_finds(folder) == {"train": files}


@pytest.mark.parametrize("word", ["withdrawn", "deleted", "rejected", "draft", "old"])
def test_a_file_whose_name_says_that_it_is_not_meant_is_not_mixed_in(word: str) -> None:
    names = ["chats.jsonl", f"chats-{word}.jsonl"]
    with pytest.raises(SourceUnavailable, match=rf"files that are not alike: chats\.jsonl, chats-{word}\.jsonl"):
        refuse_unlike("made", "train", names)


def test_a_file_of_another_version_is_another_revision() -> None:
    revisions = []
    for version in ("0x1", "0x2", "0x1", None):
        file = DataFile("chats.jsonl", 9, BytesIO, version=version)  # type: ignore[arg-type]
        revisions.append(Tree("made", [file]).revision({"train": [file]}))
    first, second, again, unknown = revisions
    assert first == again != second
    assert unknown is None


@pytest.mark.parametrize(("name", "value"), [("filters", [["prompt_id", "==", "x"]]), ("columns", ["messages"])])
def test_a_card_that_chooses_rows_is_not_read_as_if_it_did_not(name: str, value: object, tmp_path: Path) -> None:
    configs = [config("default", split("train", "train.parquet"), **{name: value})]
    told = _refused(MadeTree(["train.parquet"], configs).write(tmp_path / "made"))
    assert f"says {name}, which is not followed here. Write the rows that are meant to a file of their own" in told


def test_of_a_folder_that_is_the_subset_nothing_outside_is_taken(tmp_path: Path) -> None:
    files = ["english/train.jsonl", "german/train.jsonl", "test.jsonl", "german/test.jsonl"]
    folder = MadeTree(files).write(tmp_path / "made")
    told = _refused(folder, "train", "test", subset="english")
    assert "has no split test. Its splits, as `datasets` finds them, are train (english/train.jsonl)" in told
    write_jsonl(folder / "english/deeper/train_sft.jsonl", conversations(1))
    write_jsonl(folder / "english/train_sft.jsonl", conversations(1))
    assert ours_finds(folder, ["train_sft"], "english") == {"train_sft": ["english/train_sft.jsonl"]}


def test_files_that_are_called_as_the_subset_are_told(tmp_path: Path) -> None:
    folder = MadeTree([f"lang/{split}/{lang}.jsonl" for split in ("train", "test") for lang in ("de", "en")]).write(
        tmp_path / "m"
    )
    told = _refused(folder / "lang", subset="en")
    assert (
        "has no subset en, but files that are called so: test/en.jsonl, train/en.jsonl. Make them one in the `configs`"
        in told
    )


def test_a_card_may_join_what_names_alone_do_not(tmp_path: Path) -> None:
    files = ["english/train.jsonl", "german/train.jsonl"]
    tree = MadeTree(files, [config("default", split("train", files))])
    assert ours_finds(tree.write(tmp_path / "made"), ["train"]) == {"train": files}


@pytest.mark.parametrize("readme", [True, False], ids=["beside a README.md", "alone"])
def test_a_card_may_be_a_file_of_yaml(readme: bool, tmp_path: Path) -> None:
    configs = [config("default", split("train", ["chats.jsonl", "data/more.jsonl"]))]
    tree = MadeTree(
        ["chats.jsonl", "data/more.jsonl", "other.csv", *["README.md"] * readme], configs, ".huggingface.yaml"
    )
    folder = tree.write(tmp_path / "made")
    assert ours_finds(folder, ["train"]) == datasets_finds(folder) == {"train": ["chats.jsonl", "data/more.jsonl"]}


@pytest.mark.parametrize("card", ["README.md", ".huggingface.yaml"])
@pytest.mark.parametrize("key", ["data_files", "data_dir"])
@pytest.mark.parametrize(
    "named", ["{}/outside.jsonl", "../outside.jsonl", "http://127.0.0.1:9/rows.jsonl", "~/rows.jsonl"]
)
def test_a_card_does_not_lead_out_of_the_dataset(card: str, key: str, named: str, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "outside.jsonl", conversations(1))
    named = named.format(tmp_path)
    folder = MadeTree(["chats.jsonl"], [config("default", **{key: named})], card).write(tmp_path / "made")
    assert f"names {named}, which is not a file of the dataset" in _refused(folder)


def test_a_card_whose_few_lines_stand_for_a_million_files_is_refused(tmp_path: Path) -> None:
    folder = MadeTree(["chats.jsonl"]).write(tmp_path / "made")
    tens = "".join(f"tens{n}: &tens{n} [{', '.join([f'*tens{n - 1}'] * 10)}]\n" for n in range(1, 7))
    configs = "configs:\n- config_name: default\n  data_files: *tens6\n"
    (folder / "README.md").write_text(f"---\ntens0: &tens0 chats.jsonl\n{tens}{configs}---\n")
    assert "names too many files. Use patterns in its `configs`." in _refused(folder)


def test_a_shard_that_is_missing_is_missed_though_a_card_names_its_split(tmp_path: Path) -> None:
    names = shards("data/train", 3)
    tree = MadeTree([names[0], names[2]], [config("default", split("train", "data/train-*"))])
    assert "is incomplete: of the 3 files of data/train, number 00001 is missing" in _refused(
        tree.write(tmp_path / "made")
    )


def test_an_address_in_a_configuration_s_description_is_no_file(tmp_path: Path) -> None:
    configs = [config("default", data_files="chats.jsonl", description="Told on https://example.org/chats.")]
    folder = MadeTree(["chats.jsonl"], configs).write(tmp_path / "made")
    assert ours_finds(folder, ["train"]) == datasets_finds(folder) == {"train": ["chats.jsonl"]}


def test_a_card_that_names_files_that_are_not_there_is_refused(tmp_path: Path) -> None:
    tree = MadeTree(["chats.jsonl"], [config("default", data_files="rows.jsonl")])
    assert "names files that are not there. Mend its `configs`" in _refused(tree.write(tmp_path / "made"))


def test_a_card_that_is_no_yaml_is_refused(tmp_path: Path) -> None:
    folder = MadeTree(["chats.jsonl"]).write(tmp_path / "made")
    (folder / "README.md").write_text("---\nconfigs: [\n---\n")
    assert re.search(r"The dataset card of .*made cannot be read: line 2 is not YAML\. Mend it", _refused(folder))


@pytest.mark.parametrize("beside", ["README.md", "train.jsonl"])
def test_a_dataset_s_own_script_is_not_run(beside: str, tmp_path: Path) -> None:
    folder = MadeTree(["made.py", beside]).write(tmp_path / "made")
    with pytest.raises(RuntimeError, match=r"scripts are no longer supported, but found made\.py"):
        datasets_finds(folder)
    assert "made is read by a script of its own" in (told := _refused(folder))
    assert "Export its rows to Parquet or JSON Lines" in told


def test_splits_in_formats_of_their_own_are_refused_with_their_count(tmp_path: Path) -> None:
    folder = MadeTree(["train_0.jsonl", "train_1.jsonl", "test.csv"]).write(tmp_path / "made")
    assert "The splits of" in (told := _refused(folder))
    assert "are in different formats: 1 of csv, 2 of json" in told


def test_an_archive_is_refused_as_such(tmp_path: Path) -> None:
    folder = MadeTree(["train.zip"]).write(tmp_path / "made")
    assert "keeps its rows in a zip archive. Unpack it" in _refused(folder)


def test_a_split_that_is_not_there_is_not_made_of_another(tmp_path: Path) -> None:
    folder = MadeTree(["train.jsonl", "test.jsonl", "train_gen.txt"]).write(tmp_path / "made")
    told = _refused(folder, "train_gen")
    assert (
        "has no split train_gen. Its splits, as `datasets` finds them, are train (train.jsonl); test (test.jsonl)"
        in told
    )
    single = MadeTree(["chats.jsonl"]).write(tmp_path / "single")
    assert ours_finds(single, ["train_sft"]) == {"train_sft": ["chats.jsonl"]}
    assert "has no split test_sft" in _refused(single, "train", "test_sft")


def test_folders_called_exactly_as_the_splits_are_those_splits(tmp_path: Path) -> None:
    folder = MadeTree(["train_sft/0.jsonl", "test_sft/0.jsonl"]).write(tmp_path / "made")
    assert datasets_finds(folder).keys() == {"train", "test"}
    expected = {split: [f"{split}/0.jsonl"] for split in ("train_sft", "test_sft")}
    assert ours_finds(folder, expected) == expected


@pytest.mark.parametrize(
    "names",
    [
        ["data", "data/train.jsonl"],
        ["data//train.jsonl", "data/test.jsonl"],
        [f"{'x' * 300}.jsonl", "train.jsonl"],
        ["../../outside.jsonl", "train.jsonl"],
        ["{}/outside.jsonl", "train.jsonl"],
    ],
    ids=["a file and a folder", "a folder without a name", "too long", "above", "absolute"],
)
def test_names_that_no_folder_holds_are_passed_over_or_refused(
    names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A blob's name may be any text.
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    names = [name.format(tmp_path) for name in names]
    tree = Tree("chats", [DataFile(name, 1, partial(BytesIO, b"x")) for name in names])  # type: ignore[arg-type]
    try:
        layout = layout_of(tree, None)
    except SourceUnavailable as refused:
        assert any(name[:50] in str(refused) for name in names)
    else:
        assert {name for its in layout.splits.values() for name in its} <= set(names)
    assert list(tmp_path.rglob("outside.jsonl")) == []


def _saved(folder: Path) -> Path:
    import datasets

    made = {
        "train": datasets.Dataset.from_list(conversations(30)),
        "test_gen": datasets.Dataset.from_list(conversations(5, 100)),
    }
    datasets.DatasetDict(made).save_to_disk(str(folder), num_shards={"train": 3, "test_gen": 1})
    return folder


def test_a_folder_of_save_to_disk_has_the_splits_and_files_it_says(tmp_path: Path) -> None:
    folder = _saved(tmp_path / "made")
    assert ours_finds(folder, ["train", "test_gen"]) == {
        "train": [f"train/{name}" for name in shards("data", 3, ".arrow")],
        "test_gen": [f"test_gen/{name}" for name in shards("data", 1, ".arrow")],
    }
    assert ours_finds(folder / "train", ["train_sft"]) == {"train_sft": shards("data", 3, ".arrow")}
    assert "it was written by save_to_disk. Leave subset empty" in _refused(folder, subset="en")
    assert "has no split test. Its splits" in _refused(folder, "test")


def test_a_folder_of_save_to_disk_without_one_of_its_files_is_refused(tmp_path: Path) -> None:
    folder = _saved(tmp_path / "made")
    (folder / "train/data-00001-of-00003.arrow").unlink()
    assert "is incomplete: train/data-00001-of-00003.arrow is missing. Copy it again" in _refused(folder)
    (folder / "test_gen/state.json").unlink()
    assert "is incomplete: " in _refused(folder, "test_gen")


def test_the_manifest_lists_every_file_with_its_bytes(tmp_path: Path) -> None:
    sizes = {name: write_jsonl(tmp_path / "made" / name, conversations(number + 2, 100 * number)).stat().st_size
             for number, name in enumerate(shards("data/train", 3, ".jsonl"))}  # fmt: skip
    write_jsonl(tmp_path / "made/data/test-00000-of-00001.jsonl", conversations(1, 900))
    sampled = sample(only_train(tmp_path / "made", train_split="train", rows=1), tmp_path / "out")
    assert {file.name: file.bytes for file in sampled.train.files} == sizes
    assert len(read_jsonl(sampled.train.path)) == 1
    assert sampled.train.source_rows == 9


def test_the_manifest_tells_of_the_files_as_they_are_now(tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "train.jsonl", conversations(3))
    first = sample(only_train(source, rows=2), tmp_path / "out").train
    write_jsonl(source, conversations(5))
    later = sample(only_train(source, rows=2), tmp_path / "out").train
    assert later.sha256 == first.sha256
    assert [file.bytes for file in later.files] == [source.stat().st_size]
    assert (first.source_rows, later.source_rows) == (3, 5)
