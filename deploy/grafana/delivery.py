"""Delivery: from the sources to the workers, from the workers to where labels are used."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.grafana.panels import Section, board, graph, per, process, quantile, rate, route


def delivery() -> Dashboard:
    """For who runs sources, filters and sinks. A section is empty where nothing of it runs."""
    text = (
        "From the sources to the workers, and from the workers to where labels are used. A section "
        "is empty where none of its processes runs."
    )
    return board("delivery", text, _sources(), _filter(), _kafka(), _sinks(), _imap())


def _sources() -> Section:
    by = "source, outcome"
    return Section(
        "Sources",
        [
            graph(
                "Items",
                "delivered, or why not; too_large for the topic or for max_record_bytes.",
                "cps",
                (per(by, rate(process("winnow_ingested_records_total"))), "{{source}} {{outcome}}"),
            ),
            graph(
                "News feeds",
                "By how they are; given_up is asked no more.",
                "short",
                (per("state", process("winnow_feeds")), "{{state}}"),
            ),
            graph(
                "Checks of news feeds",
                "new, unchanged, not_modified, or why they failed.",
                "cps",
                (per("outcome", rate(process("winnow_feeds_checks_total"))), "{{outcome}}"),
            ),
        ],
    )


def _filter() -> Section:
    total = route("filter_messages_total")
    faults = route("filter_messages_total", 'outcome!~"labelled|dead_letter|too_large"')
    late, messages = per("route", rate(faults)), per("route", rate(total))
    return Section(
        "Filter",
        [
            graph(
                "Mail by outcome",
                "labelled, or why it passed without a label.",
                "cps",
                (per("outcome", rate(total)), "{{outcome}}"),
            ),
            graph(
                "Share unlabelled by a fault",
                "It is delivered, spam too. WinnowMailUnlabelled fires at 5 %.",
                "percentunit",
                (f"({late} or 0 * {messages}) / {messages}", "{{route}}"),
                limits=(0.05,),
            ),
            graph(
                "Wait for a label",
                "Of a mail, in the filter; at the deadline it passes without one.",
                "s",
                (quantile(0.5, route("filter_seconds"), "route"), "{{route}} 50%"),
                (quantile(0.99, route("filter_seconds"), "route"), "{{route}} 99%"),
            ),
        ],
    )


def _kafka() -> Section:
    return Section(
        "Kafka",
        [
            graph(
                "Delivery of a batch, 99 %",
                "Until the broker has confirmed all of its labels.",
                "s",
                (quantile(0.99, route("stage_seconds", 'stage="publish"'), "route"), "{{route}}"),
            ),
            graph(
                "Deliveries tried again",
                "The broker or a topic refuses writes.",
                "cps",
                (per("route", rate(route("publish_failures_total"))), "{{route}}"),
            ),
            graph(
                "Records lost or left out",
                "Since the workers started: logs that went back, too short a retention, or offsets "
                "that somebody moved.",
                "short",
                (per("route", route("log_reverted_total")), "{{route}} logs reverted"),
                (per("route", route("records_missed_total")), "{{route}} records missed"),
                (per("route", route("offsets_moved_total")), "{{route}} offsets moved"),
                limits=(1,),
            ),
        ],
    )


def _sinks() -> Section:
    by = "sink, outcome"
    records = process("winnow_sink_records_total")
    failures = per("sink", rate(process("winnow_sink_failures_total")))
    return Section(
        "Sinks",
        [
            graph(
                "Labels handed on",
                "By outcome.",
                "cps",
                (per(by, rate(records)), "{{sink}} {{outcome}}"),
            ),
            graph(
                "Lag",
                "Label records that a sink has yet to write.",
                "short",
                (per("sink, topic", process("winnow_sink_lag_records")), "{{sink}} {{topic}}"),
            ),
            graph(
                "Age of the oldest label",
                "Of those that a sink is trying to write.",
                "s",
                (f"max by (sink) ({process('winnow_sink_lag_seconds')})", "{{sink}}"),
            ),
            graph(
                "Time of a write",
                "Of a batch of labels.",
                "s",
                (quantile(0.5, process("winnow_sink_write_seconds"), "sink"), "{{sink}} 50%"),
                (quantile(0.99, process("winnow_sink_write_seconds"), "sink"), "{{sink}} 99%"),
            ),
            graph(
                "Writes tried again",
                "Where labels go does not take them; nothing is skipped.",
                "cps",
                (f"{failures} or 0 * {per('sink', rate(records))}", "{{sink}}"),
            ),
            graph(
                "Pages of the dashboard",
                "That winnow dashboard feeds now.",
                "short",
                (f"sum({process('winnow_dashboard_viewers')})", "pages"),
            ),
        ],
    )


def _imap() -> Section:
    return Section(
        "Hosted mailboxes",
        [
            graph(
                "Mailboxes followed",
                "1 while winnow ingest imap follows it, else 0.",
                "short",
                (f"min by (mailbox) ({process('winnow_imap_mailbox_open')})", "{{mailbox}}"),
                width=12,
            ),
            graph(
                "Mail at the sink",
                "moved; gone, or touched by its user; stays; foreign: of no mail of this account.",
                "cps",
                (per("outcome", rate(process("winnow_imap_labels_total"))), "{{outcome}}"),
                width=12,
            ),
        ],
    )
