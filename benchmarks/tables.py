"""Writes the tables and plots of the documentation from ``benchmarks/results``.

    python -m benchmarks.tables            # rewrites them
    python -m benchmarks.tables --check    # fails if one differs from its results

A table stands in a page between ``<!-- table: NAME -->`` and ``<!-- end -->``, where NAME is a key
of `TABLES`; a plot is a file of ``docs/images``, one for each key of `PLOTS`.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

from benchmarks.compare import mean_with_interval
from smash.cli.original.flags import FLAGS
from smash.comparing.settings import CompareSettings
from smash.config import ChildSettings, LoadSettings, Settings, describe
from smash.correlation.settings import CorrelateSettings
from smash.searching.settings import SearchSettings
from smash.training.settings import RetrainSettings, TrainSettings

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
DOCS = ROOT / "docs"

_BLOCK = re.compile(r"(<!-- table: (?P<name>[^>]+?) -->\n).*?(?=<!-- end -->)", re.DOTALL)


def read_result(name: str) -> Any:
    """Reads one of the results."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Formats a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def cells() -> str:
    """Rank correlations and regrets on NAS-Bench-201, means over seeds."""
    rows = []
    for ranking, seeds in _by_ranking(read_result("cells")).items():
        of_parts = [
            f"{statistics.fmean(row[name] for row in seeds):.3f}".replace("-", "−")
            for name in ("equal_size_tau", "top_tenth_tau")
        ]
        lost = [
            f"{statistics.fmean(row['regret'][among] for row in seeds):.2f}"
            for among in seeds[0]["regret"]
        ]
        rows.append((ranking, _over_seeds(row["tau"] for row in seeds), *of_parts, *lost))
    header = ("ranked by", "Kendall τ", "τ at equal size", "τ within best tenth",
              "lost by the first", "of 5", "of 10")  # fmt: skip
    return markdown_table(header, rows)


def macro() -> str:
    """Rank correlations on NAS-Bench-Macro, means over seeds, the best first."""
    rows = []
    for ranking, seeds in _by_ranking(read_result("macro")["rows"]).items():
        sizes = [row["equal_size_tau"] for row in seeds]
        rows.append(
            (ranking, _over_seeds(row["kendall_tau"] for row in seeds),
             f"{statistics.fmean(sizes):.3f}".replace("-", "−"))
        )  # fmt: skip
    rows.sort(key=lambda row: row[1], reverse=True)
    return markdown_table(("ranked by", "Kendall τ", "τ at equal size"), rows)


def memory_banks() -> str:
    """Rank correlations on sixty trained memory-bank networks."""
    rows = []
    for row in read_result("memory-banks")["rows"]:
        ahead = _interval(row, "ahead", "ahead_") if "ahead" in row else ""
        rows.append((row["ranking"], _interval(row, "tau", ""), ahead))
    return markdown_table(("ranked by", "Kendall τ", "ahead of the parameter count by"), rows)


def compared() -> str:
    """Test errors of the winner beside other networks, on each data set."""
    rows, measured = [], read_result("compare")
    repeated = Counter(row["data"] for row in measured)
    for row in measured:
        name = row["data"] + f", seed {row['seed']}" * (repeated[row["data"]] > 1)
        winner, plain, distance = row["comparison"]["contestants"][0], _plain(row), _to_random(row)
        minutes = row["minutes_to_winner"]
        rows.append(
            (name, _range(winner["params"]), _range(winner["macs"]), _percent(winner["test"]),
             f"{plain.get('name', 'of each fold')} {_percent(plain['test'])}",
             _points(plain["behind"]),
             _points(distance) if "low" in distance else f"{100 * distance['value']:+.1f} (one)",
             f"{minutes:.0f}")
        )  # fmt: skip
    header = ("data", "parameters", "MACs", "winner", "best plain network by validation",
              "its distance", "mean distance of random candidates",
              "minutes to the winner")  # fmt: skip
    return markdown_table(header, rows)


