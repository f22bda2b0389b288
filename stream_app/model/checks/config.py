"""`config.json`: the sizes of an ALBERT model, bounded so that a load is, too."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from stream_app.core.errors import ModelError
from stream_app.model.checks.files import CONFIG_BYTES, read_json

CONFIG = "config.json"
DEFAULT_MAX_TOKENS = 512
ACTIVATIONS = {"gelu": "none", "gelu_new": "tanh", "gelu_pytorch_tanh": "tanh"}
# the largest published, albert-xxlarge, has 2.4 billion a token and 220 million weights
MOST_WORK = 2**34  # multiplications of the layers for one token
MOST_WEIGHTS = 2**30

Size = Annotated[int, Field(ge=1, le=65_536)]


class Config(BaseModel):
    """The keys that Winnow reads, under their names in transformers."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    vocab_size: int = Field(ge=1, le=2**22)
    embedding_size: Size
    hidden_size: Size
    intermediate_size: Size
    num_hidden_layers: int = Field(ge=1, le=256)
    num_attention_heads: int = Field(ge=1, le=1024)
    num_hidden_groups: int = Field(1, ge=1)
    inner_group_num: int = Field(1, ge=1, le=16)
    max_position_embeddings: int = Field(DEFAULT_MAX_TOKENS, ge=2, le=65_536)
    type_vocab_size: int = Field(2, ge=1, le=1024)
    layer_norm_eps: float = Field(1e-12, gt=0, lt=1)
    hidden_act: str = Field("gelu_new", max_length=50)
    architectures: tuple[str, ...] | None = None
    problem_type: str | None = None
    id2label: dict[int, str] | None = None
    pooling: Literal["cls", "mean"] = "cls"  # Winnow's own key: what of a text the pooler reads

    @model_validator(mode="after")
    def _possible(self) -> Config:
        hidden, layers = self.hidden_size, self.num_hidden_layers
        if hidden % self.num_attention_heads:
            raise ValueError("num_attention_heads does not divide hidden_size")
        if self.num_hidden_groups > layers:
            raise ValueError("num_hidden_groups is more than num_hidden_layers")
        layer = 4 * hidden**2 + 2 * hidden * self.intermediate_size
        tables = self.vocab_size + self.max_position_embeddings + self.type_vocab_size
        stored = (
            layer * self.num_hidden_groups * self.inner_group_num + tables * self.embedding_size
        )
        if layer * layers * self.inner_group_num > MOST_WORK or stored > MOST_WEIGHTS:
            raise ValueError("a model of these sizes is larger than any ALBERT")
        return self

    @property
    def label_names(self) -> tuple[str, ...]:
        """In the order of the outputs. transformers leaves its default, two labels, out."""
        if self.id2label is None:
            classifies = "AlbertForSequenceClassification" in (self.architectures or ())
            return ("LABEL_0", "LABEL_1") if classifies else ()
        return tuple(self.id2label[index] for index in sorted(self.id2label))


def read_config(folder: Path) -> Config:
    """Raises ModelError if the model is not an ALBERT, or its sizes are out of bounds."""
    file, found = folder / CONFIG, read_json(folder, CONFIG, CONFIG_BYTES)
    if found.get("model_type") != "albert":
        kind = str(found.get("model_type", "no model_type"))[:50]
        raise ModelError(f"{folder} is not an ALBERT model (config.json says {kind!r})")
    try:
        return Config.model_validate(found)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part)[:50] for part in first["loc"])
        raise ModelError(f"{file}: {where + ': ' if where else ''}{first['msg']}") from None


def positions(folder: Path) -> int:
    """How many tokens of a text the model in `folder` can read. Raises ModelError."""
    return read_config(folder).max_position_embeddings
