"""Teachers that are no ALBERT: made by `lab teach`, heeded by `fit --teacher`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import BertConfig, BertModel, MPNetConfig, MPNetModel, PreTrainedModel
from typer.testing import CliRunner, Result

from tests.command_line import reported
from tests.tiny_model import SPECIAL, WORDS, save_tiny_albert
from tests.training_data import write_data
from training.__main__ import app

pytestmark = pytest.mark.filterwarnings("ignore")

KINDS = {"bert": (BertConfig, BertModel), "mpnet": (MPNetConfig, MPNetModel)}


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)])


def train(*arguments: str | Path) -> Any:
    return reported(app, *arguments)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, recipe and an ALBERT to teach."""
    folder = tmp_path_factory.mktemp("teach")
    write_data(folder)
    save_tiny_albert(folder / "encoder")
    return folder


def save_encoder(kind: str, folder: Path, given: Path) -> Path:
    """A tiny encoder of another kind, with the tokenizer of the ALBERT in `given`."""
    config, model = KINDS[kind]
    torch.manual_seed(1)
    shape = config(
        vocab_size=len(SPECIAL) + len(WORDS) + 1,
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        pad_token_id=0,
    )
    made: PreTrainedModel = model(shape)
    made.save_pretrained(folder)
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "tokenizer.json").write_bytes((given / "tokenizer.json").read_bytes())
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_a_teacher_of_another_kind_is_made_and_heeded(
    kind: str, folder: Path, tmp_path: Path
) -> None:
    encoder = save_encoder(kind, tmp_path / kind, folder / "encoder")
    data = ("--data", folder)
    recipe = tmp_path / "frozen.toml"
    whole = (folder / "tiny.toml").read_text()
    recipe.write_text(whole.replace("warmup_steps = 5", "warmup_steps = 5\nfrozen_layers = 2"))
    out = tmp_path / "teacher"
    told = train("lab", "teach", "--recipe", recipe, "--encoder", encoder, "--out", out, *data)
    assert told["mail.tar.gz"]["accuracy"] > 0.9  # the texts give their labels away
    before = load_file(encoder / "model.safetensors")
    after = {
        name.removeprefix(f"{kind}."): value
        for name, value in load_file(out / "model.safetensors").items()
    }
    common = before.keys() & after.keys()  # a pooler may be left out
    moved = {name for name in common if not torch.equal(before[name].half(), after[name])}
    assert any("layer.2." in name for name in moved)
    assert not any("layer.0." in name or "layer.1." in name or "embed" in name for name in moved)

    student = ("--encoder", folder / "encoder", "--out", tmp_path / "student")
    given = ("--recipe", folder / "tiny.toml", *data, "--steps", "20")
    fitted = train("fit", *given, *student, "--teacher", out)
    assert fitted["test"]["mail.tar.gz"]["rows"]
    card = json.loads((tmp_path / "student" / "winnow.json").read_text())
    assert card["training"]["teachers"] == [str(out)]


def test_a_folder_that_cannot_teach_is_refused_with_a_reason(folder: Path, tmp_path: Path) -> None:
    given = ("--recipe", folder / "tiny.toml", "--data", folder, "--encoder", folder / "encoder")
    result = invoke("fit", *given, "--out", tmp_path / "out", "--teacher", tmp_path)
    assert result.exit_code == 1
    assert "is no classifier that can be read" in str(result.exception)
    other = tmp_path / "other"
    encoder = save_encoder("bert", tmp_path / "bert", folder / "encoder")
    train("lab", "teach", *given[:4], "--encoder", encoder, "--out", other, "--steps", "1")
    config = json.loads((other / "config.json").read_text())
    config["id2label"], config["label2id"] = {0: "good", 1: "bad"}, {"good": 0, "bad": 1}
    (other / "config.json").write_text(json.dumps(config))
    result = invoke("fit", *given, "--out", tmp_path / "out", "--teacher", other)
    assert "tells bad, good apart; the recipe's are ham, spam" in str(result.exception)


def test_more_frozen_layers_than_there_are_is_refused(folder: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "frozen.toml"
    whole = (folder / "tiny.toml").read_text()
    recipe.write_text(whole.replace("warmup_steps = 5", "warmup_steps = 5\nfrozen_layers = 2"))
    given = ("--data", folder, "--encoder", folder / "encoder", "--out", tmp_path / "out")
    result = invoke("fit", "--recipe", recipe, *given)
    assert "frozen_layers is 2, but the encoder has 1 of its own" in str(result.exception)