def searches() -> str:
    """Distances from the winner over repeated searches of a data set, means with intervals."""
    rows, measured = [], read_result("compare")
    for data, count in Counter(row["data"] for row in measured).items():
        if count > 1:
            repeated = [row for row in measured if row["data"] == data]
            plain = mean_with_interval([_plain(row)["behind"]["value"] for row in repeated])
            drawn = mean_with_interval([_to_random(row)["value"] for row in repeated])
            rows.append((data, str(count), _points(plain), _points(drawn)))
    header = ("data", "searches", "best plain network by validation", "random candidates")
    return markdown_table(header, rows)


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """Gives the plain network that validation would choose; out of fold, that of each fold."""
    plain = [each for each in row["comparison"]["contestants"] if each["role"] == "plain"]
    found: dict[str, Any] = (
        plain[0] if "folds" in row else min(plain, key=lambda each: float(each["val"]["value"]))
    )
    return found


def _to_random(row: Mapping[str, Any]) -> dict[str, float]:
    """Gives the mean distance of the random candidates, with its interval if there are several."""
    comparison = row["comparison"]
    if "random" in comparison:
        return dict(comparison["random"])
    drawn = [
        each["behind"]["value"] for each in comparison["contestants"] if each["role"] == "random"
    ]
    return mean_with_interval(drawn) if len(drawn) > 1 else {"value": drawn[0]}


def _range(costs: int | list[int]) -> str:
    """Shows a cost, or the least and the most of several."""
    if isinstance(costs, int):
        return f"{costs:,}"
    return f"{min(costs):,} … {max(costs):,}"


def devices() -> str:
    """Cost of int8, for a trained child of each space, of signals and of volumes."""
    rows = []
    for row in read_result("devices"):
        (large, small), (slow, fast) = row["bytes"], row["seconds"]
        errors = [
            f"{before:.1%} → {after:.1%} → {row['fine_tuned'][split][1]:.1%}"
            for split, (before, after) in row["errors"].items()
        ]
        size = "×".join(map(str, row["input"]))
        rows.append((row["name"], size, f"{row['params']:,}", f"{row['memory']:,}", *errors,
                     f"{large:,} → {small:,}", f"{1e3 * slow:.2f} → {1e3 * fast:.2f}"))  # fmt: skip
    header = ("child", "input", "parameters", "bytes of RAM", "validation error", "test error",
              "bytes of the file", "ms")  # fmt: skip
    return markdown_table(header, rows)


def tflite() -> str:
    """Children as TFLite, in float32 and in int8, compared with the child itself."""
    rows = []
    for row in read_result("tflite"):
        size = "×".join(map(str, row["input"]))
        child, *converted = (f"{error:.1%}" for error in row["errors"])
        difference, rounded = row["differences"]
        rows.append((row["name"], size, f"{row['params']:,}", f"{row['largest_logit']:.1f}",
                     f"{difference:.0e} → {rounded:.1f}", f"{child} → {' → '.join(converted)}",
                     " → ".join(f"{size:,}" for size in row["bytes"])))  # fmt: skip
    header = ("child", "input", "parameters", "largest logit", "it differs in float32 → int8 by",
              "validation error: child → float32 → int8", "bytes: float32 → int8")  # fmt: skip
    return markdown_table(header, rows)


def speed(name: str) -> str:
    """Costs as ratios, by size of the network."""
    measured = read_result(name)
    sizes = list(dict.fromkeys(row["size"] for row in measured if row["name"] == "step"))
    rows = []
    for measurement, label in _MEASUREMENTS.items():
        found = {row["size"]: row for row in measured if row["name"] == measurement}
        if not found:
            continue
        of_size = [
            f"{found[size]['ratio']:.3g} ({_median(found[size])})" if size in found else ""
            for size in sizes
        ]
        rows.append((label, *of_size))
    return markdown_table(("", *sizes), rows)


def launches() -> str:
    """Operations of a training step ÷ of its child alone, by space and weight source."""
    measured = read_result("launches")
    sizes = list(dict.fromkeys(row["size"] for row in measured))
    rows = []
    for space, hypernet in dict.fromkeys((row["space"], row["hypernet"]) for row in measured):
        of_size = dict.fromkeys(sizes, "")
        for row in measured:
            if (row["space"], row["hypernet"]) == (space, hypernet):
                graphs = f", {row['graph_ratio']:.2f} with graphs" if row["graph_ratio"] else ""
                total = sum(row["parts"].values())
                of_size[row["size"]] = f"{row['ratio']:.2f} ({total:,.0f}{graphs})"
        rows.append((f"`{space}`", f"`{hypernet}`", *of_size.values()))
    return markdown_table(("space", "hypernet", *sizes), rows)


