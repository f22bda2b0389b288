"""Messages in files: whatever holds them, each comes out once, byte for byte, one at a time."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile
from pathlib import Path

import pytest

from stream_app.codecs import CODECS
from stream_app.core.errors import SourceError
from stream_app.sources.files import Source, format_of

MAILS = [
    b"Subject: one\n\nFrom here on\n",
    b"Subject: two\r\n\r\nbytes \xff\xfe\r\n",
    b"S: 3\n\n3\n",
]


def found(path: Path, message_format: str | None = None) -> dict[str, bytes]:
    """Messages by the end of their names."""
    source = Source([path], message_format)
    return {item.name.removeprefix(str(path)): item.value for item in source}


def write_tar(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, value in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(value)
            archive.addfile(member, io.BytesIO(value))
    return path


def test_a_mail_file_is_one_message(tmp_path: Path) -> None:
    file = tmp_path / "a.eml"
    file.write_bytes(MAILS[1])
    assert found(file) == {"": MAILS[1]}


def test_an_mbox_is_split_at_its_from_lines_and_nowhere_else(tmp_path: Path) -> None:
    prose = b"Subject: p\n\nfirst\n\nFrom the start it was clear.\n>From old\n"
    mails = [MAILS[0], prose, MAILS[2]]
    separator = b"From someone@example.org  Thu Aug 22 12:36:23 2002\n"
    file = tmp_path / "box"
    file.write_bytes(b"\n".join(separator + mail for mail in mails))
    assert found(file) == {":1": mails[0], ":2": mails[1], ":3": mails[2]}


def test_a_folder_gives_each_file_below_it_by_name_but_no_hidden_ones(tmp_path: Path) -> None:
    raw = b"From a@example.org  Thu Aug 22 12:36:23 2002\n" + MAILS[0]  # as SpamAssassin keeps them
    for name in ("b/2", "b/1.eml", "a/00001.7c53336b37003a9286aba55d2945844c", ".hidden", "b/.x/3"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(raw)
    names = ["/a/00001.7c53336b37003a9286aba55d2945844c", "/b/1.eml", "/b/2"]
    assert list(found(tmp_path).items()) == [(name, raw) for name in names]


def test_a_maildir_gives_cur_and_new_only(tmp_path: Path) -> None:
    for name in ("cur/1:2,S", "new/2", "tmp/3", "dovecot.index"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(MAILS[0])
    assert list(found(tmp_path)) == ["/new/2", "/cur/1:2,S"]


def test_a_tar_archive_gives_each_file_in_it(tmp_path: Path) -> None:
    files = {f"ham/{number}": mail for number, mail in enumerate(MAILS)}
    archive = write_tar(tmp_path / "mail.tar.gz", {**files, "ham/._0": b"not a mail"})
    assert found(archive) == {f":{name}": value for name, value in files.items()}


def test_a_tar_archive_is_read_only_as_far_as_it_is_asked(tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "mail.tar.gz", {str(n): bytes(50_000) for n in range(200)})
    whole = archive.stat().st_size
    archive.write_bytes(archive.read_bytes()[: whole // 2])  # damaged further on
    messages = iter(Source([archive], None))
    assert next(messages).value == bytes(50_000)
    with pytest.raises(SourceError, match=r"mail\.tar\.gz"):
        list(messages)


@pytest.mark.parametrize(
    ("suffix", "compress"),
    [("", bytes), (".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)],
)
def test_lines_are_messages_compressed_or_not(tmp_path: Path, suffix: str, compress) -> None:
    file = tmp_path / f"reviews.jsonl{suffix}"
    file.write_bytes(compress(b'{"text": "a"}\r\n\n  \n{"text": "b"}\nnot json'))
    assert found(file) == {":1": b'{"text": "a"}', ":4": b'{"text": "b"}', ":5": b"not json"}
    assert format_of(file) == "json"


BLANK = [b"", b"\n", b" \r\n\t\n"]
PACK = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


@pytest.mark.parametrize("blank", BLANK)
@pytest.mark.parametrize("name", ["a.eml", "box", "a.jsonl", "a.csv", "a.xml", "a.txt"])
@pytest.mark.parametrize("suffix", PACK)
def test_a_file_with_nothing_in_it_is_no_message(
    tmp_path: Path, name: str, suffix: str, blank: bytes
) -> None:
    file = tmp_path / f"{name}{suffix}"
    file.write_bytes(PACK[suffix](blank))
    source = Source([file], None)
    assert list(source) == []
    assert source.empty == (1 if format_of(file) == "rfc822" else 0)  # empty lines are not counted


@pytest.mark.parametrize("message_format", CODECS)
def test_what_is_empty_in_an_archive_a_folder_or_an_mbox_is_left_out(
    tmp_path: Path, message_format: str
) -> None:
    value = b"<item>3</item>\n"
    files = {str(number): blank for number, blank in enumerate([*BLANK, value])}
    (tmp_path / "cur").mkdir()
    (tmp_path / "new").mkdir()
    for name, content in files.items():
        (tmp_path / "cur" / name).write_bytes(content)
    write_tar(tmp_path / "new" / "mail.tar.gz", files)
    kept = [content.strip() for content in found(tmp_path, message_format).values()]
    assert kept == [value.strip()] * 2


def test_an_mbox_may_have_mails_with_nothing_in_them(tmp_path: Path) -> None:
    separator = b"From someone@example.org  Thu Aug 22 12:36:23 2002\n"
    file = tmp_path / "box"
    file.write_bytes(b"\n".join(separator + mail for mail in (MAILS[0], b"", MAILS[2], b"\n")))
    source = Source([file], None)
    assert [item.value for item in source] == [MAILS[0], MAILS[2]]
    assert source.empty == 2
    file.write_bytes(separator)
    assert found(file) == {}


@pytest.mark.parametrize("charset", ["utf-8", "utf-8-sig", "utf-16", "windows-1252"])
def test_csv_of_any_charset_is_read_and_read_on(tmp_path: Path, charset: str) -> None:
    file = tmp_path / "export.tsv"
    file.write_bytes("text \tqueue\r\ncafé für 5 €\ta\r\n\t\r\nthé\tb\r\n".encode(charset))
    source = Source([file], None)
    (whole,) = source.files()
    rows = list(source.messages(whole))
    assert [json.loads(row.value) for row in rows] == [
        {"text": "café für 5 €", "queue": "a"},
        {"text": "thé", "queue": "b"},
    ]
    assert [item.value for item in source.messages(whole, rows[0].after)] == [rows[1].value]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_csv_of_any_delimiter_is_read_as_it_is_learnt_from(tmp_path: Path, delimiter: str) -> None:
    rows = ["title,text,price", 'a,"one,two","1.5"', "x,y,2"]
    file = tmp_path / "export.csv"
    file.write_text("\r\n".join(rows).replace(",", delimiter), encoding="utf-8-sig")
    assert [json.loads(value) for value in found(file).values()] == [
        {"title": "a", "text": f"one{delimiter}two", "price": "1.5"},
        {"title": "x", "text": "y", "price": "2"},
    ]


def test_csv_rows_become_json_objects(tmp_path: Path) -> None:
    file = tmp_path / "reviews.csv"
    long = "x" * 200_000
    file.write_text(
        f'title,text\nGood,"two\nlines, ""quoted"""\nÉté,{long}\n', encoding="utf-8-sig"
    )
    rows = [json.loads(value) for value in found(file).values()]
    assert rows == [
        {"title": "Good", "text": 'two\nlines, "quoted"'},
        {"title": "Été", "text": long},
    ]


