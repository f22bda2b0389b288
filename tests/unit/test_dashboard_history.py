"""The dashboard's history: placed by the records' time, each id once, bounded, one transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from stream_app.core.errors import ConfigError
from stream_app.core.messages import Partition, Record
from stream_app.web.dashboard import history
from stream_app.web.dashboard.history import OTHER, History, last_lines
from stream_app.web.dashboard.measures import NET
from stream_app.web.dashboard.sighting import Sighting, of_dead_letter, of_label
from stream_app.web.dashboard.views import Views
from stream_app.web.dashboard.windows import BY_STEP, RANGES, percentile, slot

NOW = 1_795_970_000
HOUR, DAY = 3600, 86_400


def label(
    number: int, name: str = "positive", age: float = 0, product: str = "kettle", **more: object
) -> Sighting:
    """A label of the record at an offset, made `age` seconds before NOW."""
    made = int((NOW - age) * 1000)
    source = {"topic": "in", "partition": 0, "offset": number, "timestamp": made}
    fields = {"fields": {"product": product}, "topic_id": more.pop("topic_id", "T")}
    value = {
        "id": f"in/0/{number}",
        "route": "reviews",
        "label": name,
        "labels": [name],
        "confidence": 0.9,
        "scores": {"positive": 0.9, "negative": 0.1},
        "decision": name,
        "model": {"name": "reviews", "version": "6", "digest": "x"},
        "source": source | fields,
        "classified_at": datetime.fromtimestamp(NOW, UTC).isoformat(),
    }
    return of_label(record(json.dumps(value | more).encode()))


def record(value: bytes, **headers: str) -> Record:
    told = tuple((f"winnow-{name}", text.encode()) for name, text in headers.items())
    return Record(Partition("out", 0), 7, None, value, told, NOW * 1000)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "kept" / "history.db"


@pytest.fixture
def kept(file: Path) -> Iterator[History]:
    opened = History(file)
    yield opened
    opened.close()


@pytest.fixture
def views(kept: History, file: Path) -> Iterator[Views]:
    opened = Views(file)
    yield opened
    opened.close()


def total(views: Views, name: str) -> int:
    return int(views.route("reviews", RANGES[name], NOW)["total"])


def test_a_record_is_placed_by_its_own_time(kept: History, views: Views):
    kept.add([label(1), label(2, age=2 * HOUR), label(3, age=3 * DAY)], {}, NOW)
    assert [total(views, name) for name in ("15m", "6h", "7d", "30d")] == [1, 2, 3, 3]
    line = views.route("reviews", RANGES["6h"], NOW)["labels"]["positive"]
    assert (line[-1], line[-1 - 2 * HOUR // 300], sum(line)) == (1, 1, 2)


def test_a_clock_that_runs_ahead_is_not_believed(kept: History, views: Views):
    kept.add([label(1, age=-40 * DAY)], {}, NOW)
    assert total(views, "15m") == 1


def test_an_id_counts_once_whenever_its_copy_comes(kept: History, file: Path, views: Views):
    first = kept.add([label(1), label(2)], {}, NOW)
    assert [line["id"] for _, line in first] == ["in/0/1", "in/0/2"]
    assert kept.add([label(2), label(3), label(3)], {}, NOW)[0][1]["id"] == "in/0/3"
    kept.close()
    again = History(file)  # as after a restart
    assert again.add([label(1), label(2), label(3)], {}, NOW) == []
    assert total(views, "1h") == 3


def test_a_topic_that_was_made_again_has_other_ids(kept: History, views: Views):
    kept.add([label(1), label(1, topic_id="another")], {}, NOW)
    assert total(views, "1h") == 2


def test_where_the_broker_tells_no_topic_id_the_time_tells_two_records_apart(
    kept: History, views: Views
):
    kept.add([label(1, topic_id=None), label(1, topic_id=None, age=60)], {}, NOW)
    assert total(views, "1h") == 2


def test_what_is_remembered_of_ids_is_bounded(
    kept: History, views: Views, file: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(history, "MAX_SEEN", 10)
    for number in range(100):
        kept.add([label(number), label(max(0, number - 9))], {}, NOW)  # copies of the last ten
    assert total(views, "1h") == 100
    seen = sqlite3.connect(file).execute("SELECT count(*) FROM seen").fetchone()[0]
    assert seen <= 20


def test_counts_and_positions_are_one_transaction(
    kept: History, views: Views, monkeypatch: pytest.MonkeyPatch
):
    place = Partition("out", 0)
    kept.add([label(1)], {place: 1}, NOW)
    monkeypatch.setattr(kept, "_list", lambda line: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        kept.add([label(2)], {place: 2}, NOW)
    monkeypatch.undo()
    assert (kept.positions(), total(views, "1h")) == ({place: 1}, 1)
    kept.add([label(2)], {place: 2}, NOW)
    assert (kept.positions(), total(views, "1h")) == ({place: 2}, 2)


def test_old_buckets_are_dropped_and_names_with_them(kept: History, views: Views, file: Path):
    kept.add([label(1), label(2, age=20 * DAY, product="old")], {}, NOW)
    kept.add([label(3, age=70 * DAY, product="older")], {}, NOW)  # nobody can ask for it
    values = {row["value"] for row in views.by("reviews", "product", RANGES["30d"], NOW, NET)}
    assert values == {"kettle", "old"}
    later = NOW + 65 * DAY
    kept.prune(later)
    kept.add([label(9, age=-65 * DAY, classified_at=_at(later))], {}, later)
    rows = sqlite3.connect(file).execute("SELECT DISTINCT value FROM names").fetchall()
    assert {"old", "older"}.isdisjoint(value for (value,) in rows)
    assert views.route("reviews", RANGES["15m"], later)["total"] == 1


def _at(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def test_values_beyond_the_bound_are_counted_together(
    kept: History, views: Views, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(history, "MAX_VALUES", 3)
    kept.add([label(n, product=f"p{n}") for n in range(10)], {}, NOW)
    found = {
        row["value"]: row["n"] for row in views.by("reviews", "product", RANGES["1h"], NOW, NET)
    }
    assert found == {"p0": 1, "p1": 1, "p2": 1, OTHER: 7}


def test_net_sentiment_is_of_decisions(kept: History, views: Views):
    said = ["positive", "positive", "positive", "negative", "neutral"]
    unsure = label(9, decision="unsure")
    kept.add([*(label(n, name) for n, name in enumerate(said)), unsure], {}, NOW)
    found = views.route("reviews", RANGES["1h"], NOW)
    assert found["measured"][NET] == pytest.approx((3 - 1) / 6)
    assert (found["total"], found["total_unsure"]) == (6, 1)


def test_a_record_counts_for_each_of_its_labels_and_once(kept: History, views: Views):
    model = {"name": "topics", "version": "1", "digest": "x", "problem": "multi_label"}

    def told(number: int, labels: str, decisions: str, decision: str) -> Sighting:
        given = {"labels": list(labels), "decisions": list(decisions), "decision": decision}
        return label(number, "a", **given, model=model, scores={"a": 0.9, "b": 0.8, "c": 0.7})

    both, part, none = told(1, "ab", "ab", "a"), told(2, "ab", "b", "b"), told(3, "", "", "none")
    kept.add([both, part, none, told(4, "ac", "", "unsure")], {}, NOW)
    found = views.route("reviews", RANGES["1h"], NOW)
    assert (found["total"], found["total_unsure"], found["several"]) == (4, 1, True)
    shares = {name: share * 4 for name, share in found["measured"].items() if share}
    assert shares == {"a": 1, "b": 2, "none": 1}
    [row] = views.by("reviews", "product", RANGES["1h"], NOW, "b")
    assert (row["n"], row["measure"]) == (4, 0.5)
    assert part.shown is not None
    assert part.shown["several"]
    assert part.shown["labels"] == [
        {"name": "a", "score": 0.9, "decided": False},
        {"name": "b", "score": 0.8, "decided": True},
    ]


def test_what_moved_most_comes_first_and_one_review_does_not_top_it(kept: History, views: Views):
    before, mixed = 90 * 60, ["positive", "negative"]
    sightings = [
        *(label(n, "positive", before, "fell") for n in range(20)),
        *(label(100 + n, "negative", 60, "fell") for n in range(20)),
        *(label(200 + n, mixed[n % 2], before + n % 2, "same") for n in range(20)),
        *(label(300 + n, mixed[n % 2], 60, "same") for n in range(20)),
        label(400, "positive", before, "lone"),
        label(401, "negative", 60, "lone"),
    ]
    kept.add(sightings, {}, NOW)
    rows = views.by("reviews", "product", RANGES["1h"], NOW, NET)
    assert [row["value"] for row in rows] == ["fell", "lone", "same"]
    fell = rows[0]
    assert (fell["n"], fell["before"], fell["measure"], fell["change"]) == (20, 20, -1, -2)
    assert sum(fell["volumes"]) == 20


def test_one_value_has_its_own_figures(kept: History, views: Views):
    kept.add([label(1), label(2, product="lamp"), label(3, "negative", product="lamp")], {}, NOW)
    found = views.value("reviews", "product", "lamp", RANGES["1h"], NOW)
    assert (found["total"], found["measured"][NET]) == (2, 0)


def test_waits_models_and_dead_letters(kept: History, views: Views):
    dead = record(b"x", error="malformed", route="reviews", source="in/0/5", timestamp="1")
    kept.add([label(1, age=0.2), label(2, age=0.2), label(3, age=20)], {}, NOW)
    kept.add([of_dead_letter(dead, "other"), of_dead_letter(dead, "other")], {}, NOW)
    lately = record(b"x", error="no_text", source="in/0/6", timestamp=str(NOW * 1000))
    kept.add([of_dead_letter(lately, "reviews")], {}, NOW)
    found = views.route("reviews", RANGES["1h"], NOW)
    assert found["dead"] == {"no_text": 1}  # the other one's record is of 1970
    assert found["models"] == {"reviews 6": 3}
    assert found["waits"]["p50"] == pytest.approx(0.2, rel=0.05)
    assert found["waits"]["p99"] == pytest.approx(20, rel=0.05)


def test_the_last_labels_survive_a_restart(kept: History, file: Path):
    kept.add([label(n) for n in range(5)], {}, NOW)
    lines = last_lines(file)
    assert [line["id"] for _, line in lines] == [f"in/0/{n}" for n in range(5)]
    assert [seq for seq, _ in lines] == sorted(seq for seq, _ in lines)
    assert "text" not in json.dumps(lines)


def test_what_is_no_label_record_is_said():
    for value in (b"", b"{", b'{"id": 1}', b"\xff"):
        with pytest.raises(ValueError):  # noqa: PT011 -- pydantic's own
            of_label(record(value))


def test_another_programs_database_is_left_alone(tmp_path: Path):
    file = tmp_path / "other.db"
    with sqlite3.connect(file) as db:
        db.execute("CREATE TABLE mine (x)")
    with pytest.raises(ConfigError, match=r"dashboard\.history .*other\.db"):
        History(file)
    assert sqlite3.connect(file).execute("SELECT * FROM mine").fetchall() == []


def test_a_file_that_is_no_database_is_said(tmp_path: Path):
    file = tmp_path / "notes.txt"
    file.write_text("not a database " * 100)
    with pytest.raises(ConfigError, match=r"notes\.txt"):
        History(file)


@pytest.mark.parametrize("name", RANGES)
def test_a_range_is_as_long_as_it_says_and_is_kept_twice_over(name: str):
    over, units = RANGES[name], {"m": 60, "h": HOUR, "d": DAY}
    assert over.step * over.points >= int(name[:-1]) * units[name[-1]]
    starts, before = over.starts(NOW), over.before(NOW)
    assert (len(starts), len(before)) == (over.points, over.points)
    assert starts[-1] <= NOW < starts[-1] + over.step
    assert before[-1] + over.step == starts[0]
    assert BY_STEP[over.step].oldest(NOW) <= before[0]


def test_a_percentile_is_right_to_five_per_cent():
    waits = [0.001 * 1.02**n for n in range(700)]
    slots: dict[int, int] = {}
    for wait in waits:
        slots[slot(wait)] = slots.get(slot(wait), 0) + 1
    for share in (0.5, 0.95, 0.99):
        exact = waits[int(share * len(waits)) - 1]
        assert percentile(slots, share) == pytest.approx(exact, rel=0.05)
    assert percentile({}, 0.5) is None