def kills() -> str:
    """Kills of each command."""
    rows = []
    for row in read_result("kills"):
        repetitions = row["identical"] + len(row["faults"])
        identical = f"{row['identical']} of {repetitions}"
        rows.append((row["command"], identical, f"{row['kills']}", f"{row['late']}"))
    header = ("command", "ended identically", "processes killed", "after an epoch or a candidate")
    return markdown_table(header, rows)


def fuzzing() -> str:
    """Inputs of all readers."""
    results = read_result("fuzzing")
    readers = ", ".join(row["reader"] for row in results)
    totals = [f"{sum(row[name] for row in results):,}" for name in ("inputs", "read", "refused")]
    crashes = str(sum(len(row["crashes"]) for row in results))
    return markdown_table(
        ("readers", "inputs", "read", "refused", "crashes"), [(readers, *totals, crashes)]
    )


def altered_runs() -> str:
    """Commands on altered run folders."""
    rows = [
        (f"`smash {row['command']}`",
         *(f"{row[name]:,}" for name in ("folders", "done", "refused", "interrupted")),
         f"{len(row['faults'])}")
        for row in read_result("altered-runs")
    ]  # fmt: skip
    header = ("command", "altered folders", "done", "refused", "interrupted", "faults")
    return markdown_table(header, rows)


def flags() -> str:
    """The flags of the original's commands."""
    rows = []
    for flag in FLAGS:
        names = ", ".join(f"`{name}`" for name in flag.names.split())
        group, _, name = flag.setting.partition(".")
        setting = "" if group == "program" else f"`{'space.' * (group == 'space')}{name}`"
        default = "" if flag.default is None else f"`{flag.default}`"
        rows.append((names, setting, default, flag.note.replace("%%", "%").replace("|", "\\|")))
    return markdown_table(("flag", "setting", "default", "does"), rows)


def settings(model: type[Settings], base: type[Settings] | None = None) -> str:
    """The settings of a verb, without those that it shares with others, which `base` has."""
    shared = [] if base is None else describe(base)
    rows = []
    for field in describe(model):
        if field in shared:
            continue
        option = ", ".join(field.option.flags) or "--" + field.name.replace("_", "-")
        if " | " in field.type:
            option += " " + field.type.replace(" ", "")
        name = f" `{field.name}`" if field.option.flags else ""
        cells = (f"`{option}`{name}", field.default, field.help.replace("``", "`"))
        rows.append(tuple(cell.replace("|", "\\|") for cell in cells))
    return markdown_table(("setting", "default", "does"), rows)


TABLES: Mapping[str, Callable[[], str]] = {
    "cells": cells,
    "macro": macro,
    "memory banks": memory_banks,
    "compared": compared,
    "searches": searches,
    "devices": devices,
    "tflite": tflite,
    "speed": partial(speed, "speed"),
    "speed on an H200": partial(speed, "speed-h200"),
    "launches": launches,
    "kills": kills,
    "fuzzing": fuzzing,
    "altered runs": altered_runs,
    "flags": flags,
    "settings of train": partial(settings, TrainSettings),
    "settings of search": partial(settings, SearchSettings),
    "settings of retrain": partial(settings, RetrainSettings, ChildSettings),
    "settings of compare": partial(settings, CompareSettings, ChildSettings),
    "settings of correlate": partial(settings, CorrelateSettings, ChildSettings),
    "settings of children": partial(settings, ChildSettings),
    "settings of data": partial(settings, LoadSettings),
}

_MEASUREMENTS = {
    "step": "a training step ÷ passes of the child alone",
    "sample": "drawing and building an architecture ÷ a step",
    "score": "architectures ranked, racing ÷ on all examples",
    "data": "images loaded ÷ images that steps consume",
}


def cells_plot() -> str:
    """Draws the rank correlations on NAS-Bench-201 with their intervals."""
    result = read_result("cells")
    rows = [(row["ranking"], *row["tau"].values()) for row in result]
    return interval_plot(f"Agreement with the accuracies of {result[0]['n']} trained cells", rows)


