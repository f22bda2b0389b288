"""Which messages of files are sent: each once, over restarts, while files grow, move and change."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
import time
from pathlib import Path

import pytest

from stream_app.core.errors import SourceError
from stream_app.sources import progress, timing
from stream_app.sources.files import Source
from stream_app.sources.progress import Progress
from stream_app.sources.state import opened_state
from stream_app.sources.timing import Pace, timestamp_of


class Files:
    """A folder of files, and what a run over them sends."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "files"
        self.folder.mkdir()
        self.state = folder / "state.db"

    def write(self, name: str, data: bytes, old: bool = True) -> Path:
        file = self.folder / name
        file.parent.mkdir(exist_ok=True, parents=True)
        file.write_bytes(data)
        if old:
            os.utime(file, (1e9, 1e9 + file.stat().st_size / 1e6))
        return file

    def sent(
        self, name: str = "", kind: str = "json", most: int = 1000, **how: bool
    ) -> list[bytes]:
        """What one run sends; it dies before it notes more than `most` messages."""
        source = Source([self.folder / name], kind)
        values: list[bytes] = []
        with opened_state(self.state) as state:
            for unsent in Progress(source, state, how.get("follow", False)).unsent():
                if unsent.found:
                    if len(values) == most:
                        break
                    values.append(unsent.found.value)
                state.record(unsent.place, unsent.stands)
        return values


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


LINES = b'{"text": "one"}\n\n{"text": "two"}\n{"text": "three"}\n'
MAILS = [b"Subject: %d\n\nFrom here\n" % n for n in range(3)]
MBOX = b"\n".join(b"From a@example.org  Thu Aug 22 12:36:23 2002\n" + mail for mail in MAILS)
CSV = 'title,text\none,"a\nb"\ntwo,ü\nthree,c\n'.encode()


def tar(members: list[bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for number, value in enumerate(members):
            member = tarfile.TarInfo(f"{number}.eml")
            member.size = len(value)
            archive.addfile(member, io.BytesIO(value))
    return packed.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("a.jsonl", LINES, "json"),
        ("a.jsonl.gz", gzip.compress(LINES, mtime=0), "json"),
        ("a.csv", CSV, "json"),
        ("mbox", MBOX, "rfc822"),
        ("a.tar", tar(MAILS), "rfc822"),
        ("a.tar.gz", gzip.compress(tar(MAILS), mtime=0), "rfc822"),
    ],
)
@pytest.mark.parametrize("most", [0, 1, 2])
def test_a_second_run_goes_on_where_the_first_one_died(
    files: Files, name: str, data: bytes, kind: str, most: int
):
    files.write(name, data)
    whole = [found.value for found in Source([files.folder / name], kind)]
    first = files.sent(name, kind, most)
    assert len(first) == most
    assert first + files.sent(name, kind) == whole
    assert len(whole) == 3
    assert files.sent(name, kind) == []


@pytest.mark.parametrize(
    ("name", "data", "more", "kind"),
    [
        ("a.jsonl", LINES, b'{"text": "four"}\n', "json"),
        ("a.csv", CSV, b"four,d\n", "json"),
        (
            "mbox",
            MBOX,
            b"\nFrom b@example.org  Thu Aug 22 12:36:23 2002\nSubject: 4\n\n4\n",
            "rfc822",
        ),
    ],
)
def test_of_a_file_that_grew_only_the_rest_is_sent(
    files: Files, name: str, data: bytes, more: bytes, kind: str
):
    files.write(name, data)
    assert len(files.sent(name, kind)) == 3
    files.write(name, data + more)
    (added,) = files.sent(name, kind)
    assert b"four" in added or added.startswith(b"Subject: 4")


@pytest.mark.parametrize("data", [b'{"text": "other"}\n' * 9, b'{"text": "x"}\n'])
def test_a_file_that_was_replaced_is_a_new_one(files: Files, data: bytes):
    files.write("a.jsonl", LINES)
    assert len(files.sent("a.jsonl")) == 3
    files.write("a.jsonl", data)
    assert files.sent("a.jsonl") == data.splitlines()


def test_of_a_folder_new_and_changed_files_are_sent(files: Files):
    files.write("1.eml", MAILS[0])
    files.write("deep/2.eml", MAILS[1])
    files.write("empty.eml", b"\n")
    assert files.sent("", "rfc822") == MAILS[:2]
    files.write("3.eml", MAILS[2])
    files.write("1.eml", MAILS[0] + b"more")
    assert files.sent("", "rfc822") == [MAILS[0] + b"more", MAILS[2]]
    assert files.sent("", "rfc822") == []


def test_a_mail_of_a_maildir_is_sent_once_wherever_it_moves(files: Files):
    (files.folder / "cur").mkdir()
    new = files.write("new/1700000000.M1P1.host", MAILS[0])
    assert files.sent("", "rfc822") == MAILS[:1]
    new.rename(files.folder / "cur" / "1700000000.M1P1.host:2,S")
    files.write("new/1700000001.M2P1.host", MAILS[1])
    assert files.sent("", "rfc822") == MAILS[1:2]


