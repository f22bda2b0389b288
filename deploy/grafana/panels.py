"""What the dashboards are made of: selectors, queries, panels, sections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders.common import (
    GraphThresholdsStyleConfig,
    ReduceDataOptions,
    VizLegendOptions,
    VizTooltipOptions,
)
from grafana_foundation_sdk.builders.dashboard import (
    Dashboard,
    DashboardLink,
    DatasourceVariable,
    QueryVariable,
    Row,
    TextBoxVariable,
    ThresholdsConfig,
)
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.builders.stat import Panel as Stat
from grafana_foundation_sdk.builders.table import Panel as Table
from grafana_foundation_sdk.builders.timeseries import Panel as TimeSeries
from grafana_foundation_sdk.models.common import (
    DataSourceRef,
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    TooltipDisplayMode,
    VisibilityMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    Threshold,
    ThresholdsMode,
    VariableOption,
    VariableRefresh,
    VariableSort,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
TAG = "winnow"
JOBS = 'job=~"$job"'
ROUTES = f'{JOBS}, route=~"$route"'
OURS = f"winnow_filter_in_flight{{{JOBS}}}"  # a gauge of each of our processes, and of no other

Panel = TimeSeries | Stat | Table
Query = tuple[str, str]  # PromQL and the legend of its series


@dataclass(frozen=True)
class Section:
    """A row of the page."""

    title: str
    panels: Sequence[Panel]


def route(metric: str, *more: str) -> str:
    """A selector of the chosen routes' metric; `more` are further matchers."""
    return f"winnow_{metric}{{{', '.join((ROUTES, *more))}}}"


def process(metric: str, *more: str) -> str:
    """A selector of a metric without a route."""
    return f"{metric}{{{', '.join((JOBS, *more))}}}"


def ours(expression: str) -> str:
    """Of our processes only: any may have the metric."""
    return f"{expression} and on (job, instance) {OURS}"


def rate(selector: str) -> str:
    """Per second, over at least four scrapes."""
    return f"rate({selector}[$__rate_interval])"


def per(labels: str, expression: str) -> str:
    """The sum, a series each."""
    return f"sum by ({labels}) ({expression})"


def quantile(share: float, histogram: str, labels: str) -> str:
    """Of a histogram's selector, a series each; nothing while nothing is observed."""
    bucket = histogram.replace("{", "_bucket{", 1)
    return f"histogram_quantile({share}, {per(f'le, {labels}', rate(bucket))})"


def mean(histogram: str, labels: str) -> str:
    """Of a histogram's selector, a series each."""
    total, count = (histogram.replace("{", f"_{end}{{", 1) for end in ("sum", "count"))
    return f"{per(labels, rate(total))} / {per(labels, rate(count))}"


def graph(
    title: str, text: str, unit: str, *queries: Query, limits: Sequence[float] = (), width: int = 8
) -> TimeSeries:
    """Lines over time. `text` is for who wonders what they see; `limits` colour what is beyond."""
    panel = TimeSeries().title(title).description(text).unit(unit).datasource(SOURCE)
    legend = VizLegendOptions().display_mode(LegendDisplayMode.LIST)
    panel.legend(legend.placement(LegendPlacement.BOTTOM).show_legend(True))
    panel.tooltip(VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
    panel.span(width).height(8).min(0).fill_opacity(8).show_points(VisibilityMode.NEVER)
    for letter, query in zip("ABCDEF", queries, strict=False):
        panel.with_target(_query(letter, *query))
    if limits:
        dashed = GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED)
        panel.thresholds(_thresholds(limits)).thresholds_style(dashed)
    return panel


def number(title: str, text: str, unit: str, expression: str, limits: Sequence[float] = ()) -> Stat:
    """The present value."""
    panel = Stat().title(title).description(text).unit(unit).datasource(SOURCE).span(4).height(4)
    panel.reduce_options(ReduceDataOptions().calcs(["lastNotNull"]))
    panel.with_target(_query("A", expression, title))
    return panel.thresholds(_thresholds(limits))


def table(title: str, text: str, expression: str, width: int = 8) -> Table:
    """A row a series, with its labels."""
    query = _query("A", expression, "").instant().format(PromQueryFormat.TABLE)
    panel = Table().title(title).description(text).datasource(SOURCE).no_value("none")
    return panel.span(width).height(8).with_target(query)


def board(name: str, text: str, *sections: Section, price: bool = False) -> Dashboard:
    """A page for the last hour, with a choice of data source, jobs and routes."""
    made = Dashboard(f"Winnow: {name}").uid(f"winnow-{name.replace(' ', '-')}").description(text)
    made.tags([TAG]).refresh("30s").time("now-1h", "now").timezone("browser").editable()
    made.tooltip(DashboardCursorSync.CROSSHAIR).link(_others())
    made.with_variable(DatasourceVariable("datasource").label("Data source").type("prometheus"))
    made.with_variable(_choice("job", "Job", "label_values(winnow_filter_in_flight, job)"))
    choice = f"label_values(winnow_in_flight_records{{{JOBS}}}, route)"
    made.with_variable(_choice("route", "Route", choice))
    if price:
        given = TextBoxVariable("price").label("A core for an hour costs").default_value("0.04")
        made.with_variable(given.current(VariableOption(text="0.04", value="0.04")))
    for section in sections:
        made.with_row(Row(section.title))
        for panel in section.panels:
            made.with_panel(panel)
    return made


def _choice(name: str, label: str, query: str) -> QueryVariable:
    choice = QueryVariable(name).label(label).datasource(SOURCE).query(query)
    choice.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED).sort(VariableSort.ALPHABETICAL_ASC)
    choice.multi(True).include_all(True).all_value(".+")
    return choice.current(VariableOption(text=["All"], value=["$__all"]))


def _others() -> DashboardLink:
    link = DashboardLink("Winnow").type(DashboardLinkType.DASHBOARDS).tags([TAG]).as_dropdown(True)
    return link.keep_time(True).include_vars(True)


def _query(letter: str, expression: str, legend: str) -> Dataquery:
    return Dataquery().ref_id(letter).datasource(SOURCE).expr(expression).legend_format(legend)


def _thresholds(limits: Sequence[float]) -> ThresholdsConfig:
    colours = ("orange", "red") if len(limits) > 1 else ("red",)
    steps = [Threshold(value=None, color="green")]
    steps += [Threshold(value=limit, color=c) for limit, c in zip(limits, colours, strict=False)]
    return ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)
