"""IMAP sessions with servers that lie, flood and fall silent; where a mail lies, as a header."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from stream_app.core.errors import ConfigError, ImapError, ImapRefused, RecordError
from stream_app.core.headers import encoded
from stream_app.core.label_record import cloud_event_headers
from stream_app.core.messages import Partition, Record
from stream_app.core.settings import ImapSettings
from stream_app.dead_letters.letters import replay_headers
from stream_app.imap.account import Account
from stream_app.imap.connection import Connection
from stream_app.imap.place import HEADER, Place, place_of
from stream_app.imap.session import Session
from stream_app.pipeline.dead_letter import dead_letter
from stream_app.sinks.imap import target_of
from tests.filter_answers import labelled
from tests.hostile_imap import Answer, hostile_server
from tests.labels import a_label

TEXT = "a word of the mail"


def flood(talking: socket.socket) -> None:
    """A line without an end."""
    while True:
        talking.sendall(b"* SEARCH " + b"1 " * 100_000)


def silence(talking: socket.socket) -> None:
    """Nothing, until the other side gives up."""
    while talking.recv(1000):
        pass


def bye(talking: socket.socket) -> None:
    """A word, and the end."""
    talking.sendall(b"* BYE " + TEXT.encode() + b"\r\n")
    talking.shutdown(socket.SHUT_RDWR)


def drip(talking: socket.socket) -> None:
    """A byte now and then, for ever."""
    while True:
        talking.sendall(b"*")


def opened(session: Session) -> object:
    return session.open("INBOX", read_only=True)


def sizes(session: Session) -> object:
    return session.sizes([1])


def messages(session: Session) -> object:
    return session.messages({1: 10}, 100)


def uids(session: Session) -> object:
    return session.uids(1)


@pytest.mark.parametrize(
    ("ask", "command", "answer"),
    [
        (None, "", b"220 mail.example.com ESMTP\r\n"),
        (None, "", flood),
        (None, "", bye),
        (None, "CAPABILITY", b"* CAPABILITY\r\n{tag} OK done\r\n"),
        (None, "CAPABILITY", b"+ what?\r\nother9 OK done\r\n"),
        (None, "credentials", bye),
        (opened, "EXAMINE", b"{tag} OK done\r\n"),
        (opened, "EXAMINE", b"* OK [UIDVALIDITY 0] \r\n{tag} OK done\r\n"),
        (opened, "EXAMINE", b"* OK [UIDVALIDITY 4294967296] \r\n{tag} OK done\r\n"),
        (opened, "EXAMINE", f"{{tag}} NO {TEXT}\r\n".encode()),
        (uids, "SEARCH", f"* SEARCH {TEXT}\r\n{{tag}} OK done\r\n".encode()),
        (uids, "SEARCH", b"* SEARCH " + b"9" * 5000 + b"\r\n{tag} OK done\r\n"),
        (uids, "SEARCH", flood),
        (uids, "SEARCH", f"{{tag}} BAD {TEXT}\r\n".encode()),
        (uids, "SEARCH", bye),
        (messages, "FETCH", b"* 1 FETCH (UID 1 BODY[]<0> {99999999999}\r\n"),
        (messages, "FETCH", b"* 1 FETCH (UID 1 BODY[]<0> {17000000}\r\n"),
        (messages, "FETCH", b"* 1 FETCH (UID 1 BODY[]<0> NIL)\r\n{tag} OK done\r\n"),
        (sizes, "FETCH", b"* 1 FETCH " + b"(" * 100_000 + b"\r\n{tag} OK done\r\n"),
        (sizes, "FETCH", b"* 1 FETCH (UID 1 RFC822.SIZE x)\r\n{tag} OK done\r\n"),
        (sizes, "FETCH", f"* 1 FETCH (UID {TEXT}\r\n{{tag}} OK done\r\n".encode()),
        (Session.idle, "IDLE", b"* 1 EXISTS\r\n{tag} NO no\r\n"),
    ],
)
def test_whatever_a_server_sends_is_an_error_that_does_not_tell_of_it(
    ask: Callable[[Session], object] | None, command: str, answer: Answer, tmp_path: Path
):
    with hostile_server(tmp_path, {command: answer}) as server:
        account = Account(server.settings())
        if ask is None:
            with pytest.raises(ImapError) as found:
                account.session()
        else:
            session = account.session()
            with pytest.raises(ImapError) as found:
                ask(session)
            session.close()
    assert TEXT not in str(found.value)
    assert not isinstance(found.value, ImapRefused)


@pytest.mark.parametrize("never", [silence, drip])
def test_no_answer_takes_longer_than_it_may(
    never: Answer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with hostile_server(tmp_path, {"SEARCH": never}) as server:
        session = Account(server.settings()).session()
        allow = Connection.allow
        monkeypatch.setattr(Connection, "allow", lambda self, most, _: allow(self, most, 0.2))
        with pytest.raises(ImapError, match=r"does not answer in time|more than was asked for"):
            session.uids(1)
        session.close()


def test_a_mail_longer_than_asked_for_is_cut_and_a_gone_one_left_out(tmp_path: Path):
    fetched = b"* 1 FETCH (UID 1 BODY[]<0> {3}\r\nabc)\r\n{tag} OK done\r\n"
    with hostile_server(tmp_path, {"FETCH": fetched}) as server:
        session = Account(server.settings()).session()
        assert session.open("INBOX", read_only=True).uidvalidity == 7
        assert session.messages({1: 2, 2: 2}, 2) == {1: b"abc"}
        session.close()
    assert "UID FETCH 1,2 (BODY.PEEK[]<0.3>)" in server.heard


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("IDLE", b"* 3 EXISTS\r\n+ idling\r\n"),
        ("IDLE", b"+ idling\r\n* 3 EXISTS\r\n"),
        ("SEARCH", b"* SEARCH 1 2\r\n* 3 EXISTS\r\n{tag} OK done\r\n"),
        ("FETCH", b"* 3 EXISTS\r\n* 1 FETCH (UID 1 RFC822.SIZE 9)\r\n{tag} OK done\r\n"),
        ("NOOP", b"{tag} OK nothing new\r\n"),
    ],
)
def test_who_is_told_of_new_mail_does_not_wait_for_more(
    command: str, answer: bytes, tmp_path: Path
):
    with hostile_server(tmp_path, {"IDLE": b"+ idling\r\n", command: answer}) as server:
        session = Account(server.settings()).session()
        session.open("INBOX", read_only=True)
        assert session.uids(1) == [1, 2]
        session.sizes([1])
        session.idle()
        assert session.has_news is (b"EXISTS" in answer)
        session.close()


class TestLogin:
    @pytest.mark.parametrize(
        ("said", "kind", "message"),
        [
            (
                b"{tag} NO [AUTHENTICATIONFAILED] " + TEXT.encode(),
                ImapRefused,
                "AUTHENTICATIONFAILED",
            ),
            (b"{tag} NO [AUTHENTICATIONFAILED] try again", ImapRefused, "refuses ann"),
            (b"{tag} NO " + TEXT.encode(), ImapRefused, "refuses ann or the password"),
            (b"{tag} NO [UNAVAILABLE] " + TEXT.encode(), ImapError, "lets nobody in now"),
            (b"{tag} NO [ALERT] Too many simultaneous connections", ImapError, "nobody in now"),
        ],
    )
    def test_a_refusal_is_told_from_an_outage(
        self, said: bytes, kind: type[ImapError], message: str, tmp_path: Path
    ):
        with (
            hostile_server(tmp_path, {"credentials": said + b"\r\n"}) as server,
            pytest.raises(ImapError, match=message) as found,
        ):
            Account(server.settings()).session()
        assert type(found.value) is kind
        assert TEXT not in str(found.value)

    @pytest.mark.parametrize(
        ("offered", "heard"),
        [
            ("AUTH=XOAUTH2", "user=ann\1auth=Bearer a-token\1\1"),
            ("AUTH=XOAUTH2 AUTH=OAUTHBEARER", "n,a=ann,\1auth=Bearer a-token\1\1"),
        ],
    )
    def test_a_token_is_sent_by_what_the_server_offers(
        self, offered: str, heard: str, tmp_path: Path
    ):
        capability = f"* CAPABILITY IMAP4rev1 {offered}\r\n{{tag}} OK done\r\n".encode()
        with hostile_server(tmp_path, {"CAPABILITY": capability}) as server:
            token = tmp_path / "token"
            token.write_text("a-token\n")
            Account(server.settings(password_file="", token_file=str(token))).session().close()
        assert heard in server.heard

    def test_a_refused_secret_is_not_tried_again_until_it_is_another(self, tmp_path: Path):
        with hostile_server(tmp_path, {"credentials": b"{tag} NO no\r\n"}) as server:
            account = Account(server.settings("old"))
            for _ in range(3):
                with pytest.raises(ImapRefused):
                    account.session()
            assert server.connections == 1
            (tmp_path / "secret").write_text("new")
            with pytest.raises(ImapRefused):
                account.session()
            assert server.connections == 2

    def test_a_server_without_starttls_gets_no_password(self, tmp_path: Path):
        with (
            hostile_server(tmp_path, {}, tls=False) as server,
            pytest.raises(ImapRefused, match="offers no STARTTLS"),
        ):
            Account(server.settings(starttls=True)).session()
        assert server.heard == ["CAPABILITY"]

    @pytest.mark.parametrize(
        "answers",
        [
            {"": b"* PREAUTH welcome\r\n"},
            {"STARTTLS": b"{tag} OK done\r\n* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n"},
            {"STARTTLS": b"{tag} NO no\r\n"},
        ],
    )
    def test_nothing_said_in_the_clear_is_believed(
        self, answers: dict[str, Answer], tmp_path: Path
    ):
        capability = b"* CAPABILITY IMAP4rev1 STARTTLS\r\n{tag} OK done\r\n"
        with (
            hostile_server(tmp_path, {"CAPABILITY": capability, **answers}, tls=False) as server,
            pytest.raises(ImapError),
        ):
            Account(server.settings(starttls=True)).session()
        assert not any("AUTHENTICATE" in line for line in server.heard)


class TestSettings:
    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"password_file": "a", "token_file": "b"}, "not both"),
            ({"move": {"unsure": "Junk"}}, "stays where it is"),
            ({"mailboxes": []}, "at least 1"),
            ({"mailboxes": ["a\r\nDELETE INBOX"]}, "should match pattern"),
            ({"user": "a\nb"}, "should match pattern"),
            ({"host": "imap.example.com/x"}, "should match pattern"),
        ],
    )
    def test_what_makes_no_sense_is_refused(self, given: dict[str, object], message: str):
        with pytest.raises(ValueError, match=message):
            ImapSettings(**given)

    def test_the_port_follows_the_kind_of_tls(self):
        assert ImapSettings(host="h").server == ("h", 993)
        assert ImapSettings(host="h", starttls=True).server == ("h", 143)

    def test_a_missing_file_is_named(self, tmp_path: Path):
        with pytest.raises(ConfigError, match=r"imap\.password_file .*No such file"):
            ImapSettings(password_file=str(tmp_path / "none")).secret()


class TestPlace:
    @pytest.mark.parametrize("mailbox", ["INBOX", "[Gmail]/Spam", "Entwürfe & mehr;@:%2F", "a b"])
    def test_a_url_says_all_of_it(self, mailbox: str):
        place = Place(("ann@example.com", "imap.example.com"), mailbox, 2**32 - 1, 17)
        assert place_of(((HEADER, place.url.encode()),)) == place
        assert place.url.startswith("imap://ann%40example.com@imap.example.com/")

    @pytest.mark.parametrize(
        "value",
        [b"", b"\xff", b"imap://a@b/INBOX", b"imap://a@b/INBOX;UIDVALIDITY=1/;UID=x", b"imap://a@b/c/d;UIDVALIDITY=1/;UID=1"],
    )  # fmt: skip
    def test_any_other_header_says_nothing(self, value: bytes):
        assert place_of(((HEADER, value),)) is None

    def test_it_travels_through_dead_letter_and_replay_to_the_label(self):
        place = Place(("ann", "imap.example.com"), "INBOX", 7, 17)
        came = Record(Partition("mail", 0), 5, None, b"x", encoded((HEADER, place.url)))
        letter = dead_letter(came, RecordError("malformed", "why"), "mail.dlq", "mail", "m")
        lies = Record(Partition("mail.dlq", 0), 0, letter.key, letter.value, letter.headers)
        again = Record(Partition("mail", 0), 6, None, b"x", replay_headers(lies))
        for record in (came, again):
            assert place_of(cloud_event_headers(labelled(), record.headers)) == place


def test_of_several_decisions_the_highest_that_has_a_mailbox_moves_a_mail() -> None:
    several = {"labels": ["a", "b", "c"], "decisions": ["a", "b", "c"], "decision": "c"}
    label = a_label(scores={"a": 0.7, "b": 0.8, "c": 0.9}, **several)
    assert target_of(label, {"a": "A", "b": "B"}) == "B"
    assert target_of(label, {"c": "C", "b": "B"}) == "C"
    assert target_of(a_label(decision="spam"), {"spam": "Junk"}) == "Junk", "of an older record"
    assert target_of(a_label(decision="unsure"), {"spam": "Junk"}) is None
