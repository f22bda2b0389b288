"""What docs/operations.md says of a key or a metric: written there, shown in the references too."""

from __future__ import annotations

import re
from pathlib import Path

OPERATIONS = Path(__file__).resolve().parents[1] / "docs" / "operations.md"
_ROW = re.compile(r"^\| `(\w+)` \|.* \| (.+?) \|$", re.MULTILINE)


def meanings(heading: str) -> dict[str, str]:
    """The last column of a section's table, by its first. `heading` is a line, with its `#`s."""
    text = OPERATIONS.read_text(encoding="utf-8")
    level = heading.split()[0]
    section = text.split(f"\n{heading}\n", 1)[1]
    section = re.split(rf"\n#{{1,{len(level)}}} ", section, maxsplit=1)[0]
    # a link within that page is one into it from here
    return {name: said.replace("](#", "](operations.md#") for name, said in _ROW.findall(section)}
