"""docs/faults.csv is evidence: only runs that passed get into it."""

from pathlib import Path

from tests.integration.faults.account import Totals
from tests.integration.faults.table import Row, Table, read_rows


def test_a_run_that_failed_is_printed_but_not_kept(tmp_path: Path):
    file = tmp_path / "faults.csv"
    file.write_text(",".join(Row._fields) + "\n")
    table = Table()
    good = table.add("workers", "sigterm", "tansu", "at_least_once", Totals(sent=2, labelled=2))
    table.passed(good)
    table.add("workers", "sigkill", "tansu", "at_least_once", Totals(sent=2, labelled=1, lost=1))
    table.keep(file)
    assert read_rows(file) == [good]
    assert any("sigkill" in line for line in table.lines())
