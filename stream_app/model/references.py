"""Model references: a path, `builtin:NAME` or `hf://ORG/NAME`."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from stream_app.core.errors import ModelError
from stream_app.model.artifact import Artifact, load_artifact

BUILTIN = ("spam", "reviews", "news")


def resolve(reference: str) -> Artifact:
    """The artifact a reference points at, checked. Raises ModelError with what to do."""
    return load_artifact(resolve_folder(reference))


def resolve_folder(reference: str) -> Path:
    """The folder a reference points at, fetched if need be. Raises ModelError."""
    scheme, separator, name = reference.partition(":")
    if scheme == "builtin" and separator:
        return _builtin(name)
    if reference.startswith("hf://"):
        return _from_hub(reference.removeprefix("hf://"))
    if scheme == "models" and separator:
        raise ModelError(
            f"{reference}: the model registry is not part of this version; "
            "use a path, builtin:NAME or hf://ORG/NAME"
        )
    return Path(reference).expanduser()


def _builtin(name: str) -> Path:
    if name not in BUILTIN:
        raise ModelError(f"builtin:{name} does not exist; there are: {', '.join(BUILTIN)}")
    return Path(str(files("stream_app.model") / "builtin" / name))


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download

    wanted = ["*.json", "*.safetensors"]
    try:
        return Path(snapshot_download(name, allow_patterns=wanted))
    except Exception as error:  # the hub client raises many unrelated types
        raise ModelError(
            f"hf://{name} could not be downloaded ({type(error).__name__}): check the name, "
            "the network and HF_TOKEN, or download it and give its path"
        ) from error
