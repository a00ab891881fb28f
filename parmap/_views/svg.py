"""The picture of a trace as SVG, in colours that suit a light and a dark page."""

from __future__ import annotations

from xml.sax.saxutils import escape

from .shapes import COLORS, Shapes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._observers.timeline import Timeline

LEFT, WIDE, HIGH, GAP = 130, 800, 22, 8
TOP = 70

STYLE = """\
text {{ font: 12px system-ui, sans-serif; fill: #52514e }}
.title {{ font-size: 14px; font-weight: 600; fill: #0b0b0b }}
.row {{ fill: #f0efec }} .line {{ stroke: #e1e0d9 }} .trouble {{ stroke: #fcfcfb }}
{light}
@media (prefers-color-scheme: dark) {{
text {{ fill: #c3c2b7 }} .title {{ fill: #fff }}
.row {{ fill: #2c2c2a }} .line {{ stroke: #383835 }} .trouble {{ stroke: #1a1a19 }}
{dark}
}}"""


def svg(calls: Sequence[Timeline], text: str) -> str:
    """Return the picture of *calls*; *text*, their report, is its description."""
    shapes = Shapes(calls)
    high = TOP + len(shapes.names) * (HIGH + GAP) + 30
    light, dark = (
        " ".join(f".{what} {{ fill: {colors[n]} }}" for what, colors in COLORS.items())
        for n in range(2)
    )
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDE + 30} {high}">',
        f"<title>{escape(text.splitlines()[0])}</title>",
        f"<desc>{escape(text)}</desc>",
        f"<style>{STYLE.format(light=light, dark=dark)}</style>",
        f'<text class="title" x="12" y="24">{escape(_short(text.splitlines()[0]))}</text>',
    ]
    x = 12
    for what, name in shapes.legend():
        lines.append(f'<rect class="{what}" x="{x}" y="38" width="12" height="12" rx="2"/>')
        lines.append(f'<text x="{x + 18}" y="48">{name}</text>')
        x += 40 + 7 * len(name)
    for at, label in shapes.ticks():
        left = _x(at, shapes.span)
        lines.append(f'<path class="line" d="M{left} {TOP - 4}V{high - 24}"/>')
        lines.append(f'<text x="{left}" y="{high - 8}" text-anchor="middle">{label}</text>')
    for number, name in enumerate(shapes.names):
        y = TOP + number * (HIGH + GAP)
        size = f'width="{WIDE}" height="{HIGH}"'
        lines.append(f'<rect class="row" x="{LEFT}" y="{y}" {size} rx="3"/>')
        lines.append(f'<text x="{LEFT - 10}" y="{y + 15}" text-anchor="end">{escape(name)}</text>')
    for what in COLORS:
        path = "".join(
            f"M{_x(begin, shapes.span)} {TOP + row * (HIGH + GAP) + 2}"
            f"h{max(0.6, WIDE * (end - begin) / shapes.span - 0.4):.1f}v{HIGH - 4}"
            f"H{_x(begin, shapes.span)}z"
            for kind, row, begin, end in shapes.rectangles
            if kind == what
        )
        if path:
            lines.append(f'<path class="{what}" d="{path}"/>')
    for row, at in shapes.troubles:
        y = TOP + row * (HIGH + GAP) - 3
        lines.append(f'<path class="trouble" d="M{_x(at, shapes.span)} {y + 9}l-4.5-8h9z"/>')
    if shapes.hidden:
        lines.append(f'<text x="12" y="{high - 8}">and {shapes.hidden} rows more</text>')
    return "\n".join([*lines, "</svg>", ""])


def _x(at: int, span: int) -> str:
    return f"{LEFT + WIDE * at / span:.1f}"


def _short(line: str) -> str:
    return line if len(line) < 110 else f"{line[:107]}..."
