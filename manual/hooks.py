"""What MkDocs reads besides `pages/`: the repository's own pages, and the generated references."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from manual import commands, configuration, http_api, metrics

ROOT = Path(__file__).resolve().parents[1]
SHOWN = (
    *("*.md", "LICENSE", "docs/**/*", "deploy/**/*", "bench/README.md", "examples/README.md"),
    "training/invented/*.toml",
)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """In the navigation a folder stands for its pages."""
    config.nav = _pages_of(config.nav)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Pages of the repository by their own paths, so that their links to each other hold."""
    for path in _shown():
        files.append(File.generated(config, str(path.relative_to(ROOT)), abs_src_path=str(path)))
    for name, content in _generated():
        files.append(File.generated(config, f"docs/{name}", content=content))
    return files


def _shown() -> Iterator[Path]:
    for pattern in SHOWN:
        yield from (path for path in sorted(ROOT.glob(pattern)) if path.is_file())


def _generated() -> Iterator[tuple[str, str]]:
    yield "configuration.md", configuration.page()
    yield "command-line.md", commands.page()
    yield "metrics.md", metrics.page()
    yield "http-api.md", http_api.page()
    for name, description in http_api.DESCRIPTIONS.items():
        yield f"{name}.openapi.json", json.dumps(description, indent=1)


def _pages_of(entry: Any) -> Any:
    if isinstance(entry, list):
        return [_pages_of(each) for each in entry]
    if isinstance(entry, dict):
        return {title: _pages_of(below) for title, below in entry.items()}
    if entry.endswith("/"):
        return [str(page.relative_to(ROOT)) for page in sorted((ROOT / entry).glob("*.md"))]
    return entry