def test_a_mail_that_moves_while_its_maildir_is_read_is_not_passed_over(files: Files):
    (files.folder / "cur").mkdir()
    for number, mail in enumerate(MAILS):
        files.write(f"new/{number}", mail)
    with opened_state(files.state) as state:
        unsent = Progress(Source([files.folder], "rfc822"), state, follow=False).unsent()
        first = next(unsent)
        (files.folder / "new" / "1").rename(files.folder / "cur" / "1:2,S")
        found = [each.found for each in (first, *unsent) if each.found]
    assert sorted(each.value for each in found) == sorted(MAILS)


class TestFollow:
    @pytest.fixture(autouse=True)
    def _busy_machine(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """However long a test takes, a file that it just wrote is fresh."""
        monkeypatch.setattr(progress, "QUIET_SECONDS", 3600)

    def test_a_row_that_goes_on_over_lines_waits_for_its_end(self, files: Files):
        start, rest = b'title,text\none,"first\n', b'second"\ntwo,third\n'
        files.write("a.csv", start, old=False)
        assert files.sent("a.csv", follow=True) == []
        files.write("a.csv", start + rest, old=False)
        assert [json.loads(value)["text"] for value in files.sent("a.csv", follow=True)] == [
            "first\nsecond",
            "third",
        ]

    def test_a_line_is_sent_when_it_has_its_end(self, files: Files):
        files.write("a.jsonl", LINES + b'{"text": "fo', old=False)
        assert len(files.sent("a.jsonl", follow=True)) == 3
        files.write("a.jsonl", LINES + b'{"text": "four"}\n', old=False)
        assert files.sent("a.jsonl", follow=True) == [b'{"text": "four"}']

    def test_what_nobody_writes_on_is_whole(self, files: Files):
        files.write("a.jsonl", LINES + b'{"text": "four"}')
        assert len(files.sent("a.jsonl", follow=True)) == 4
        files.write("new.eml", MAILS[0], old=False)
        assert files.sent("new.eml", "rfc822", follow=True) == []
        files.write("new.eml", MAILS[0])
        assert files.sent("new.eml", "rfc822", follow=True) == MAILS[:1]

    def test_a_file_that_cannot_be_read_holds_up_no_other(
        self, files: Files, caplog: pytest.LogCaptureFixture
    ):
        files.write("a.jsonl.gz", b"no gzip")
        files.write("b.jsonl", LINES)
        assert len(files.sent("", follow=True)) == 3
        assert "left out for now" in caplog.text
        with pytest.raises(SourceError):
            files.sent("")


class TestTimestamps:
    @pytest.mark.parametrize(
        ("value", "found"),
        [
            (b'{"at": 1700000000}', 1_700_000_000_000),
            (b'{"at": 1700000000.5}', 1_700_000_000_500),
            (b'{"at": 1700000000123}', 1_700_000_000_123),
            (b'{"at": "1700000000"}', 1_700_000_000_000),
            (b'{"at": "2023-11-14T22:13:20Z"}', 1_700_000_000_000),
            (b'{"at": "2023-11-14 22:13:20"}', 1_700_000_000_000),
            (b'{"at": "2023-11-14T23:13:20+01:00"}', 1_700_000_000_000),
            (b'{"at": "2023-11-14"}', 1_699_920_000_000),
            (b'{"at": "yesterday"}', None),
            (b'{"at": true}', None),
            (b'{"at": null}', None),
            (b'{"at": -5}', None),
            (b'{"at": 1e300}', None),
            (b'{"at": "nan"}', None),
            (b'{"at": "inf"}', None),
            (b'{"at": {}}', None),
            (b"{}", None),
            (b"no json", None),
            (b"[" * 100_000, None),
        ],
    )
    def test_a_time_is_read_as_it_is_written(self, value: bytes, found: int | None):
        assert timestamp_of(value, "at") == found

    def test_a_field_may_be_deep(self):
        assert timestamp_of(b'{"review": {"at": 1}}', "review.at") == 1000

    def test_a_replay_keeps_the_distances(self, monkeypatch: pytest.MonkeyPatch):
        now = 50.0
        monkeypatch.setattr(timing.time, "monotonic", lambda: now)
        pace, day = Pace(1000), 24 * 60 * 60 * 1000
        assert pace.wait(None) == 0
        assert pace.wait(day) == 0
        assert pace.wait(2 * day) == pytest.approx(86.4)
        now += 100
        assert pace.wait(2 * day) == pytest.approx(-13.6)
        assert pace.wait(day // 2) < 0


def test_a_clock_of_the_future_does_not_hold_a_file_back(files: Files):
    file = files.write("a.eml", MAILS[0])
    os.utime(file, (time.time() + 9e6, time.time() + 9e6))
    assert files.sent("a.eml", "rfc822", follow=True) == MAILS[:1]
