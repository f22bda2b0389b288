"""Cost: what a label takes of the machine, and of the money that it costs."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.grafana.panels import (
    Section,
    board,
    graph,
    mean,
    number,
    ours,
    per,
    process,
    rate,
    route,
)

CPU = rate(process("process_cpu_seconds_total"))
WORKERS = f"group by (job, instance) ({route('in_flight_records')})"  # the processes that label
WORK = f"sum({CPU} and on (job, instance) {WORKERS})"
LABELS = f"sum({rate(route('records_labelled_total'))})"
TOKENS = "batch_tokens_sum"


def cost() -> Dashboard:
    """For who pays, and for who decides how many workers there are."""
    text = (
        "What a label takes of the machine. A route that shares its workers with others bears "
        "their cost too: choose all routes of a job."
    )
    return board("cost", text, _labels(), _processes(), _engine(), price=True)


def _labels() -> Section:
    return Section(
        "A label",
        [
            number(
                "A million labels cost",
                "CPU time of the workers, at the price of a core and hour above.",
                "currencyUSD",
                f"{WORK} / {LABELS} * 1e6 / 3600 * $price",
            ),
            number("CPU time of a label", "Of the workers.", "s", f"{WORK} / {LABELS}"),
            number("Labels per core and second", "Of the workers.", "short", f"{LABELS} / {WORK}"),
            number(
                "Tokens", "In batches, padding not counted.", "cps", f"sum({rate(route(TOKENS))})"
            ),
            number(
                "Tokens of a label",
                "Long texts cost more.",
                "short",
                f"sum({rate(route(TOKENS))}) / {LABELS}",
            ),
            number("Cores in use", "Of the workers.", "short", WORK),
        ],
    )


def _processes() -> Section:
    cpu = per("job, instance", ours(CPU))
    memory = per("job, instance", ours(process("process_resident_memory_bytes")))
    files = per("job, instance", ours(process("process_open_fds")))
    return Section(
        "Processes",
        [
            graph("CPU", "Cores in use.", "short", (cpu, "{{job}} {{instance}}")),
            graph(
                "Memory",
                "Resident memory of each process.",
                "bytes",
                (memory, "{{job}} {{instance}}"),
            ),
            graph(
                "Open files",
                "Sockets too. A line that only rises is a leak.",
                "short",
                (files, "{{job}} {{instance}}"),
            ),
        ],
    )


def _engine() -> Section:
    inference = rate(route("stage_seconds_sum", 'stage="inference"'))
    return Section(
        "Engine",
        [
            graph(
                "Batches under way",
                "Mean; at most two a route and worker. Near two: the engine limits the rate.",
                "short",
                (per("route, instance", inference), "{{route}} {{instance}}"),
                limits=(1.8,),
            ),
            graph(
                "Records in a batch",
                "Mean. Fuller batches are cheaper on a GPU.",
                "short",
                (mean(route("batch_records"), "route"), "{{route}}"),
            ),
            graph(
                "Padding",
                "Mean share of computed tokens; 0 with our engines.",
                "percentunit",
                (mean(route("padding_ratio"), "route"), "{{route}}"),
            ),
        ],
    )
