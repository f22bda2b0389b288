"""Each panel of the dashboards shows something, once all that it can show has happened.

A worker with a challenger, a filter, both sides of a hosted mailbox, a feed reader, a feed sink and
a dashboard run as processes, and a real Prometheus scrapes them.
"""

from __future__ import annotations

import threading
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.conftest import free_port
from tests.dashboards import queries
from tests.feed_server import rss
from tests.integration.harness import Stage
from tests.integration.process import Worker, wait_until_ready
from tests.mail.imap_server import ImapServer, imap_server
from tests.mail.mail_server import HAM, SPAM
from tests.prometheus import Prometheus, prometheus
from tests.tiny_model import save_tiny_albert

TOKEN = "a token of the test"
NEWS = [(str(number), f"Ministers meet for the {number}. time") for number in range(5)]
VAGUE = b"Subject: hm\r\n\r\nhm\r\n"  # nothing to decide by
USER = "ada"


@pytest.fixture(scope="module")
def hosted() -> Iterator[ImapServer]:
    """Ada's mailbox."""
    with imap_server() as server:
        yield server


@contextmanager
def news() -> Iterator[str]:
    """The address of a feed."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(rss(NEWS))

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


class Everything:
    """All processes, by job, and what makes them busy."""

    def __init__(self, stage: Stage, hosted: ImapServer, challenger: Path) -> None:
        self._stage, self._hosted = stage, hosted
        folder, self.jobs = stage.folder, dict[str, str]()
        (folder / "token").write_text(TOKEN)
        self._mail = stage.route(
            "mail",
            "rfc822",
            "builtin:spam",
            challenger=str(challenger),
            shadow_share=1.0,
            review_share=1.0,
        )
        stage.route("news", "feed", "builtin:news")
        feedback = f"{stage.name}.feedback"
        imap = hosted.settings(USER, state=str(folder / "imap.db"))
        stage.sections |= {
            "engine": {"threads": 1},
            "drift": {"window_records": 5, "window_seconds": 0},
            "feedback": {"topic": feedback},
            "filter": {"token_file": str(folder / "token")},
            "feeds": {"state": str(folder / "feeds.db"), "allow_networks": ["127.0.0.0/8"]},
            "feed_sink": {"file": str(folder / "feed.db")},
            "imap": imap | {"from_beginning": True},
            "dashboard": {"history": str(folder / "dashboard.db")},
        }
        stage.create_topics(more=[feedback, f"{self._mail}.review", f"{self._mail}.labels.shadow"])

    @contextmanager
    def running(self, feed: str) -> Iterator[None]:
        """All of them, ready."""
        with ExitStack() as stack:
            self._start(stack, "winnow", "metrics.port", "worker")
            self._start(stack, "winnow-filter", "filter.http", "filter", "--listen=")
            self._start(stack, "winnow-feeds", "feeds.http", "ingest", "feeds", feed)
            self._start(stack, "winnow-imap", "imap.http", "ingest", "imap")
            self._start(stack, "winnow-mover", "imap.sink_http", "sink", "imap")
            self._start(stack, "winnow-sink", "feed_sink.http", "sink", "feed")
            self._start(stack, "winnow-dashboard", "dashboard.listen", "dashboard")
            for address in self.jobs.values():
                wait_until_ready(f"http://{address}")
            yield

    def _start(self, stack: ExitStack, job: str, key: str, *command: str) -> None:
        section, _, name = key.upper().partition(".")
        port = free_port()
        self.jobs[job] = f"127.0.0.1:{port}"
        given = str(port) if name == "PORT" else self.jobs[job]
        log = self._stage.folder / f"{job}.log"
        process = Worker(
            self._stage.config, log, {f"WINNOW_{section}__{name}": given}, command=command
        )
        stack.callback(process.kill)

    def work(self, letters: int) -> None:
        """Mails by three ways, a correction of one, and so many records without a value."""
        self._hosted.deliver(USER, SPAM, HAM)
        self._post("label/mail", HAM)
        with self._stage.producer() as producer:
            for number, mail in enumerate((SPAM, HAM, VAGUE) * 8):
                producer.send(self._mail, mail, partition=number % self._stage.partitions)
            for _ in range(letters):
                producer.send(self._mail, None, key=b"gone", partition=0)
        self._post(f"correct/mail?label=spam&who=ada&id={self._mail}/1/0", b"")

    def _post(self, path: str, body: bytes) -> None:
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "message/rfc822"}
        url = f"http://{self.jobs['winnow-filter']}/v1/{path}"
        urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=60).close()


@pytest.mark.slow
def test_no_panel_is_empty(tansu: str, tmp_path: Path, hosted: ImapServer):
    challenger = save_tiny_albert(tmp_path / "challenger")
    everything = Everything(Stage(tansu, tmp_path), hosted, challenger)
    with news() as feed, everything.running(feed), prometheus(tmp_path, everything.jobs) as found:
        everything.work(letters=1)
        seen_twice(found)
        everything.work(letters=40)
        found.wait_for('ALERTS{alertname="WinnowDeadLetters", alertstate="firing"}')
        found.wait_for("sum(winnow_imap_labels_total) >= 4")
        found.wait_for("sum(winnow_shadow_records_total) >= 40")
        assert [name for name, query in queries(120) if not found.shown(query)] == []


def seen_twice(found: Prometheus) -> None:
    """Return once the first results of everything were scraped twice: a rate is of two."""
    for counter in (
        'winnow_records_dead_lettered_total{route="mail"}',
        'winnow_filter_messages_total{outcome="labelled"}',
        "winnow_imap_labels_total",
        'winnow_sink_records_total{sink="feed"}',
        "winnow_shadow_records_total",
        'winnow_records_labelled_total{route="news"}',
    ):
        found.wait_for(f"count_over_time({counter}[5m]) >= 2")
