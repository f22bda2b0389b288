"""Registries that are slow, huge or talk nonsense, and what they register to harm: the old model
serves on, and the reason is said."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from stream_app.__main__ import main
from stream_app.core.errors import ModelError, RegistryUnreachable
from stream_app.core.metrics import Metrics
from stream_app.core.settings import EngineSettings, LabelSettings, RegistrySettings
from stream_app.engine.fake import FakeEngine
from stream_app.model.artifact import Artifact, load_artifact
from stream_app.model.confined import registry as confined_registry
from stream_app.model.confined.registry import ConfinedRegistry
from stream_app.model.references import resolve
from stream_app.model.registry import CHAMPION, RegisteredVersion
from stream_app.services.model_source import ModelSource
from stream_app.services.reload import OUTCOMES, ModelReloader, Watch
from stream_app.serving.models import Models
from stream_app.serving.served import ModelLoader
from tests.command_line import run_main
from tests.fake_route import CARD, served
from tests.hostile import Hostile, sound
from tests.hostile_models import HOSTILE, HOSTILE_WEIGHTS
from tests.pretended_registry import Pretender, Reply, endless, saying, silent, trickling, version
from tests.registries import NAME, OwnRegistry

REFERENCE = f"models:/{NAME}@{CHAMPION}"
PATIENCE = 240.0  # seconds; a machine may have much else to do
Await = Callable[[str], Awaitable[None]]


def models() -> Models:
    return Models(served(FakeEngine(CARD.labels)), lambda model: model.engine.close())


def source(registry: ConfinedRegistry | Shelf, cache: Path, backend: str = "fake") -> ModelSource:
    settings = LabelSettings(name="r", format="text", model="m")
    how = EngineSettings(backend=backend, device="cpu", threads=1)
    return ModelSource(REFERENCE, registry, cache, ModelLoader(settings, how, lambda outcome: None))


@asynccontextmanager
async def reloading(slot: Models, looks_at: ModelSource) -> AsyncIterator[Await]:
    """A reloader that looks all the time: what it counts next can be awaited.

    One for a whole test: a look that is under way when a reloader stops would go on beside the next
    one's, and take a version from it.
    """
    metrics, counted = Metrics(), asyncio.Queue[str]()
    for outcome in OUTCOMES:
        counter = metrics.reloads.labels("r", outcome)
        counter.inc = partial(counted.put_nowait, outcome)
    reloader = ModelReloader([Watch("r", looks_at, slot)], 0.05, metrics)

    async def counts(outcome: str) -> None:
        async with asyncio.timeout(PATIENCE):
            assert await counted.get() == outcome

    await reloader.start()
    try:
        yield counts
    finally:
        await reloader.stop()


@pytest.mark.parametrize("reply", [silent, trickling, endless])
async def test_a_slow_or_endless_registry_is_given_up(
    pretender: Pretender,
    tmp_path: Path,
    reply: Reply,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    monkeypatch.setattr(confined_registry, "FIND_SECONDS", 2.0)
    pretender.reply = reply
    slot, registry = models(), ConfinedRegistry(pretender.uri)
    champion = slot.champion
    async with reloading(slot, source(registry, tmp_path)) as counts:
        await counts("unreachable")
    assert slot.champion is champion
    assert champion.engine.logits([[1, 2]]).shape == (1, 2)
    assert "has not answered for 2 s" in caplog.text
    # what was ended leaves nothing behind: the next question is answered
    monkeypatch.setattr(confined_registry, "FIND_SECONDS", 60.0)
    pretender.reply = version()
    assert (await asyncio.to_thread(registry.find, NAME, CHAMPION)).version == "1"
    registry.close()


NONSENSE = {
    "a page": saying(b"<html>login</html>"),
    "nothing": saying(b""),
    "a list": saying([1, 2]),
    "another model": version(name="../../x"),
    "a version that is a path": version(version="../1"),
    "a source of a megabyte": version(source="x" * 2**20),
    "a deep answer": saying(b"[" * 100_000),
}


def test_a_registry_that_talks_nonsense_is_unreachable(pretender: Pretender, tmp_path: Path):
    registry = ConfinedRegistry(pretender.uri)
    for name, reply in NONSENSE.items():
        pretender.reply = reply
        with pytest.raises(RegistryUnreachable, match=re.escape(pretender.uri)) as raised:
            registry.find(NAME, CHAMPION)
        assert len(str(raised.value)) < 1000, name
    registry.close()
    pretender.reply = NONSENSE["a page"]
    with pytest.raises(RegistryUnreachable):
        resolve(REFERENCE, RegistrySettings(uri=pretender.uri, cache=tmp_path))


def test_a_registry_that_refuses_our_password_is_said_to(pretender: Pretender):
    registry = ConfinedRegistry(pretender.uri)
    for status in (401, 403):
        pretender.reply = saying(b"You are not authenticated.", status)
        with pytest.raises(RegistryUnreachable, match=r"refuses us: .* ~/\.mlflow/credentials"):
            registry.find(NAME, CHAMPION)
    registry.close()


@pytest.mark.parametrize("digest", ["../../../etc", "/etc", "f" * 63, "F" * 64, ""])
def test_a_digest_that_is_none_leads_nowhere(pretender: Pretender, tmp_path: Path, digest: str):
    cache, registry = tmp_path / "a" / "cache", ConfinedRegistry(pretender.uri)
    found = RegisteredVersion(NAME, "1", digest, (), "", datetime.now(UTC), {})
    with pytest.raises(ModelError, match="has no digest"):
        registry.fetch(found, cache)
    assert list(tmp_path.iterdir()) == []


def digest(folder: Path) -> str:
    """Of a folder; of one that nobody would load, any."""
    try:
        return load_artifact(folder).digest
    except ModelError:
        return "0" * 64


BAD = [h for h in HOSTILE if h.name in ("labels: a newline", "the pattern (a+)+b")]
BAD += [h for h in HOSTILE_WEIGHTS if h.name.startswith("a weight of nan in classifier")]


@pytest.mark.parametrize("hostile", BAD, ids=str)
async def test_a_hostile_version_leaves_the_old_model_serving(
    registry: OwnRegistry, tmp_path: Path, hostile: Hostile, caplog: pytest.LogCaptureFixture
):
    good, bad = registry.model(0), registry.model(1)
    hostile.change(bad)
    registry.register(good, CHAMPION)
    client, slot, cache = ConfinedRegistry(registry.uri), models(), tmp_path / "cache"
    looks_at = source(client, cache, backend="packed")
    async with reloading(slot, looks_at) as counts:
        await counts("swapped")
        champion = slot.champion
        registry.register(bad, CHAMPION, digest=digest(bad))
        await counts("refused")
    assert slot.champion is champion
    assert champion.engine.logits([[1, 2]]).shape == (1, 2)
    assert re.search(rf"models:/{NAME}/2 cannot serve: .*({hostile.says})", caplog.text)
    client.close()


class Shelf:
    """A registry whose newest version is a folder here: as fast as a test of all kinds needs it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.versions = 0

    def find(self, name: str, alias_or_version: str) -> RegisteredVersion:
        return RegisteredVersion(name, str(self.versions), "0" * 64, (), "", datetime.now(UTC), {})

    def fetch(self, found: RegisteredVersion, cache: Path) -> Artifact:
        return resolve(str(self.folder))


