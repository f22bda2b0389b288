"""A model artifact on disk: a Hugging Face folder plus `winnow.json`, every file checked by sha256.

Weights are safetensors only: nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from stream_app.core.errors import ModelError
from stream_app.core.label_record import ModelVersion
from stream_app.model.preparation import Preparation

CARD = "winnow.json"
WEIGHTS = "model.safetensors"
TOKENIZER = "tokenizer.json"
NGRAMS = "ngrams.safetensors"  # optional: see `stream_app.model.ngrams`
EXITS = "exits.safetensors"  # optional: see `stream_app.model.exits`
DRIFT = "drift.json"  # optional: see `stream_app.model.drift_reference`
FAMILIARITY = "familiarity.safetensors"  # optional: see `stream_app.model.familiarity`
DEFAULT_MAX_TOKENS = 512
Truncation = Literal["head", "head_tail"]
Score = Annotated[float, Field(ge=0, le=1)]
Problem = Literal["single_label", "multi_label"]


class ModelCard(BaseModel):
    """`winnow.json`: what a model is, how it was made and what was measured."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    version: str
    labels: tuple[str, ...] = Field(min_length=2)
    problem: Problem = "single_label"
    preparation: Preparation = Preparation()
    max_tokens: int = Field(DEFAULT_MAX_TOKENS, ge=2)
    truncation: Truncation = "head"  # what is kept of a longer text
    temperature: float = Field(1.0, gt=0)
    evidence: float = Field(0.0, ge=0)  # tokens at which a text's logits count half
    thresholds: dict[str, float] = Field(default_factory=dict)  # multi-label; 0.5 where absent
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
    files: dict[str, str] = Field(default_factory=dict)  # relative path -> sha256

    @model_validator(mode="after")
    def _known_thresholds(self) -> ModelCard:
        for name in ("thresholds", "decide_at"):
            unknown = set(getattr(self, name)) - set(self.labels)
            if unknown:
                raise ValueError(f"{name} names labels the model does not have: {sorted(unknown)}")
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
        return ModelVersion(name=self.card.name, version=self.card.version, digest=self.digest)

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

    Raises ModelError when a file is missing, a digest does not match or the card is wrong.
    """
    if not path.is_dir():
        raise ModelError(f"model folder {path} does not exist")
    card = _read_card(path) if (path / CARD).exists() else _card_from_config(path)
    for name in ("config.json", WEIGHTS):
        if not (path / name).is_file():
            raise ModelError(_missing(path, name))
    digests = {name: _checked(path / name, card.files.get(name)) for name in _files(path, card)}
    if card.max_tokens > (most := positions(path)):
        raise ModelError(
            f"{path / CARD}: max_tokens is {card.max_tokens}, but the model has only {most} "
            "positions (max_position_embeddings in config.json)"
        )
    return Artifact(path, card, _digest(digests))


def positions(path: Path) -> int:
    """How many tokens of a text the model in folder `path` can read. Raises ModelError."""
    return int(_read_config(path).get("max_position_embeddings", DEFAULT_MAX_TOKENS))


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


def _files(path: Path, card: ModelCard) -> list[str]:
    tokenizer = TOKENIZER if card.tokenizer == "." else f"{card.tokenizer}/{TOKENIZER}"
    names = {"config.json", WEIGHTS, tokenizer, *card.files}
    names.update(
        name for name in (CARD, NGRAMS, EXITS, DRIFT, FAMILIARITY) if (path / name).exists()
    )
    return sorted(names)


def _digest(files: Mapping[str, str]) -> str:
    """Of an artifact: the sha256 over its files' digests."""
    listing = "".join(f"{name}:{digest}\n" for name, digest in sorted(files.items()))
    return hashlib.sha256(listing.encode()).hexdigest()


def _checked(file: Path, expected: str | None) -> str:
    if not file.is_file():
        raise ModelError(_missing(file.parent, file.name))
    found = sha256(file)
    if expected is not None and found != expected:
        raise ModelError(
            f"{file} does not match its digest in {CARD} (sha256 {found[:12]}…, expected "
            f"{expected[:12]}…): the file was damaged or changed; fetch the model again"
        )
    return found


def _missing(path: Path, name: str) -> str:
    pickled = [p.name for p in path.glob("*.bin")] + [p.name for p in path.glob("*.pt")]
    hint = (
        f"; {pickled[0]} is a pickle and is never loaded: save the model with safetensors"
        if name == WEIGHTS and pickled
        else "; is this a Hugging Face model folder?"
    )
    return f"model folder {path} has no {name}{hint}"


def _read_card(path: Path) -> ModelCard:
    try:
        return ModelCard.model_validate_json((path / CARD).read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole file"
        raise ModelError(f"{path / CARD}: {where}: {first['msg']}") from None


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config: dict[str, Any] = json.loads((path / "config.json").read_bytes())
    except FileNotFoundError:
        raise ModelError(_missing(path, "config.json")) from None
    except ValueError as error:
        raise ModelError(f"{path / 'config.json'} is not JSON: {error}") from None
    return config


def _card_from_config(path: Path) -> ModelCard:
    """A card for a plain Hugging Face folder: labels and problem type from `config.json`."""
    config = _read_config(path)
    classifies = "AlbertForSequenceClassification" in config.get("architectures", ())
    # transformers leaves its default, two labels, out of the file
    labels = config.get("id2label", {0: "LABEL_0", 1: "LABEL_1"} if classifies else {})
    names = {int(index): label for index, label in labels.items()}
    if config.get("model_type") != "albert":
        kind = config.get("model_type", "no model_type")
        raise ModelError(f"{path} is not an ALBERT model (config.json says {kind!r})")
    if len(names) < 2:
        raise ModelError(f"{path}/config.json has no id2label with two labels or more")
    multi = config.get("problem_type") == "multi_label_classification"
    return ModelCard(
        name=path.resolve().name,
        version="unversioned",
        labels=tuple(names[index] for index in sorted(names)),
        problem="multi_label" if multi else "single_label",
        max_tokens=config.get("max_position_embeddings", DEFAULT_MAX_TOKENS),
    )
