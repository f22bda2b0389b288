"""A recipe: all settings of a model's training, so that one command can make it again."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from stream_app.model.artifact import Problem, Truncation
from stream_app.model.kinship import MOST_LABELS
from stream_app.model.preparation import Preparation

Stored = Literal["float16", "float8"]
_OURS = "shipped:"


class Source(BaseModel):
    """One data file, or Hugging Face dataset, and what it is for.

    `split` is divided in train, validation and test, and `develop` in train and validation, both by
    the hash of each message. `unlabelled` texts are for teachers to label, see `fit --teacher`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str = Field(
        "",
        description="relative to the data folder, or `shipped:` and the name of one of ours; the "
        "ending of its name says the format, see `training.data.readers`",
    )
    dataset: str = Field(
        "",
        description="instead of a file: the name of a dataset on the Hugging Face hub, or a folder "
        "of one in the data folder; `#` and a configuration may follow",
    )
    dataset_split: str = Field("train", description="the split of the dataset")
    use: Literal["train", "validation", "test", "split", "develop", "unlabelled"]
    terms: str = Field(description="the terms its corpus comes under, for the model card")
    how_made: str = Field(
        "",
        description="the page that tells how the file is made from its corpus, where it is not as "
        "published; `evaluate` goes without such a file where it is not there",
    )
    rows: int | None = Field(
        None, gt=0, description="take this many, each label its share; the smallest hashes win"
    )
    encoder_rows: int | None = Field(
        None,
        gt=0,
        description="of the training part, the encoder learns from this many and the n-gram head "
        "from all; the smallest hashes win",
    )
    times: int = Field(
        1,
        gt=0,
        description="how often the texts that are learnt from it come in an epoch, and to the "
        "n-gram head: a source of few texts is not outvoted",
    )
    sentences: bool = Field(
        False, description="each sentence is a text of its own; of unlabelled texts alone"
    )
    targets: dict[str, float] = Field(
        default_factory=dict,
        description="what is wanted on its test texts, by the figure's name in the card, such as "
        "`accuracy` or `per_label.spam.f1`; the model's README says where it falls short",
    )
    unseen_targets: dict[str, float] = Field(
        default_factory=dict,
        description="the same, on all of it, of models that learnt from the other sources alone",
    )
    text_field: str = Field("text", description="the column of the text")
    label_field: str = Field("label", description="the column of the label, or list of labels")
    rename: dict[str, str] = Field(default_factory=dict, description="a label here -> the model's")
    language: str = Field("", description="of all its texts, where the rows do not say it")

    @model_validator(mode="after")
    def _one_place(self) -> Source:
        if bool(self.file) == bool(self.dataset):
            raise ValueError("name either a file or a dataset")
        if self.sentences and self.use != "unlabelled":
            raise ValueError("a label is of the whole text: sentences are for unlabelled ones")
        return self

    @property
    def name(self) -> str:
        """What reports call it."""
        return self.file or f"{self.dataset}/{self.dataset_split}"

    def path(self, folder: Path) -> Path:
        """Where its file lies, if it has one, for a data folder."""
        if self.file.startswith(_OURS):
            return Path(str(files("training") / "invented" / self.file.removeprefix(_OURS)))
        return folder / self.file


class Encoder(BaseModel):
    """The encoder a recipe was made for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reference: str | None = Field(None, description="hf://ORG/NAME, where it can be had")
    sha256: str | None = Field(None, description="of its model.safetensors")
    origin: str = Field(description="where it comes from and under which terms, for the card")


class Hyper(BaseModel):
    """Hyper-parameters of AdamW with a linear decay."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: float = Field(gt=0)
    batch_size: int = Field(gt=0, description="texts a process computes at once")
    accumulate: int = Field(1, gt=0, description="batches whose gradients make one step")
    learning_rate: float = Field(gt=0)
    layer_decay: float = Field(
        1.0, gt=0, le=1, description="the rate of each group is this much of the one above it"
    )
    frozen_layers: int = Field(
        0, ge=0, description="that learn nothing, from below, and the embeddings with them"
    )
    warmup_steps: int = Field(100, ge=0)
    weight_decay: float = Field(0.01, ge=0)
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    teacher_share: float = Field(
        0.7, ge=0, le=1, description="of a labelled text's target, where `fit` is given a teacher"
    )
    class_weights: Literal["none", "balanced"] = "none"
    patience: int = Field(
        0, ge=0, description="evaluations without a lower validation loss that end it; 0 = never"
    )
    evaluate_steps: int | None = Field(
        None, gt=0, description="steps between evaluations and checkpoints; an epoch if not given"
    )
    seed: int = 1