def memory_banks_plot() -> str:
    """Draws the rank correlations on memory banks with their intervals."""
    result = read_result("memory-banks")
    rows = [(row["ranking"], row["tau"], row["low"], row["high"]) for row in result["rows"]]
    title = f"Agreement with the accuracies of {result['candidates']} trained memory banks"
    return interval_plot(title, rows, ("two trainings agree", result["noise_ceiling"]))


def minutes_plot() -> str:
    """Draws the rank correlation over minutes of training."""
    result = read_result("minutes")
    lines = {name: result[name] for name in ("score and SynFlow", "score")}
    level = ("parameter count", result["parameter count"])
    return line_plot("Kendall τ by minutes of training", result["minutes"], lines, level)


PLOTS: Mapping[str, Callable[[], str]] = {
    "results-cells.svg": cells_plot,
    "results-memory-banks.svg": memory_banks_plot,
    "results-minutes.svg": minutes_plot,
}


def interval_plot(
    title: str,
    rows: Sequence[tuple[str, float, float, float]],
    level: tuple[str, float] | None = None,
) -> str:
    """Draws estimates of Kendall's τ with intervals, one row a label.

    Args:
        title: Title of the plot.
        rows: Label, estimate, lower and upper end; rows of the same label share a line.
        level: Label and value of a dashed vertical line.
    """
    labels = list(dict.fromkeys(row[0] for row in rows))
    low = min(0.0, *(row[2] for row in rows))
    height = 58 + 34 * len(labels) + 30
    axis = _Scale(low - 0.02, 0.9, 350, 680)
    parts = _ticks(axis, 50, height - 30, [value / 10 for value in range(-2, 10, 2)])
    for number, label in enumerate(labels):
        own = [row for row in rows if row[0] == label]
        middle = 66 + 34 * number
        parts.append(f'<text x="336" y="{middle + 5}" class="e">{escape(label)}</text>')
        for place, (_, tau, begin, end) in enumerate(own):
            y = middle + 7 * (place - (len(own) - 1) / 2)
            parts.append(f'<path d="M{axis(begin)} {y}H{axis(end)}" class="bar"/>')
            parts.append(f'<circle cx="{axis(tau)}" cy="{y}" r="3.5" class="dot"/>')
        parts.append(
            f'<text x="694" y="{middle + 5}">{statistics.fmean(row[1] for row in own):.2f}</text>'
        )
    if level:
        x = axis(level[1])
        parts.append(f'<path d="M{x} 50V{height - 30}" class="level"/>')
        parts.append(f'<text x="{x}" y="46" class="c s">{escape(level[0])}</text>')
    return _svg(title, 744, height, parts)


def line_plot(
    title: str,
    xs: Sequence[float],
    lines: Mapping[str, Sequence[float]],
    level: tuple[str, float],
) -> str:
    """Draws lines over a common axis, and a dashed horizontal line for comparison."""
    across, up = _Scale(0, max(xs) * 1.02, 60, 520), _Scale(0.4, 0.9, 260, 50)
    parts = []
    for value in (0.4, 0.5, 0.6, 0.7, 0.8, 0.9):
        parts.append(f'<path d="M60 {up(value)}H520" class="grid"/>')
        parts.append(f'<text x="50" y="{up(value) + 5}" class="e s">{value}</text>')
    parts += [
        f'<text x="{across(value)}" y="280" class="c s">{value}</text>' for value in range(0, 9, 2)
    ]
    parts.append(f'<path d="M60 {up(level[1])}H520" class="level"/>')
    parts.append(f'<text x="528" y="{up(level[1]) + 5}" class="s">{escape(level[0])}</text>')
    for number, (name, ys) in enumerate(lines.items()):
        points = "L".join(f"{across(x)} {up(y)}" for x, y in zip(xs, ys, strict=True))
        parts.append(f'<path d="M{points}" class="line n{number}"/>')
        parts.append(f'<text x="528" y="{up(ys[-1]) + 5}">{escape(name)}</text>')
    return _svg(title, 700, 296, parts)


