"""Text preparation, decisions, artifacts and references."""

import dataclasses
import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from stream_app.core.errors import ModelError
from stream_app.engine import ENGINES, load_engine
from stream_app.model.artifact import ModelCard, load_artifact, write_card
from stream_app.model.decision import decide, for_route, probabilities
from stream_app.model.preparation import Preparation, prepare
from stream_app.model.references import resolve
from stream_app.model.tokenizer import Tokenizer
from tests.kernels import COMPILED
from tests.tiny_model import save_tiny_albert

CARD = ModelCard(name="m", version="1", labels=("ham", "spam"), max_tokens=64)
MULTI = ModelCard(
    name="m", version="1", labels=("a", "b", "c"), problem="multi_label", thresholds={"b": 0.9}
)
TEN = np.array([10, 10])  # the lengths of two texts


@pytest.mark.parametrize(
    ("title", "body", "expected"),
    [
        ("Hello", "  two\n\nwords ", "Hello\ntwo words"),
        ("", "body", "body"),
        ("title", " ", "title"),
        ("", "\u200b\n", ""),
        ("", "vi\u200bag\u00adra \ufb01ne", "viagra fine"),
        ("", "कि\u200dताब", "कि\u200dताब"),  # a joiner that the script needs
    ],
)
def test_preparation(title: str, body: str, expected: str):
    assert prepare(title, body, Preparation()) == expected


def test_preparation_is_bounded():
    assert len(prepare("t" * 99, "b" * 10**6, Preparation(max_chars=50))) == 50


def test_softmax_with_temperature():
    logits = np.array([[2.0, 0.0], [0.0, 4.0]], dtype=np.float32)
    hot = probabilities(logits, CARD.model_copy(update={"temperature": 2.0}), TEN)
    assert np.allclose(hot, [[0.731059, 0.268941], [0.119203, 0.880797]], atol=1e-6)
    predictions = decide(logits, for_route(CARD, 0.9), TEN)
    assert [p.label for p in predictions] == ["ham", "spam"]
    assert [p.decision for p in predictions] == ["unsure", "spam"]
    assert predictions[1].labels == ("spam",)


def test_sigmoid_with_thresholds():
    prediction = decide(np.array([[0.1, 2.0, -3.0]], dtype=np.float32), MULTI, TEN[:1])[0]
    assert prediction.label == "b", "always the highest"
    assert prediction.labels == ("a",), "b is below its own threshold"


def test_extreme_logits_do_not_overflow():
    for card in (CARD, MULTI.model_copy(update={"labels": CARD.labels, "thresholds": {}})):
        out = probabilities(np.array([[1e4, -1e4]], dtype=np.float32), card, TEN[:1])
        assert np.allclose(out, [[1.0, 0.0]])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_tiny_albert(tmp_path / "model")


def test_a_plain_hugging_face_folder_is_accepted(folder: Path):
    artifact = load_artifact(folder)
    assert artifact.card.labels == ("ham", "spam")
    assert artifact.card.problem == "single_label"
    assert resolve(str(folder)).digest == artifact.digest


def test_the_default_labels_that_transformers_leaves_out_are_known(folder: Path):
    config = json.loads((folder / "config.json").read_text())
    del config["id2label"]
    (folder / "config.json").write_text(json.dumps(config))
    assert load_artifact(folder).card.labels == ("LABEL_0", "LABEL_1")


