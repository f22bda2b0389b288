"""The registry's reading side, on MLflow's own SQLite store."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream_app.core.errors import ModelError, RegistryUnreachable
from stream_app.core.settings import RegistrySettings
from stream_app.model.artifact import load_artifact
from stream_app.model.references import registered, resolve
from stream_app.model.registry import CHALLENGER, CHAMPION, PREVIOUS, Registry
from tests.registries import NAME, OwnRegistry


def aliases(registry: OwnRegistry) -> dict[str, str]:
    return {a: v.version for v in registry.reader.versions(NAME) for a in v.aliases}


def test_a_version_is_found_fetched_and_checked(registry: OwnRegistry, tmp_path: Path):
    folder = registry.model(0)
    registry.register(folder, CHAMPION)
    reader = registry.reader
    found = reader.find(NAME, CHAMPION)
    assert found == reader.find(NAME, "1") == reader.versions(NAME)[0]
    artifact = reader.fetch(found, tmp_path / "cache")
    assert artifact.digest == load_artifact(folder).digest == found.digest
    assert artifact.path.is_relative_to(tmp_path / "cache")


def test_a_kept_copy_needs_no_source_and_a_damaged_one_is_fetched_again(
    registry: OwnRegistry, tmp_path: Path
):
    folder, cache = registry.model(0), tmp_path / "cache"
    registry.register(folder, CHAMPION)
    found = registry.reader.find(NAME, CHAMPION)
    copy = registry.reader.fetch(found, cache).path
    (copy / "config.json").write_text("{}")
    assert registry.reader.fetch(found, cache).digest == found.digest
    folder.rename(tmp_path / "gone")
    assert registry.reader.fetch(found, cache).digest == found.digest
    (copy / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="register it again"):
        registry.reader.fetch(found, cache)


@pytest.mark.parametrize("damage", ["weights", "digest"])
def test_what_does_not_match_is_refused_and_leaves_nothing(
    registry: OwnRegistry, tmp_path: Path, damage: str
):
    folder, cache = registry.model(0), tmp_path / "cache"
    registry.register(folder, CHAMPION, digest="f" * 64 if damage == "digest" else None)
    if damage == "weights":
        with (folder / "model.safetensors").open("r+b") as file:
            file.seek(-4, 2)
            file.write(b"\xff\xff\xff\xff")
    with pytest.raises(ModelError, match="damaged or changed"):
        registry.reader.fetch(registry.reader.find(NAME, CHAMPION), cache)
    assert list((cache / NAME).iterdir()) == []


def test_promotion_and_rollback_move_the_aliases(registry: OwnRegistry):
    first, second = registry.model(0), registry.model(1)
    registry.register(first, CHAMPION)
    registry.register(second, CHALLENGER)
    assert registry.reader.promote(NAME).version == "2"
    assert aliases(registry) == {CHAMPION: "2", PREVIOUS: "1"}
    assert registry.reader.rollback(NAME).version == "1"
    assert aliases(registry) == {CHAMPION: "1", PREVIOUS: "2"}
    assert registry.reader.promote(NAME, "2").version == "2"
    assert aliases(registry) == {CHAMPION: "2", PREVIOUS: "1"}
    assert registry.reader.promote(NAME, "2").version == "2"
    assert aliases(registry) == {CHAMPION: "2", PREVIOUS: "1"}, "promoting twice loses nothing"
    assert [v.version for v in registry.reader.versions(NAME)] == ["2", "1"]


def test_what_is_not_there_is_said(registry: OwnRegistry, tmp_path: Path):
    registry.register(registry.model(0), CHAMPION)
    for ask in (
        lambda: registry.reader.find(NAME, CHALLENGER),
        lambda: registry.reader.find(NAME, "7"),
        lambda: registry.reader.find("other", CHAMPION),
        lambda: registry.reader.versions("other"),
        lambda: registry.reader.promote(NAME),
        lambda: registry.reader.rollback(NAME),
    ):
        with pytest.raises(ModelError) as caught:
            ask()
        assert not isinstance(caught.value, RegistryUnreachable), caught.value
    for uri in (f"sqlite:///{tmp_path}/none.db", "http://127.0.0.1:1"):
        with pytest.raises(RegistryUnreachable):
            Registry(uri).find(NAME, CHAMPION)
    assert not (tmp_path / "none.db").exists(), "asking makes no registry"


def test_references(registry: OwnRegistry, tmp_path: Path):
    folder = registry.model(0)
    registry.register(folder, CHAMPION)
    settings = RegistrySettings(uri=registry.uri, cache=tmp_path / "cache")
    for reference in (f"models:/{NAME}@champion", f"models:/{NAME}/1"):
        assert resolve(reference, settings).digest == load_artifact(folder).digest
    moves = [registered(f"models:/{NAME}{which}") for which in ("@champion", "/1")]
    assert [found and found.moves for found in moves] == [True, False]
    assert registered("builtin:spam") is None
    for wrong in ("models:/mail", "models:mail@champion", "models:/a/b@c", "models:/mail@1"):
        with pytest.raises(ModelError, match="write models:/NAME@ALIAS"):
            registered(wrong)
