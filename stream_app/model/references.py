"""Model references: a path, `builtin:…`, `hf://ORG/NAME`, `models:/NAME@ALIAS` or `…/VERSION`."""

from __future__ import annotations

import re
from contextlib import closing
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from stream_app.core.errors import ModelError
from stream_app.core.settings import RegistrySettings
from stream_app.model.artifact import Artifact, load_artifact
from stream_app.model.confined.registry import FETCH_BYTES, ConfinedRegistry

BUILTIN = ("spam", "reviews", "news", "sentiment-multilingual")
ENCODER = "builtin:encoder"  # what models are made from: it labels nothing
HUB_FILES = 200
_REGISTERED = re.compile(
    r"models:/(?P<name>[\w-][\w.-]*)(@(?P<alias>[a-z][\w-]*)|/(?P<version>\d+))"
)


@dataclass(frozen=True, slots=True)
class Registered:
    """The parts of `models:/…`: a model's name, and an alias, which may move, or a version."""

    name: str
    alias_or_version: str

    @property
    def moves(self) -> bool:
        """Whether it may point at another version later."""
        return not self.alias_or_version.isdecimal()


def registered(reference: str) -> Registered | None:
    """The parts of a reference to the registry; None for any other. Raises ModelError."""
    if not reference.startswith("models:"):
        return None
    found = _REGISTERED.fullmatch(reference)
    if found is None:
        raise ModelError(f"{reference}: write models:/NAME@ALIAS or models:/NAME/VERSION")
    return Registered(found["name"], found["alias"] or found["version"])


def resolve(reference: str, registry: RegistrySettings | None = None) -> Artifact:
    """The artifact a reference points at, checked. Raises ModelError with what to do."""
    if reference == ENCODER:
        raise ModelError(
            f"{ENCODER} labels nothing by itself: make a model with winnow-train fit --examples"
        )
    return load_artifact(resolve_folder(reference, registry))


def resolve_folder(reference: str, registry: RegistrySettings | None = None) -> Path:
    """The folder a reference points at, fetched if need be. Raises ModelError.

    `registry` is where `models:/…` is looked up, by default what RegistrySettings says.
    """
    scheme, separator, name = reference.partition(":")
    if scheme == "builtin" and separator:
        return _builtin(name)
    if reference.startswith("hf://"):
        return _from_hub(reference.removeprefix("hf://"))
    if wanted := registered(reference):
        settings = registry or RegistrySettings()
        with closing(ConfinedRegistry(settings.uri)) as client:
            found = client.find(wanted.name, wanted.alias_or_version)
            return client.fetch(found, settings.cache).path
    return Path(reference).expanduser()


def _builtin(name: str) -> Path:
    if name not in (*BUILTIN, "encoder"):
        raise ModelError(f"builtin:{name} does not exist; there are: {', '.join(BUILTIN)}")
    return Path(str(files("stream_app.model") / "builtin" / name))


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import DryRunError

    wanted = ["*.json", "*.safetensors"]
    try:
        try:
            found = snapshot_download(name, allow_patterns=wanted, dry_run=True)
        except DryRunError:  # the hub is away: what was fetched before will do
            found = []
        size = sum(file.file_size or 0 for file in found)
        if len(found) > HUB_FILES or size > FETCH_BYTES:
            raise ModelError(
                f"hf://{name} has {len(found)} files of {size} bytes: that is more than one model; "
                "download the one you mean, and give its path"
            )
        return Path(snapshot_download(name, allow_patterns=wanted))
    except ModelError:
        raise
    except Exception as error:  # the hub client raises many unrelated types
        raise ModelError(
            f"hf://{name} could not be downloaded ({type(error).__name__}): check the name, "
            "the network and HF_TOKEN, or download it and give its path"
        ) from error
