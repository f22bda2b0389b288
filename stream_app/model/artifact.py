"""A model artifact on disk: a Hugging Face folder plus `winnow.json`, every file checked by sha256.

Weights are safetensors only: nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from stream_app.core.errors import ModelError
from stream_app.core.label_record import ModelVersion
from stream_app.model.checks.config import CONFIG, DEFAULT_MAX_TOKENS, positions, read_config
from stream_app.model.checks.files import (
    CARD_BYTES,
    CONFIG_BYTES,
    FAMILIARITY_BYTES,
    TOKENIZER_BYTES,
    WEIGHTS_BYTES,
    model_file,
    plain_name,
    read_file,
)
from stream_app.model.preparation import Preparation

CARD = "winnow.json"
WEIGHTS = "model.safetensors"
TOKENIZER = "tokenizer.json"
NGRAMS = "ngrams.safetensors"  # optional: see `stream_app.model.ngrams`
EXITS = "exits.safetensors"  # optional: see `stream_app.model.exits`
DRIFT = "drift.json"  # optional: see `stream_app.model.drift_reference`
FAMILIARITY = "familiarity.safetensors"  # optional: see `stream_app.model.familiarity`
MOST_BYTES = {
    CONFIG: CONFIG_BYTES,
    CARD: CARD_BYTES,
    TOKENIZER: TOKENIZER_BYTES,
    FAMILIARITY: FAMILIARITY_BYTES,
}
JOINERS = str.maketrans("", "", "\u200c\u200d")  # invisible; some scripts need them
Truncation = Literal["head", "head_tail"]
Problem = Literal["single_label", "multi_label"]


def _name(text: str) -> str:
    """It goes into logs, metrics, headers and pages: one line, without mark-up."""
    if not text.translate(JOINERS).isprintable() or set(text) & set("<>") or not text.strip():
        raise ValueError(
            f"{text[:40]!a} is not a valid name: it is empty, or has control characters, < or >"
        )
    return text


Name = Annotated[str, Field(max_length=200), AfterValidator(_name)]
Score = Annotated[float, Field(ge=0, le=1)]
Threshold = Annotated[float, Field(gt=0, lt=1)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class ModelCard(BaseModel):
    """`winnow.json`: what a model is, how it was made and what was measured."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    version: Name
    labels: tuple[Name, ...] = Field(min_length=2, max_length=1000)  # each is a series of metrics
    problem: Problem = "single_label"
    preparation: Preparation = Preparation()
    # of JSON and of tables, which `winnow classify` reads; its usual names where not given
    text_field: str = Field("", max_length=200)
    max_tokens: int = Field(DEFAULT_MAX_TOKENS, ge=2, le=65_536)
    truncation: Truncation = "head"  # what is kept of a longer text
    temperature: float = Field(1.0, ge=1e-3, le=1e3)
    evidence: float = Field(0.0, ge=0, le=1e6)  # tokens at which a text's logits count half
    # tokens at which ALBERT's logits count half beside the n-gram head's; 0: all of them count
    span: float = Field(0.0, ge=0, le=1e6)
    thresholds: dict[str, Threshold] = Field(default_factory=dict)  # multi-label; 0.5 where absent
    # label -> the score from which `decision` is that label; 0 where absent
    decide_at: dict[str, Score] = Field(default_factory=dict)
    # the familiarity below which a text is decided `unsure`; none if not measured
    familiar_at: Score | None = None
    # share of its test texts that int8 labels as float32 does; none if not measured
    int8_agreement: float | None = Field(None, ge=0, le=1)
    exit_confidence: float | None = Field(None, gt=0, lt=1)  # at which a text may leave early
    tokenizer: str = "."  # folder of tokenizer.json, relative to this one
    description: str = ""
    evaluation: dict[str, Any] = Field(default_factory=dict)
    data: list[dict[str, Any]] = Field(default_factory=list)  # lineage: file, sha256, rows, terms
    training: dict[str, Any] = Field(default_factory=dict)  # recipe, seed, versions
    parent: str | None = None
    # relative path -> sha256
    files: dict[str, Digest] = Field(default_factory=dict, max_length=64)

    def given_from(self, label: str) -> float:
        """The score from which a multi-label model gives a text the label."""
        return self.thresholds.get(label, 0.5)

    def decided_from(self, label: str) -> float:
        """The score from which the label, where it is given, may be acted on."""
        return self.decide_at.get(label, 0.0)

    @field_validator("tokenizer")
    @classmethod
    def _beside(cls, folder: str) -> str:
        beside = folder.removeprefix("../")
        if folder != "." and not plain_name(beside):
            raise ValueError("a folder in this one or beside it: NAME or ../NAME")
        return folder

    @model_validator(mode="after")
    def _plain_files(self) -> ModelCard:
        for name in self.files:
            if not plain_name(name) and name != _tokenizer(self):
                raise ValueError(f"files names {name[:40]!a}, which is not in the model's folder")
        return self

    @model_validator(mode="after")
    def _labels_differ(self) -> ModelCard:
        if len(set(self.labels)) < len(self.labels):
            raise ValueError("labels names one label twice")
        return self

    @model_validator(mode="after")
    def _known_thresholds(self) -> ModelCard:
        for name in ("thresholds", "decide_at"):
            unknown = set(getattr(self, name)) - set(self.labels)
            if unknown:
                raise ValueError(
                    f"{name} name {len(unknown)} labels that the model does not have, as "
                    f"{min(unknown)[:40]!a}"
                )
        return self