def test_multi_label_is_read_from_the_config(tmp_path: Path):
    folder = save_tiny_albert(tmp_path, ("a", "b", "c"), problem="multi_label_classification")
    assert load_artifact(folder).card.problem == "multi_label"


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_changed_file_is_refused(folder: Path, file: str):
    write_card(folder, CARD)
    digest = load_artifact(folder).digest
    (folder / file).write_bytes((folder / file).read_bytes() + b" ")
    with pytest.raises(ModelError, match="does not match its digest"):
        load_artifact(folder)
    assert len(digest) == 64


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda f: (f / "model.safetensors").unlink(), "has no model.safetensors"),
        (lambda f: (f / "config.json").write_text("{"), "is not JSON"),
        (lambda f: (f / "config.json").write_text('{"model_type": "bert"}'), "not an ALBERT"),
        (lambda f: (f / "winnow.json").write_text('{"name": "x"}'), "winnow.json: version"),
        (lambda f: (f / "tokenizer.json").unlink(), "has no tokenizer.json"),
        (
            lambda f: write_card(f, CARD.model_copy(update={"max_tokens": 65})),
            "max_tokens is 65, but .* only 64 positions",
        ),
    ],
)
def test_what_is_wrong_with_a_folder_is_said(folder: Path, change, says: str):
    change(folder)
    with pytest.raises(ModelError, match=says):
        load_artifact(folder)


def test_pickles_are_never_loaded(folder: Path):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="is a pickle and is never loaded"):
        load_artifact(folder)


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


@pytest.mark.parametrize("backend", ["auto", COMPILED, "packed", "reference"])
def test_a_pickle_under_the_name_of_weights_is_never_loaded(folder: Path, backend: str):
    trap = folder / "trapped"
    (folder / "winnow.json").unlink(missing_ok=True)  # no digest to refuse it by
    (folder / "model.safetensors").write_bytes(pickle.dumps(Trap(trap)))
    with pytest.raises(ModelError, match=r"model\.safetensors cannot be read"):
        load_engine(backend, load_artifact(folder), "cpu")
    assert not trap.exists()


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("builtin:nothing", "there are: spam, reviews, news"),
        ("/no/such/folder", "does not exist"),
        ("models:/spam@champion", "registry"),
    ],
)
def test_wrong_references_say_what_to_do(reference: str, says: str):
    with pytest.raises(ModelError, match=says):
        resolve(reference)


def test_tokens_are_cut_at_the_models_length(folder: Path):
    config = json.loads((folder / "config.json").read_text())
    tokens = Tokenizer(load_artifact(folder)).encode(["good " * 500, ""])
    assert [len(ids) for ids in tokens] == [config["max_position_embeddings"], 2]


def test_a_long_text_may_keep_its_end(folder: Path):
    artifact = load_artifact(folder)
    card = artifact.card.model_copy(update={"max_tokens": 16, "truncation": "head_tail"})
    whole = Tokenizer(artifact)
    cut = Tokenizer(dataclasses.replace(artifact, card=card))
    text = "good " * 5 + "bad " * 10
    [ids], [all_ids] = cut.encode([text]), whole.encode([text])
    assert len(all_ids) == 17
    assert ids == all_ids[:4] + all_ids[-12:]
    assert cut.encode(["good", ""]) == whole.encode(["good", ""])


@pytest.mark.parametrize("name", [COMPILED if name == "compiled" else name for name in ENGINES])
def test_every_engine_keeps_the_protocol(name: str, folder: Path):
    artifact = load_artifact(folder)
    engine = load_engine(name, artifact, "cpu", "auto" if name == "fake" else "float32")
    engine.warm_up()
    tokens = Tokenizer(artifact).encode(["a good text", "short", "", "the " * 100])
    together = engine.logits(tokens)
    assert together.shape == (4, 2)
    assert together.dtype == np.float32
    alone = np.concatenate([engine.logits([ids]) for ids in tokens])
    assert np.abs(together - alone).max() < 1e-4, "batch invariance"
    assert engine.logits([]).shape == (0, 2)
    assert engine.labels == ("ham", "spam")
    assert engine.computed_tokens(tokens) >= sum(map(len, tokens))
    assert engine.memory_bytes >= 0
    engine.close()


def test_an_encoder_without_a_classifier_is_refused(tmp_path: Path):
    from transformers import AlbertModel

    folder = save_tiny_albert(tmp_path)
    AlbertModel.from_pretrained(folder).save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    config["id2label"] = {"0": "ham", "1": "spam"}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="not a fine-tuned classifier"):
        load_engine("reference", load_artifact(folder), "cpu")
