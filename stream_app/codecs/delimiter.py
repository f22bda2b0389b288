"""What separates the cells of a CSV file: a spreadsheet may write semicolons, tabs or bars."""

from __future__ import annotations

import csv

DELIMITERS = ",;\t|"


def delimiter_of(header: str) -> str:
    """The delimiter that makes the most columns of a file's first line; a comma without any."""
    return max(DELIMITERS, key=lambda each: len(next(csv.reader([header], delimiter=each), [])))
