"""The picture of a trace as PNG, drawn by Matplotlib if that is installed."""

from __future__ import annotations

from .report import report
from .shapes import COLORS, Shapes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from .._observers.timeline import Timeline


def png(calls: Sequence[Timeline], path: str) -> None:
    """Draw the picture of *calls* into the file *path*; raise ImportError without Matplotlib."""
    try:
        from importlib import import_module

        agg: Any = import_module("matplotlib.backends.backend_agg")  # which needs no screen
        figures: Any = import_module("matplotlib.figure")
    except ImportError as error:
        raise ImportError(
            "a trace is saved as .png by Matplotlib, which cannot be imported: install it with "
            "`pip install matplotlib`, or save the trace as .svg or .html, which need nothing"
        ) from error
    shapes = Shapes(calls)
    figure = figures.Figure(figsize=(9.6, 1.4 + 0.35 * len(shapes.names)), layout="constrained")
    agg.FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for what, name in shapes.legend():
        color = COLORS[what][0]
        if what == "trouble":
            rows, times = zip(*shapes.troubles, strict=True)
            above = [row - 0.42 for row in rows]
            axes.scatter(times, above, marker="v", s=30, color=color, label=name, zorder=3)
            continue
        for number, _ in enumerate(shapes.names):
            spans = [
                (begin, end - begin)
                for kind, row, begin, end in shapes.rectangles
                if kind == what and row == number
            ]
            axes.broken_barh(spans, (number - 0.35, 0.7), color=color, linewidth=0)
        axes.broken_barh([], (0, 1), color=color, label=name)
    ticks = shapes.ticks()
    axes.set_xticks([at for at, _ in ticks], [label for _, label in ticks])
    axes.set_yticks(range(len(shapes.names)), shapes.names)
    axes.set_xlim(0, shapes.span)
    axes.set_ylim(len(shapes.names) - 0.4, -0.7)
    axes.set_title(report(calls).splitlines()[0], loc="left", fontsize=10)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(left=False)
    axes.grid(axis="x", color="#e1e0d9")
    axes.set_axisbelow(True)
    axes.legend(ncols=5, frameon=False, loc="upper left", bbox_to_anchor=(0, -0.12), fontsize=9)
    figure.savefig(path, dpi=160, format="png")
