"""The documentation site and the man pages: they build, say what the code says, need no network."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args
from urllib.parse import unquote

import pytest

from manual import commands, configuration, metrics
from manual.man import man_page
from manual.programs import PROGRAMS
from stream_app.core.metrics import Metrics
from stream_app.core.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
LINK = re.compile(r"""<a [^>]*href=["']?([^"'\s>#?]+)""")
ELSEWHERE = re.compile(r"""<(?:script|link|img|iframe)[^>]+(?:src|href)=["']?(?:https?:)?//""")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` builds it: a warning is an error."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    done = subprocess.run(
        [*command, "--config-file", "manual/mkdocs.yml", "--site-dir", str(folder)],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_page_of_the_docs_is_in_the_site_and_the_search(site: Path):
    index = (site / "search" / "search_index.json").read_text(encoding="utf-8")
    pages = [page.relative_to(ROOT).with_suffix(".html") for page in ROOT.glob("docs/**/*.md")]
    assert [str(page) for page in pages if not (site / page).is_file()] == []
    assert [str(page) for page in pages if f'"{page}' not in index] == []


def test_nothing_comes_from_another_server(site: Path):
    for page in site.rglob("*.html"):
        assert not ELSEWHERE.search(page.read_text(encoding="utf-8")), page


def test_every_link_leads_to_a_file_of_the_site(site: Path):
    for page in set(site.rglob("*.html")) - {site / "404.html"}:  # which is nowhere, and says so
        for link in LINK.findall(page.read_text(encoding="utf-8")):
            if not link.startswith(("https://", "http://", "mailto:")):
                file = page.parent / unquote(link)
                assert file.is_file(), f"{page.relative_to(site)}: {link}"


def test_the_python_api_is_that_of_the_code(site: Path):
    page = (site / "docs" / "python-api.html").read_text(encoding="utf-8")
    assert "What a worker would decide of each message, in order." in page


def test_every_setting_is_in_the_reference_once():
    page = configuration.page()
    assert re.findall(r"^## `\[+(\w+)\]+`$", page, re.MULTILINE) == list(Settings.model_fields)
    written = re.findall(r"^\| `(\w+)` \| .+? \| (\S.*?) \|", page, re.MULTILINE)
    told = re.findall(r"^\| `(\w+)` \| (.+?) \|", OPERATIONS, re.MULTILINE)
    assert set(written) <= set(told)  # which are those of the settings: test_docs.py
    assert len(written) == sum(
        len(section.model_fields)
        for kind in (field.annotation for field in Settings.model_fields.values())
        for section in (get_args(kind) or (kind,))[:1]
    )


def test_every_metric_is_in_the_reference():
    written = set(re.findall(r"^\| `(winnow_\w+)` \|", metrics.page(), re.MULTILINE))
    assert {name.removesuffix("_total") for name in written} == {
        metric.name for metric in Metrics().made
    }


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_command_and_option_is_in_reference_and_man_page(program: str):
    reference, manual = commands.page(), man_page(program).replace("\\-", "-")
    for words, options in leaves(PROGRAMS[program], program):
        assert f"### {words}\n" in reference
        assert f".SS {words}" in manual
        for option in options:
            assert f"`{option}`" in reference
            assert option in manual


def leaves(command: object, words: str) -> list[tuple[str, list[str]]]:
    below = getattr(command, "commands", None)
    if below is None:
        params = [each for each in command.params if each.param_type_name == "option"]
        return [(words, [name for each in params for name in each.opts])]
    return [leaf for name, child in below.items() for leaf in leaves(child, f"{words} {name}")]


@pytest.mark.parametrize("program", PROGRAMS)
def test_man_reads_the_page_without_a_warning(program: str, tmp_path: Path):
    if shutil.which("groff") is None:
        pytest.skip("groff is not installed")
    page = tmp_path / f"{program}.1"
    page.write_text(man_page(program), encoding="utf-8")
    done = subprocess.run(
        ["groff", "-man", "-Tutf8", "-Kutf8", "-ww", str(page)], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{program} -" in re.sub(r"\x1b\[\d+m|.\x08", "", done.stdout)
