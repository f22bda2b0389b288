"""Overview: is everything labelled, and how soon?"""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.grafana.panels import (
    OURS,
    Section,
    board,
    graph,
    number,
    per,
    quantile,
    rate,
    route,
    table,
)

CONSUMED = rate(route("records_consumed_total"))
LETTERS = rate(route("records_dead_lettered_total"))
# a counter of failures is not there before the first: then it is none of what was consumed
LETTER_SHARE = f"(sum({LETTERS}) or 0 * sum({CONSUMED})) / sum({CONSUMED})"
DECISIONS = route("decisions_total")
UNSURE = route("decisions_total", 'decision="unsure"')


def overview() -> Dashboard:
    """All routes on one page."""
    text = "Is everything labelled, and how soon? Each route beside the others."
    return board("overview", text, _now(), _flow(), _results())


def _now() -> Section:
    alerts = 'ALERTS{alertname=~"Winnow.+", alertstate="firing"}'
    return Section(
        "Now",
        [
            number("Processes", "Those that Prometheus reaches.", "short", f"count({OURS})"),
            number(
                "Labels",
                "Confirmed by the broker.",
                "cps",
                f"sum({rate(route('records_labelled_total'))})",
            ),
            number(
                "Oldest record",
                "How long the oldest record in flight has waited for its label.",
                "s",
                f"max({route('consumer_lag_seconds')})",
                (30, 60),
            ),
            number(
                "Lag",
                "Records in Kafka that have no label yet.",
                "short",
                f"sum({route('consumer_lag_records')})",
            ),
            number(
                "Dead letters",
                "Share of the records read that cannot be labelled.",
                "percentunit",
                LETTER_SHARE,
                (0.01, 0.05),
            ),
            number(
                "Unsure",
                "Share of the labels whose decision is unsure.",
                "percentunit",
                f"sum({rate(UNSURE)}) / sum({rate(DECISIONS)})",
            ),
            table(
                "Alerts that fire",
                "Each has a section in docs/runbook.md.",
                f"sum by (alertname, severity, route, instance) ({alerts})",
                24,
            ),
        ],
    )


def _flow() -> Section:
    return Section(
        "Flow",
        [
            graph(
                "Records read",
                "More than labels and dead letters where a rebalance made some be read again.",
                "cps",
                (per("route", CONSUMED), "{{route}}"),
            ),
            graph(
                "Labels",
                "Confirmed by the broker.",
                "cps",
                (per("route", rate(route("records_labelled_total"))), "{{route}}"),
            ),
            graph(
                "Lag",
                "Records in Kafka that have no label yet.",
                "short",
                (per("route", route("consumer_lag_records")), "{{route}}"),
            ),
            graph(
                "Age of the oldest record",
                "Of those in flight. The alert WinnowBehind fires at 60 s.",
                "s",
                (f"max by (route) ({route('consumer_lag_seconds')})", "{{route}}"),
                limits=(60,),
            ),
            graph(
                "Wait, median",
                "From a record's timestamp to its confirmed label.",
                "s",
                (quantile(0.5, route("end_to_end_seconds"), "route"), "{{route}}"),
            ),
            graph(
                "Wait, 99 %",
                "From a record's timestamp to its confirmed label.",
                "s",
                (quantile(0.99, route("end_to_end_seconds"), "route"), "{{route}}"),
            ),
        ],
    )


def _results() -> Section:
    unsure = per("route", rate(UNSURE))
    every = per("route", rate(DECISIONS))
    return Section(
        "Results",
        [
            graph(
                "Decisions",
                "What a reader of the labels is told to act on; unsure: nothing.",
                "cps",
                (per("route, decision", rate(DECISIONS)), "{{route}} {{decision}}"),
            ),
            graph(
                "Share unsure",
                "A jump: the texts have changed, or the model has.",
                "percentunit",
                (f"({unsure} or 0 * {every}) / {every}", "{{route}}"),
            ),
            graph(
                "Dead letters",
                "Records that cannot be labelled: winnow dlq list says why.",
                "cps",
                (per("route, reason", LETTERS), "{{route}} {{reason}}"),
            ),
        ],
    )