class _Scale:
    """Maps a range of values to a range of pixels."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self.low, self.high, self.start, self.end = low, high, start, end

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)


def _ticks(axis: _Scale, top: float, bottom: float, values: Sequence[float]) -> list[str]:
    parts = []
    for value in values:
        if axis.low <= value <= axis.high:
            parts.append(f'<path d="M{axis(value)} {top}V{bottom}" class="grid"/>')
            parts.append(f'<text x="{axis(value)}" y="{bottom + 18}" class="c s">{value}</text>')
    return parts


_STYLE = """
  text { font: 14px system-ui, -apple-system, "Segoe UI", Roboto, Arial, sans-serif; fill: #1b1e24; }
  .t { font-weight: 650; font-size: 16px; } .s { fill: #59616d; } .e { text-anchor: end; } .c { text-anchor: middle; }
  .card { fill: #fffefb; stroke: #cfcbc0; } .grid { stroke: #e3e0d8; } .level { stroke: #c2610c; stroke-dasharray: 5 4; }
  .bar { stroke: #8fb0f0; stroke-width: 3; } .dot { fill: #2a58c8; }
  .line { fill: none; stroke-width: 2.5; } .n0 { stroke: #2a58c8; } .n1 { stroke: #0b7d62; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e7e9ed; } .s { fill: #a9b2bf; } .card { fill: #1a1e25; stroke: #414957; } .grid { stroke: #2b313b; }
    .level { stroke: #ffad66; } .bar { stroke: #3f5da8; } .dot { fill: #86abff; } .n0 { stroke: #86abff; } .n1 { stroke: #53d3b0; }
  }
"""  # noqa: E501


def _svg(title: str, width: int, height: int, parts: Sequence[str]) -> str:
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img" aria-labelledby="t">',
        f'<title id="t">{escape(title)}</title>',
        f"<style>{_STYLE}</style>",
        f'<rect x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="12" class="card"/>',
        f'<text x="18" y="28" class="t">{escape(title)}</text>',
        *parts,
        "</svg>\n",
    ]
    return "\n".join(lines)


def _by_ranking(rows: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    grouped: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        grouped.setdefault(row["ranking"], []).append(row)
    return grouped


def _over_seeds(intervals: Iterable[Mapping[str, float]]) -> str:
    """Words the mean of statistics, from their lowest lower to their highest upper end."""
    each = list(intervals)
    low, high = min(one["low"] for one in each), max(one["high"] for one in each)
    mean = statistics.fmean(one["value"] for one in each)
    return f"{mean:.3f} ({low:.3f} … {high:.3f})".replace("-", "−")


def _interval(row: Mapping[str, float], name: str, prefix: str) -> str:
    text = f"{row[name]:.2f} ({row[prefix + 'low']:.2f} … {row[prefix + 'high']:.2f})"
    return text.replace("-", "−")


def _percent(interval: Mapping[str, float]) -> str:
    return f"{interval['value']:.1%} ({interval['low']:.1%} … {interval['high']:.1%})"


def _points(interval: Mapping[str, float]) -> str:
    value, low, high = (100 * interval[name] for name in ("value", "low", "high"))
    return f"{value:+.1f} ({low:+.1f} … {high:+.1f})".replace("-", "−")


def _median(row: Mapping[str, Any]) -> str:
    unit = {"ms": "ms", "architectures": "a minute", "images": "a second"}[row["unit"].split()[0]]
    digits = 0 if row["median"] >= 10 else 1
    return f"{row['median']:,.{digits}f} {unit}"


def with_tables(page: str) -> str:
    """Replaces the tables of a page by those that the results give.

    Raises:
        KeyError: A table has a name that is not in `TABLES`.
    """
    return _BLOCK.sub(lambda found: found[1] + TABLES[found["name"]](), page)


def documents() -> dict[Path, str]:
    """All files that are made from results, with the text that they should have."""
    pages = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
    made = {path: with_tables(path.read_text(encoding="utf-8")) for path in pages}
    return made | {DOCS / "images" / name: draw() for name, draw in PLOTS.items()}


def main() -> None:
    """Rewrites what differs, or names it and fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--check", action="store_true", help="fail if a file differs, change none")
    options = parser.parse_args()
    changed = [
        path
        for path, text in documents().items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]
    for path in changed:
        print(path.relative_to(ROOT))
        if not options.check:
            path.write_text(documents()[path], encoding="utf-8")
    sys.exit(options.check and bool(changed))


if __name__ == "__main__":
    main()
