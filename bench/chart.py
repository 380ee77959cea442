"""The SVG chart: requests/s as a multiple of the stock module's, and processor time for each request."""

from __future__ import annotations

from pathlib import Path

from bench import bars
from bench.cells import Cell
from bench.results import Results

SHOWN = ["return200", "static", "stock", "memc", "srcache", "lua", "ours", "ours-b"]
COLOURS = {
    "return200": "#c8c8c8",
    "static": "#a6a6a6",
    "stock": "#6f8fb0",
    "memc": "#9fb8d0",
    "srcache": "#b8a9c9",
    "lua": "#d9b38c",
    "ours": "#c8102e",
    "ours-b": "#7a0a1c",
}
MOST_CELLS = 10  # four sizes and misses, at two counts of connections


def write(results: Results, path: Path) -> None:
    import matplotlib  # only a chart needs it

    matplotlib.use("svg")
    from matplotlib import pyplot

    # text is stored as text, and equal figures give an equal file
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "bench", "font.size": 10})
    cells = charted(results)
    if not cells:
        raise ValueError("none of the measured cells is of those that the chart shows")
    names = [
        name
        for name in SHOWN
        if any(results.figure(cell.name, name, "rps") for cell in cells)
    ]
    figure, (upper, lower) = pyplot.subplots(2, 1, figsize=(9.5, 6.6))
    relative = bars.STOCK in names
    groups(upper, results, cells, names, "rps", relative)
    upper.set_title("requests/s, memcached_pass = 1" if relative else "requests/s", loc="left")
    groups(lower, results, cells, names, "nginx_us", relative=False)
    lower.set_title("processor time of nginx for each request, µs", loc="left")
    lower.set_yscale("log")
    for axis in (lower.yaxis.set_major_formatter, lower.yaxis.set_minor_formatter):
        axis(lambda value, _: f"{value:g}" if f"{value:g}"[0] in "125" else "")
    handles, labels = upper.get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper right", ncols=len(names), fontsize=9, frameon=False)
    figure.text(0.01, 0.01, caption(results), fontsize=8, color="#555555")
    figure.tight_layout(rect=(0, 0.03, 1, 0.97))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def charted(results: Results) -> list[Cell]:
    """Hits over TCP and misses, at many connections."""
    fit = [
        cell
        for cell in results.cells
        if cell.name.startswith(("hit/", "miss/")) and cell.connections in (64, 512)
    ]
    return fit[:MOST_CELLS] or [cell for cell in results.cells if cell.kind == "closed"][:MOST_CELLS]


def groups(
    axes, results: Results, cells: list[Cell], names: list[str], quantity: str, relative: bool
) -> None:
    """A group of bars for each cell, a bar for each contender, a line for its spread."""
    width = 0.8 / len(names)
    for nth, name in enumerate(names):
        places, heights, below, above = [], [], [], []
        for at, cell in enumerate(cells):
            if relative:
                figure = results.ratio(cell.name, name, bars.STOCK, quantity)
            else:
                figure = results.figure(cell.name, name, quantity)
            if figure is None:
                continue
            places.append(at + (nth - (len(names) - 1) / 2) * width)
            heights.append(figure.median)
            below.append(figure.median - figure.least)
            above.append(figure.most - figure.median)
        title = results.contenders[name].replace("`", "")
        axes.bar(
            places, heights, width, label=title, color=COLOURS[name], yerr=[below, above],
            error_kw={"elinewidth": 0.8, "ecolor": "#444444"},
        )
    axes.set_xticks(range(len(cells)), [label(cell) for cell in cells], fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    if relative:
        axes.axhline(1, color="#444444", linewidth=0.8)


def label(cell: Cell) -> str:
    what = f"{cell.size // 1000} KB" if cell.size >= 1000 else f"{cell.size} B"
    return f"{what if cell.hit else 'miss'}\n{cell.connections} clients"


def caption(results: Results) -> str:
    machine = results.machine
    return (
        f"{machine['cpu']}, {machine['cores']} cores; nginx {machine['nginx']}, one worker; memcached "
        f"{machine['memcached']}; commit {machine['commit']}. Thin lines: least to most of "
        f"{results.settings['repeats']} repeats."
    )
