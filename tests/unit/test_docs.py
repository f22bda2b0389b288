"""The documentation agrees with the code: commands, settings, metrics, alerts, gates and links."""

from __future__ import annotations

import json
import re
import tomllib
from collections import defaultdict
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
import yaml
from pydantic import BaseModel, SecretStr

from stream_app.__main__ import app
from stream_app.core.metrics import Metrics
from stream_app.core.settings import Settings
from stream_app.model.references import BUILTIN, resolve
from tests.integration.faults.table import read_rows, summary
from tests.markdown import Page, read_page
from training.__main__ import app as train
from training.data.readers import READERS
from training.refreshing.gates import GATES

ROOT = Path(__file__).resolve().parents[2]
DOCS = [read_page(file) for file in sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [
    *DOCS,
    *(read_page(file) for file in sorted(ROOT.glob("*.md"))),
    *(
        read_page(ROOT / folder / "README.md")
        for folder in ("bench", "deploy", "deploy/helm/winnow", "examples")
    ),
]
CURRENT = [page for page in PAGES if page.file.name != "CHANGELOG.md"]  # it tells of the past
OPERATIONS = read_page(ROOT / "docs" / "operations.md").text

PROGRAMS = {
    "winnow": typer.main.get_command(app),
    "winnow-train": typer.main.get_command(train),
}
Words = tuple[str, ...]  # that name a command: ("dlq", "list"); () is the program itself


def commands(command: Any, path: Words = ()) -> dict[Words, Any]:
    """A command and all below it."""
    found = {path: command}
    for name, child in getattr(command, "commands", {}).items():
        found |= commands(child, (*path, name))
    return found


def options(command: Any) -> list[set[str]]:
    """The names of each option."""
    found = [each for each in command.params if each.param_type_name == "option"]
    return [{*each.opts, *each.secondary_opts} for each in found]


@pytest.mark.parametrize("program", PROGRAMS)
class TestCommands:
    def test_every_command_is_shown_in_use_with_every_option(self, program: str):
        known, shown = commands(PROGRAMS[program]), defaultdict(set)
        for words in (words for page in DOCS for words in page.uses(program)):
            shown[named(words, known)] |= given(words)
        unseen = {path for path in known if path not in shown and not is_group(known[path])}
        assert not unseen, f"no page shows {unseen}"
        for path, command in known.items():
            for names in options(command):
                assert names & shown[path], f"no page shows {program} {' '.join(path)} {names}"

    def test_what_is_shown_exists(self, program: str):
        known = commands(PROGRAMS[program])
        for page in CURRENT:
            for words in page.uses(program):
                path, said = named(words, known), f"{page.file.name}: {program} {' '.join(words)}"
                command, rest = known[path], words[len(path) :]
                assert not is_group(command) or set(rest) == given(rest), said
                assert given(rest) <= {"-h", "--help"}.union(*options(command)), said


MENTIONING = ("*.md", "*.py", "*.toml", "*.yml", "Makefile", "Dockerfile")


def test_no_command_of_the_trainer_is_mentioned_that_is_gone():
    known = commands(PROGRAMS["winnow-train"])
    gone = []
    for file in (file for pattern in MENTIONING for file in ROOT.rglob(pattern)):
        if {".venv", ".git"} & set(file.parts) or file.name == "CHANGELOG.md":
            continue
        for found in re.finditer(
            r"winnow-train ([a-z][a-z-]*)(?: ([a-z][a-z-]*))?", file.read_text()
        ):
            group = known.get((found[1],))
            if group is None or (is_group(group) and found[2] and found.groups() not in known):
                gone.append(f"{file.relative_to(ROOT)}: {found[0]}")
    assert gone == []


def named(words: list[str], known: dict[Words, Any]) -> Words:
    """The command that the first words name."""
    return max(path for path in known if tuple(words[: len(path)]) == path)


def given(words: list[str]) -> set[str]:
    """The options among the words."""
    return {word.split("=")[0] for word in words if word.startswith("-") and word != "-"}


def is_group(command: Any) -> bool:
    """Whether it only holds other commands."""
    return hasattr(command, "commands")


def sections() -> dict[str, type[BaseModel]]:
    """The settings of each section, by its heading in operations.md."""
    found: dict[str, type[BaseModel]] = {}
    for name, field in Settings.model_fields.items():
        several = get_args(field.annotation)
        found[f"[[{name}]]" if several else f"[{name}]"] = (
            several[0] if several else field.annotation
        )
    return found


class TestSettings:
    def test_every_section_is_there_once(self):
        headings = re.findall(r"^### `(\[+\w+\]+)`$", OPERATIONS, re.MULTILINE)
        assert sorted(headings) == sorted(sections())

    @pytest.mark.parametrize(("heading", "section"), sections().items())
    def test_every_key_is_there_with_its_default(self, heading: str, section: type[BaseModel]):
        text = OPERATIONS.split(f"### `{heading}`")[1].split("\n## ")[0].split("\n### ")[0]
        rows = re.findall(r"^\| `(\w+)` \| (.+?) \|", text, re.MULTILINE)
        assert dict(rows) == {
            name: "required"
            if field.is_required()
            else f"`{json.dumps(field.get_default(call_default_factory=True), default=plain)}`"
            for name, field in section.model_fields.items()
        }


def plain(value: SecretStr | Path) -> str:
    """A default as it is written; one that is a secret is none yet."""
    return str(value) if isinstance(value, Path) else value.get_secret_value()


def exported() -> dict[str, str]:
    """The kind of each metric by its name in Prometheus; a histogram by that of its family."""
    families = list(Metrics().registry.collect())
    return {f"{f.name}_total" if f.type == "counter" else f.name: f.type for f in families}


class TestMetrics:
    def test_every_metric_is_there(self):
        written = set(re.findall(r"`((?:winnow|process|python)_\w+)`", OPERATIONS))
        assert exported().keys() <= written

    def test_no_other_is(self):
        for page in CURRENT:
            written = {name for span in page.spans for name in re.findall(r"^winnow_\w+", span)}
            assert written <= exported().keys(), page.file.name

    def test_each_has_its_kind(self):
        rows = dict(re.findall(r"^\| `(winnow_\w+)` \| (\w+) \|", OPERATIONS, re.MULTILINE))
        assert rows == {n: kind for n, kind in exported().items() if n.startswith("winnow_")}


class TestAlerts:
    def rules(self) -> list[dict[str, Any]]:
        file = ROOT / "deploy" / "prometheus" / "alerts.yml"
        groups = yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def test_they_use_metrics_that_exist(self):
        used = {name for rule in self.rules() for name in re.findall(r"winnow_\w+", rule["expr"])}
        assert used
        assert used <= exported().keys()

    def test_every_alert_is_there_and_no_other(self):
        rows = re.findall(r"^\| `(Winnow\w+)` \|", OPERATIONS, re.MULTILINE)
        assert sorted(rows) == sorted(rule["alert"] for rule in self.rules())

    def test_each_links_to_its_section_of_the_runbook_and_none_is_left_over(self):
        page = read_page(ROOT / "docs" / "runbook.md")
        sections = re.findall(r"^## (\w+)\n\n(.*?)(?=^## |\Z)", page.text, re.MULTILINE | re.DOTALL)
        assert [name for name, _ in sections] == [rule["alert"] for rule in self.rules()]
        for name, text in sections:
            parts = re.findall(r"^\*\*([A-Za-z ]+)\*\*", text, re.MULTILINE)
            assert parts == ["Means", "Look at", "Do"], name
        for rule in self.rules():
            file, anchor = rule["annotations"]["runbook_url"].split("#")
            assert ROOT / file == page.file
            assert anchor == rule["alert"].lower()
            assert anchor in page.anchors


class TestTraining:
    def test_every_format_of_training_data_is_there(self):
        page = read_page(ROOT / "docs" / "training.md").text
        assert [ending for ending in READERS if ending.removesuffix(".gz") not in page] == []

    def test_every_gate_is_there(self):
        page = read_page(ROOT / "docs" / "refresh.md").text
        names = [gate.__name__.replace("_", " ") for gate in GATES]
        assert [name for name in names if f"| {name} |" not in page] == []


class TestArchitecture:
    PAGE = read_page(ROOT / "docs" / "architecture.md")

    def layers(self, package: str) -> list[set[str]]:
        """The names of each layer of the map, from the top; a row without a number goes on."""
        table = self.PAGE.text.split(f"| layer | in `{package}/` | holds |")[1].split("\n\n")[0]
        found: list[set[str]] = []
        for number, names in re.findall(r"^\| *(\d?) *\| (.+?) \|", table, re.MULTILINE):
            found += [set()] if number else []
            found[-1] |= set(re.findall(r"`(\w+)(?:\.py|/)`", names))
        return found

    @pytest.mark.parametrize("package", ["stream_app", "training"])
    def test_the_map_is_the_tree(self, package: str):
        tree = {
            path.stem
            for path in (ROOT / package).iterdir()
            if path.is_dir() or path.suffix == ".py"
        }
        assert set().union(*self.layers(package)) == tree - {"__init__", "__pycache__"}

    @pytest.mark.parametrize("package", ["stream_app", "training"])
    def test_its_layers_are_those_that_lint_holds(self, package: str):
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
        [held] = [
            contract["layers"]
            for contract in project["tool"]["importlinter"]["contracts"]
            if contract.get("containers") == [package]
        ]
        modules = {path.stem for path in (ROOT / package).glob("*.py")}
        modules |= {path.parent.name for path in (ROOT / package).glob("*/__init__.py")}
        drawn = [layer & modules for layer in self.layers(package)]
        assert drawn == [set(layer.split(" | ")) for layer in held]

    def test_every_file_it_names_is_there(self):
        files = [*ROOT.glob("*.py"), *ROOT.glob("[a-z]*/**/*.*")]
        tree = {f"/{path.relative_to(ROOT)}" for path in files}
        tree |= {f"{Path(path).parent}/" for path in tree}
        named = [each for each in self.PAGE.spans if re.fullmatch(r"[\w./]+(?:\.py|\.h|/)", each)]
        assert [each for each in named if not any(p.endswith(f"/{each}") for p in tree)] == []


class TestLicences:
    @pytest.mark.parametrize("name", BUILTIN)
    def test_what_a_built_in_learnt_from_is_there_with_its_terms(self, name: str):
        page = read_page(ROOT / "docs" / "licences.md").text
        rows = page.split(f"| `builtin:{name}` |")[1].split("| `builtin:")[0].split("\n\n")[0]
        learnt = [
            each for each in resolve(f"builtin:{name}").card.data if "train" in each.get("rows", {})
        ]
        assert learnt
        for each in learnt:
            assert each["terms"] in rows
            assert f"{each['rows']['train']:,}" in rows


class TestReliability:
    def test_the_summary_is_that_of_the_runs(self):
        page = read_page(ROOT / "docs" / "reliability.md").text
        rows = re.findall(r"^\| (\w+)(?::[^|]+)? \| (\d.*) \|$", page, re.MULTILINE)
        told = {breaks: tuple(map(str.strip, cells.split("|"))) for breaks, cells in rows}
        assert told == summary(read_rows())

    def test_the_totals_are_those_of_the_runs(self):
        page, runs = read_page(ROOT / "docs" / "reliability.md").text, read_rows()
        once = sum(int(run.messages) for run in runs if run.delivery == "effectively_once")
        assert f"{sum(int(run.messages) for run in runs):,} messages in {len(runs)} runs" in page
        assert f"0 duplicates in {once:,} messages" in page
        assert {run.lost for run in runs} == {run.mislabelled for run in runs} == {"0"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.file.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Page):
    for link in page.links:
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.file.parent / path).resolve() if path else page.file
        assert target.exists(), link
        if anchor:
            assert anchor in read_page(target).anchors, link