async def test_every_kind_of_hostile_version_leaves_the_old_model_serving(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    """One after the other: what is refused leaves nothing behind that helps the next."""
    (tmp_path / "cache").mkdir()
    template = sound(tmp_path / "sound")
    shelf, slot = Shelf(template), models()
    looks_at = source(shelf, tmp_path / "cache", backend="packed")
    async with reloading(slot, looks_at) as counts:
        await counts("swapped")
        champion = slot.champion
        for number, hostile in enumerate((*HOSTILE, *HOSTILE_WEIGHTS), 1):
            shelf.folder = shutil.copytree(template, tmp_path / f"{number}" / "model")
            hostile.change(shelf.folder)
            caplog.clear()
            shelf.versions = number
            await counts("refused")
            said = "".join(record.getMessage() for record in caplog.records)
            assert re.search(rf"models:/{NAME}/{number} cannot serve: .*({hostile.says})", said), (
                said
            )
            assert len(said) < 2000, hostile
            assert said.isprintable(), hostile
            assert slot.champion is champion, hostile
        assert champion.engine.logits([[1, 2]]).shape == (1, 2)
        shelf.folder, shelf.versions = template, number + 1
        await counts("swapped")


@pytest.mark.parametrize("command", [["list"], ["promote", NAME]], ids=" ".join)
def test_a_command_gives_a_slow_registry_up(
    pretender: Pretender, command: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(confined_registry, "FIND_SECONDS", 2.0)
    monkeypatch.setenv("WINNOW_REGISTRY__URI", pretender.uri)
    pretender.reply = trickling
    ended = run_main(main, "models", *command)
    assert ended.returncode == 1
    assert f"the model registry at {pretender.uri} has not answered for 2 s" in ended.stderr


def test_a_version_of_a_terabyte_is_not_fetched(
    registry: OwnRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(confined_registry, "FETCH_BYTES", 50 * 2**20)
    folder, cache = registry.model(0), tmp_path / "cache"
    registry.register(folder, CHAMPION)
    with (folder / "more.bin").open("wb") as file:
        file.truncate(2**40)
    client = ConfinedRegistry(registry.uri)
    with pytest.raises(ModelError, match="is larger than"):
        client.fetch(client.find(NAME, CHAMPION), cache)
    assert list((cache / NAME).iterdir()) == []
    client.close()


def test_the_process_that_asks_ends_with_the_one_it_asks_for(pretender: Pretender):
    registry = ConfinedRegistry(pretender.uri)
    pretender.reply = version()
    registry.find(NAME, CHAMPION)
    child = registry._child
    child.stdin.close()
    assert child.wait(60) == 0