@dataclass(frozen=True, slots=True)
class Artifact:
    """An artifact whose files were checked. `digest` is the sha256 over its files' digests."""

    path: Path
    card: ModelCard
    digest: str

    @property
    def version(self) -> ModelVersion:
        """The model's entry in a label record."""
        return ModelVersion(
            name=self.card.name,
            version=self.card.version,
            digest=self.digest,
            problem=self.card.problem,
        )

    @property
    def tokenizer(self) -> Path:
        """The folder that holds `tokenizer.json`."""
        return (self.path / self.card.tokenizer).resolve()


def sha256(path: Path) -> str:
    """Hex sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_artifact(path: Path) -> Artifact:
    """Read and check the artifact in folder `path`; a plain Hugging Face ALBERT folder will do.

    Raises ModelError when a file is missing, too large or a link to elsewhere, a digest does not
    match, or the card or `config.json` is wrong.
    """
    if not path.is_dir():
        raise ModelError(f"model folder {path} does not exist")
    card = _read_card(path) if (path / CARD).exists() else _card_from_config(path)
    digests = {name: _checked(path, name, card.files.get(name)) for name in _files(path, card)}
    if card.max_tokens > (most := positions(path)):
        raise ModelError(
            f"{path / CARD}: max_tokens is {card.max_tokens}, but the model has only {most} "
            "positions (max_position_embeddings in config.json)"
        )
    return Artifact(path, card, _digest(digests))


def write_card(path: Path, card: ModelCard) -> Artifact:
    """Write `winnow.json` into folder `path`, with the sha256 of every file the card covers.

    The artifact is the one that `load_artifact` reads from there.
    """
    files = {name: sha256(path / name) for name in _files(path, card) if name != CARD}
    sealed = card.model_copy(update={"files": files})
    written = f"{sealed.model_dump_json(indent=2)}\n".encode()
    (path / CARD).write_bytes(written)
    digests = {**files, CARD: hashlib.sha256(written).hexdigest()}
    return Artifact(path, ModelCard.model_validate_json(written), _digest(digests))


def _tokenizer(card: ModelCard) -> str:
    return TOKENIZER if card.tokenizer == "." else f"{card.tokenizer}/{TOKENIZER}"


def _files(path: Path, card: ModelCard) -> list[str]:
    names = {CONFIG, WEIGHTS, _tokenizer(card), *card.files}
    optional = (CARD, NGRAMS, EXITS, DRIFT, FAMILIARITY)
    names.update(name for name in optional if (path / name).exists())
    return sorted(names)


def _digest(files: Mapping[str, str]) -> str:
    """Of an artifact: the sha256 over its files' digests."""
    listing = "".join(f"{name}:{digest}\n" for name, digest in sorted(files.items()))
    return hashlib.sha256(listing.encode()).hexdigest()


def _checked(path: Path, name: str, expected: str | None) -> str:
    file = model_file(path, name, MOST_BYTES.get(PurePosixPath(name).name, WEIGHTS_BYTES))
    found = sha256(file)
    if expected is not None and found != expected:
        raise ModelError(
            f"{file} does not match its digest in {CARD} (sha256 {found[:12]}…, expected "
            f"{expected[:12]}…): the file was damaged or changed; fetch the model again"
        )
    return found


def _read_card(path: Path) -> ModelCard:
    data = read_file(path, CARD, CARD_BYTES)
    try:
        return ModelCard.model_validate_json(data)
    except ValidationError as error:
        raise ModelError(f"{path / CARD}: {_first(error)}") from None


def _card_from_config(path: Path) -> ModelCard:
    """A card for a plain Hugging Face folder: labels and problem type from `config.json`."""
    config = read_config(path)
    if len(config.label_names) < 2:
        raise ModelError(f"{path}/{CONFIG} has no id2label with two labels or more")
    multi = config.problem_type == "multi_label_classification"
    try:
        return ModelCard(
            name=path.resolve().name,
            version="unversioned",
            labels=config.label_names,
            problem="multi_label" if multi else "single_label",
            max_tokens=config.max_position_embeddings,
        )
    except ValidationError as error:
        raise ModelError(f"{path / CONFIG}: {_first(error)}") from None


def _first(error: ValidationError) -> str:
    first = error.errors(include_input=False)[0]
    where = ".".join(str(part)[:50] for part in first["loc"]) or "the whole file"
    return f"{where}: {first['msg']}"
