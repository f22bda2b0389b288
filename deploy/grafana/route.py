"""A route: where its records wait, and what becomes of them."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.grafana.panels import Section, board, graph, mean, per, quantile, rate, route

CONSUMED = per("route", rate(route("records_consumed_total")))


def a_route() -> Dashboard:
    """Choose one in the list."""
    text = "Where a route's records wait, and what becomes of them. Choose one route."
    return board("a route", text, _records(), _time(), _batches(), _partitions(), _failures())


def _records() -> Section:
    decisions = per("decision", rate(route("decisions_total")))
    return Section(
        "Records",
        [
            graph(
                "In and out",
                "What is read becomes a label or a dead letter.",
                "cps",
                (per("route", rate(route("records_consumed_total"))), "{{route}} read"),
                (per("route", rate(route("records_labelled_total"))), "{{route}} labels"),
                (per("route", rate(route("records_dead_lettered_total"))), "{{route}} dead"),
            ),
            graph(
                "Decisions",
                "By label; unsure is to be left alone.",
                "cps",
                (decisions, "{{decision}}"),
            ),
            graph(
                "Why unsure",
                "low_confidence: the score; unfamiliar: unlike what the model knows; no_text.",
                "cps",
                (per("reason", rate(route("records_unsure_total"))), "{{reason}}"),
            ),
        ],
    )


def _time() -> Section:
    wait, stage = route("end_to_end_seconds"), route("stage_seconds")
    total = rate(stage.replace("{", "_sum{", 1))
    return Section(
        "Time",
        [
            graph(
                "Wait for a label",
                "From a record's timestamp to its confirmed label.",
                "s",
                *((quantile(q, wait, "route"), f"{{{{route}}}} {q:.0%}") for q in (0.5, 0.9, 0.99)),
            ),
            graph(
                "Stages, 99 %",
                "parse, encode and queue of a record; inference and publish of a batch.",
                "s",
                (quantile(0.99, stage, "stage"), "{{stage}}"),
            ),
            graph(
                "Seconds in each stage per second",
                "The stage with the most is where a route is slow. Inference has at most two.",
                "short",
                (per("stage", total), "{{stage}}"),
            ),
        ],
    )


def _batches() -> Section:
    records, tokens = route("batch_records"), route("batch_tokens")
    return Section(
        "Batches",
        [
            graph(
                "Records in a batch",
                "Small batches: records are few. Large ones: the engine is busy.",
                "short",
                (mean(records, "route"), "mean"),
                (quantile(0.95, records, "route"), "95 %"),
            ),
            graph(
                "Tokens in a batch",
                "Padding not counted.",
                "short",
                (mean(tokens, "route"), "mean"),
                (quantile(0.95, tokens, "route"), "95 %"),
            ),
            graph(
                "In flight",
                "Read and not acked; at max_in_flight_records the route's partitions pause.",
                "short",
                (per("instance", route("in_flight_records")), "{{instance}}"),
            ),
        ],
    )


def _partitions() -> Section:
    return Section(
        "Partitions",
        [
            graph(
                "Lag by partition",
                "One far above the others: its key is hot.",
                "short",
                (per("partition", route("consumer_lag_records")), "{{partition}}"),
            ),
            graph(
                "Age of the oldest record by partition",
                "Of those in flight.",
                "s",
                (f"max by (partition) ({route('consumer_lag_seconds')})", "{{partition}}"),
            ),
            graph(
                "Bytes in flight",
                "At max_in_flight_bytes the route's partitions pause.",
                "bytes",
                (per("instance", route("in_flight_bytes")), "{{instance}}"),
            ),
        ],
    )


def _failures() -> Section:
    engine = per("outcome", rate(route("engine_failures_total")))
    return Section(
        "Failures",
        [
            graph(
                "Dead letters",
                "By reason: winnow dlq list has the records.",
                "cps",
                (per("reason", rate(route("records_dead_lettered_total"))), "{{reason}}"),
            ),
            graph(
                "Deliveries tried again",
                "The broker or a topic refuses writes. Nothing behind them is acked.",
                "cps",
                (per("route", rate(route("publish_failures_total"))), "{{route}}"),
            ),
            graph(
                "Batches that the engine failed on",
                "By what was done; poison: one record was blamed and is a dead letter.",
                "cps",
                (f"{engine} or 0 * {CONSUMED}", "{{outcome}}"),
            ),
        ],
    )
