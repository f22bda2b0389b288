"""Faults of the topics that results go to. None of them is a record's fault: all are retried."""

from __future__ import annotations

import time

from tests.integration.faults.registry import BOTH, NO_LIMITS, fault
from tests.integration.faults.scene import Scene, configure, gauge, health, order, until
from tests.integration.process import Worker

MAKES_TOPICS = {"tansu": "the embedded broker takes records for a topic that was deleted"}
LIMITS = {"tansu": NO_LIMITS}
BAD = b"\xff\xfe\x00 no text at all \x00"


def _fails_to_publish(worker: Worker) -> None:
    until(lambda: health(worker, "readyz") == 503, 90, "unready")
    assert health(worker, "healthz") == 200, "a restart would not mend it"


@fault(share=0.3, apart=MAKES_TOPICS, modes=BOTH)
def output_topic_missing(scene: Scene) -> None:
    """Deleted under an idle worker, and made again a while later."""
    topic = f"{scene.topic}.labels"
    worker = scene.start()
    scene.stage.delete(topic)
    scene.produce()
    _fails_to_publish(worker)
    assert not any(scene.stage.committed(scene.topic).values()), "nothing may be acked"
    scene.stage.create(topic)
    scene.finish(worker)


@fault(share=0.5, apart=LIMITS, modes=BOTH)
def output_topic_unwritable(scene: Scene) -> None:
    """The broker refuses every record for a while, for their timestamps."""
    topic = f"{scene.topic}.labels"
    refuse, allow = ({"message.timestamp.before.max.ms": ms} for ms in ("0", str(2**63 - 1)))
    scene.produce()
    worker = scene.start()
    scene.reach(0.3)
    scene.strike(lambda: configure(scene, topic, refuse), worker)
    _fails_to_publish(worker)
    configure(scene, topic, allow)
    scene.finish(worker)


@fault(share=0.02, apart=LIMITS, modes=BOTH)
def output_topic_too_small(scene: Scene) -> None:
    """Labels do not fit: each goes to the dead letters, with that reason, and none blocks."""
    configure(scene, f"{scene.topic}.labels", {"max.message.bytes": "300"})
    scene.produce()
    scene.finish(scene.start())
    assert scene.totals().errors == {"label_too_large": len(scene.messages)}


@fault(share=0.1, apart=LIMITS, modes=BOTH)
def output_topic_compacted_and_no_keys(scene: Scene) -> None:
    """The broker refuses labels of records without a key, until it compacts the topic no more."""
    topic = f"{scene.topic}.labels"
    configure(scene, topic, {"cleanup.policy": "compact"})
    scene.put([(number, message, None) for number, message in enumerate(scene.messages)])
    worker = scene.start()
    worker.wait_for_log("Is the topic compacted?")
    assert f"route mail: cannot write to topic {topic}" in worker.output
    _fails_to_publish(worker)
    configure(scene, topic, {"cleanup.policy": "delete"})
    scene.finish(worker)


@fault(share=0.3, apart=MAKES_TOPICS, modes=BOTH)
def dead_letter_topic_missing(scene: Scene) -> None:
    """The first bad record finds no dead-letter topic: nothing behind it is acked (ADR 5)."""
    topic = f"{scene.topic}.dlq"
    worker = scene.start()
    scene.stage.delete(topic)
    scene.put([(0, BAD, None)])
    scene.produce(range(4, len(scene.messages)))
    _fails_to_publish(worker)
    assert not scene.stage.committed(scene.topic).get(0), "nothing may be acked behind it"
    scene.stage.create(topic)
    scene.finish(worker)
    assert scene.totals().dead == 1


@fault(share=0.5)
def one_route_stuck(scene: Scene) -> None:
    """A second route's engine hangs for 40 s; the first keeps its rate meanwhile."""
    stage = scene.stage
    other = stage.route("other", "json", "builtin:news")
    stage.create_topics(routes=stage.routes[-1:])
    worker = scene.start()
    order(worker, "slow 40", "news")
    with stage.producer() as producer:
        for number in range(200):
            producer.send(other, b'{"text": "rain in the west"}', partition=number % 4)
    taken = worker.log.with_suffix(".news.orders")
    until(lambda: not taken.exists(), 60, "the other route's stuck batch")
    hung = time.monotonic()
    scene.produce()
    scene.wait(lambda: len(scene.account.places) >= scene.done(0.9))
    assert time.monotonic() - hung < 40 or gauge(worker, "winnow_in_flight_records") == 0
    assert gauge(worker, 'winnow_records_labelled_total{[^}]*route="other"[^}]*}') == 0
    scene.finish(worker)