class Augmentation(BaseModel):
    """Altered copies of training texts, see `training.data.augment`. All are shares from 0 to 1."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    share: float = Field(1.0, ge=0, le=1, description="of the texts that get an altered copy")
    short_copies: float = Field(0.0, ge=0, le=1, description="of the texts that get one cut short")
    drop_words: float = Field(0.0, ge=0, lt=1, description="of a copy's words")
    swap_words: float = Field(0.0, ge=0, lt=1, description="of a copy's words")
    obfuscate_words: float = Field(0.0, ge=0, le=1, description="of a copy's words")
    obfuscate_labels: tuple[str, ...] = ("spam",)


class Ngrams(BaseModel):
    """The sparse n-gram head, see `training.fitting.ngrams`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    words: int = Field(2, ge=0, description="runs of up to so many words")
    characters: tuple[int, ...] = Field((), description="lengths of the runs of characters")
    bits: int = Field(18, ge=10, le=22, description="2^bits buckets, a byte a label each")
    strength: float = Field(10, gt=0, description="inverse of the L2 penalty")
    by_length: float = Field(
        0, ge=0, le=1, description="a text teaches by this power of its number of n-grams"
    )
    by_contrast: float = Field(
        0, ge=0, le=1, description="an n-gram counts by this power of how unevenly labels have it"
    )
    short_copies: float = Field(
        0, ge=0, le=1, description="share of the texts that it also learns cut short"
    )
    kinship: bool = Field(
        False,
        description="a text counts as a label's the more, the more of its pairs of words that "
        "label's texts have, see `stream_app.model.kinship`",
    )
    lean: bool = Field(
        False,
        description="a text of few words leans to the labels that such texts mostly have, see "
        "`training.fitting.lean`",
    )


class Decide(BaseModel):
    """When a model's label may be acted on, see `training.judging.decisions`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    false_positives: dict[str, float] = Field(
        default_factory=dict,
        description="label -> share of the texts of other labels that may be decided to have it",
    )
    first_words: bool = Field(
        True,
        description="whether a text's first words have its label, as a mail's subject does: then "
        "copies cut short say how sure a short text may be, else texts that are short anyway",
    )
    unfamiliar: float = Field(
        0.01, ge=0, lt=1, description="share of the model's own kinds of text left undecided"
    )


class Gates(BaseModel):
    """What a refreshed model must pass to be promoted, see `training.refreshing.gates`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_new: int = Field(50, ge=1, description="corrections that the champion has not learnt from")
    max_source_share: float = Field(
        0.5,
        gt=0,
        le=1,
        description="of those, from one source that is not trusted",
    )
    max_overturned: float = Field(
        0.35,
        ge=0,
        le=1,
        description="of such a source's own, contradict what the champion is sure of; with no more "
        "it may give any share",
    )
    trusted: tuple[str, ...] = Field((), description="sources that may give any share")
    max_contradicted: float = Field(
        0.1, ge=0, le=1, description="of the messages, given different labels by different sources"
    )
    max_doubted: float = Field(
        0.05, ge=0, le=1, description="of held-out corrections, both models being sure otherwise"
    )
    max_accuracy_loss: float = Field(0.005, ge=0, le=1, description="on the frozen test")
    max_decided_loss: float = Field(
        0.05, ge=0, le=1, description="of the share of it that is decided right"
    )
    max_slice_loss: float = Field(0.05, ge=0, le=1, description="of accuracy in one slice of it")
    max_calibration_error: float = Field(
        0.05, ge=0, le=1, description="on the frozen test, unless the champion's is higher"
    )
    false_positives: dict[str, float] = Field(
        {"spam": 0.02},
        description="label -> share of other texts that may be given it, unless the champion's is "
        "higher",
    )
    max_wrong_decisions: float = Field(
        0.001, ge=0, le=1, description="of those labels, by decision; likewise"
    )
    min_speed: float = Field(0.7, ge=0, description="of the champion's texts a second")
    max_growth: float = Field(1.1, ge=1, description="of the champion's bytes")
    labels: tuple[str, ...] = Field((), description="declares a label set that is not its own")


class Refresh(BaseModel):
    """How a model is kept fresh, see `training.refreshing.refresh`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    budget: int = Field(4_000, gt=0, description="texts the encoder learns from, old and new")
    head_budget: int = Field(50_000, gt=0, description="texts the n-gram head learns from")
    max_feedback_share: float = Field(
        0.5, gt=0, le=1, description="of either budget; rehearsal from the base set fills it"
    )
    reservoir: int = Field(
        2_000, gt=0, description="recent records of the input topic that a champion labels itself"
    )
    min_reservoir: int = Field(
        100,
        gt=0,
        description="of those, without a label that has a limit of false positives, that the "
        "champion is sure of",
    )
    test_rows: int = Field(
        2_000, gt=0, description="of each source's test part; the smallest hashes win"
    )
    epochs: float = Field(1.0, gt=0)
    learning_rate: float | None = Field(
        None, gt=0, description="a third of the recipe's where not given"
    )


class Recipe(BaseModel):
    """What `winnow-train fit` needs besides an encoder and a data folder."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    version: str
    description: str
    labels: tuple[str, ...] = Field(min_length=2)
    problem: Problem = "single_label"
    max_tokens: int = Field(ge=2, le=512)
    truncation: Truncation = "head"
    preparation: Preparation = Preparation()
    encoder: Encoder | None = None
    stored: Stored = Field("float16", description="what the weights are kept in, on disk")
    hyper: Hyper
    augmentation: Augmentation | None = None
    ngrams: Ngrams | None = None
    decide: Decide = Decide()
    refresh: Refresh = Refresh()
    gates: Gates = Gates()
    sources: tuple[Source, ...]  # none where a model goes on from another alone

    @model_validator(mode="after")
    def _few_labels_have_kin(self) -> Recipe:
        if self.ngrams and self.ngrams.kinship and len(self.labels) > MOST_LABELS:
            raise ValueError(f"kinship is for at most {MOST_LABELS} labels: it takes 4 MB each")
        return self
