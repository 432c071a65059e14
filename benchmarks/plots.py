"""Draws how wall time and peak memory grow with the rows of a full load, a line for each way."""

from pathlib import Path

import matplotlib as mpl
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter

from results import Record, load
from ways import WAYS

mpl.use("Agg")
from matplotlib import pyplot

HERE = Path(__file__).parent
_CASE = "leads"


def main() -> None:
    """Draw both pictures."""
    records = sorted((each for each in load() if each.case == _CASE), key=lambda each: each.rows)
    _draw(records, "wall", "wall time, seconds", "scaling-time.png")
    _draw(records, "peak_mb", "peak memory, MB", "scaling-memory.png")


def _draw(records: list[Record], column: str, label: str, name: str) -> None:
    figure, axes = pyplot.subplots(figsize=(8, 5), layout="constrained")
    for way, facts in WAYS.items():
        found = [(each.rows, value) for each in records if (value := each.median(way, column)) is not None]
        if found:
            own = way == "ours"
            axes.plot(*zip(*found, strict=True), marker="o", label=facts.title, linewidth=3 if own else 1.5)
    axes.set(
        xscale="log", yscale="log", xlabel="rows of 54 fields", ylabel=label, title="Full load of leads into DuckDB"
    )
    axes.xaxis.set_major_locator(FixedLocator([each.rows for each in records]))
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
        axis.set_minor_formatter(NullFormatter())
    axes.grid(alpha=0.3, which="major")
    axes.legend()
    figure.savefig(HERE / name, dpi=120)
    pyplot.close(figure)


if __name__ == "__main__":
    main()
