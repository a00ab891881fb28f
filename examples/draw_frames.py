"""Draw the frames of a film with Matplotlib, in a loop and with pmap.

Two waves meet on a pond. Each moment of it becomes a PNG file, as ffmpeg would want them. Frames
are drawn with the class Figure: unlike pyplot, it keeps no list of open figures, needs no screen
and leaves nothing behind in the worker. Both runs must write the same files, byte for byte.

    pip install matplotlib
    python examples/draw_frames.py
"""

import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from parmap import pmap

FRAMES = 14
SOURCES = ((-1.5, 0.0), (1.5, 0.5))


def pond(seconds: float) -> NDArray[np.float64]:
    """Compute the height of the water on a grid."""
    xs, ys = np.meshgrid(np.linspace(-4, 4, 200), np.linspace(-3, 3, 150))
    height = np.zeros_like(xs)
    for x, y in SOURCES:
        away = np.hypot(xs - x, ys - y)
        reached = 1 / (1 + np.exp(6 * (away - 2 * seconds)))
        height += reached * np.cos(7 * (away - 2 * seconds)) / (1 + away)
    return height


def draw(number: int, folder: Path) -> Path:
    """Draw one frame, and return its file."""
    seconds = number / 12
    height = pond(seconds)
    figure = Figure(figsize=(6.4, 4.8))
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, height_ratios=(3, 1), gridspec_kw={"hspace": 0.4})
    image = above.imshow(
        height, vmin=-1, vmax=1, cmap="RdBu", origin="lower", extent=(-4, 4, -3, 3)
    )
    above.contour(height, levels=[0.3], extent=(-4, 4, -3, 3), colors="k", linewidths=0.5)
    above.set(title=f"after {seconds:.2f} s", ylabel="y [m]")
    figure.colorbar(image, ax=above, label="height [cm]")
    below.plot(np.linspace(-4, 4, height.shape[1]), height[height.shape[0] // 2])
    below.set(xlim=(-4, 4), ylim=(-1.2, 1.2), xlabel="x [m]", ylabel="at y = 0")
    path = folder / f"{number:03}.png"
    figure.savefig(path, dpi=100)
    return path


def main() -> int:
    """Draw all frames twice, and return 1 if the files differ."""
    with tempfile.TemporaryDirectory() as temporary:
        one, other = Path(temporary, "serial"), Path(temporary, "parallel")
        one.mkdir()
        other.mkdir()

        start = time.perf_counter()
        expected = [draw(number, one) for number in range(FRAMES)]
        serial = time.perf_counter() - start

        start = time.perf_counter()
        frames = pmap(partial(draw, folder=other), range(FRAMES))
        parallel = time.perf_counter() - start

        size = sum(path.stat().st_size for path in frames)
        print(f"{len(frames)} frames, {size / 1e6:.1f} MB")

        identical = [path.name for path in frames] == [path.name for path in expected] and all(
            frame.read_bytes() == twin.read_bytes()
            for frame, twin in zip(frames, expected, strict=True)
        )
    print(f"\nserial {serial:.2f} s, pmap {parallel:.2f} s, ratio {serial / parallel:.2f}")
    print(f"identical results: {'yes' if identical else 'NO'}")
    return 0 if identical else 1


if __name__ == "__main__":
    sys.exit(main())