@pytest.mark.parametrize("row", ["only one", "a,b,c"])
def test_a_csv_row_unlike_its_header_is_an_error_that_names_it(tmp_path: Path, row: str) -> None:
    file = tmp_path / "reviews.csv"
    for above in (0, 2):  # empty lines
        file.write_text("\n" * above + f"title,text\ngood,bad\n{row}\n")
        with pytest.raises(SourceError, match=rf"reviews\.csv:{above + 3}"):
            found(file)


def test_feeds_are_xml_files_or_json_lines(tmp_path: Path) -> None:
    xml = b'<?xml version="1.0"?>\n<item>\n<title>x</title>\n</item>\n'
    (tmp_path / "a.xml").write_bytes(xml)
    (tmp_path / "b.jsonl").write_bytes(b'{"title": "a"}\n{"title": "b"}\n')
    assert found(tmp_path / "a.xml") == {"": xml}
    assert list(found(tmp_path / "b.jsonl", "feed").values()) == [
        b'{"title": "a"}',
        b'{"title": "b"}',
    ]


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="nowhere"):
        Source([tmp_path / "nowhere"], None)
    for name in ("no.tar.gz", "no.jsonl.gz", "no.jsonl.bz2", "no.jsonl.xz"):
        (tmp_path / name).write_bytes(b"this is something else entirely")
        with pytest.raises(SourceError, match=name):
            found(tmp_path / name)


def test_position_reaches_the_size_when_all_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"a": 1}\n' * 1000)
    write_tar(tmp_path / "b.tar.gz", {"x": MAILS[0], "y": MAILS[1]})
    source = Source([tmp_path / "a.jsonl", tmp_path / "b.tar.gz"], "json")
    positions = [source.position for _ in source]
    assert positions == sorted(positions)
    assert positions[500] < source.size
    assert source.position == source.size
