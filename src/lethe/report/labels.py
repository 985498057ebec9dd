"""Text beside the points of a scatter plot, where nothing lies under it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lethe.report.svg import MUTED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.transforms import Bbox

RADII = (9, 14, 20, 28, 38, 50, 64, 80, 100)  # pixels from the point
DIRECTIONS = 16
MARKER = 6  # half the side of the square that a marker takes
LEADER = 15  # from this distance on a line joins text and point


def place(axes: Axes, points: Sequence[tuple[float, float]], labels: Sequence[tuple[float, float, str]]) -> None:
    """Write each label near its point, clear of all points, of the other labels and of the frame.

    Greedy, most crowded first: the nearest free place of 16 directions. Where none is free, the one with least overlap.

    Args:
        axes: Axes whose limits and size are final.
        points: All markers to keep clear of, in data coordinates.
        labels: (x, y, text) in data coordinates.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    renderer = figure.canvas.get_renderer()  # pyright: ignore[reportAttributeAccessIssue]
    frame = axes.get_window_extent(renderer)
    at = [axes.transData.transform(point) for point in points]
    taken = [_box(x, y, 2 * MARKER, 2 * MARKER) for x, y in at]
    anchors = [axes.transData.transform((x, y)) for x, y, _ in labels]
    crowd = [sum(math.dist(anchor, other) < 60 for other in at) for anchor in anchors]
    for place in sorted(range(len(labels)), key=lambda i: (-crowd[i], i)):
        x, y = anchors[place]
        text = axes.text(0, 0, labels[place][2], transform=None, va="center", ha="center", fontsize=10.5, zorder=5)
        extent = text.get_window_extent(renderer)
        cx, cy, radius = _free(x, y, extent.width, extent.height, frame, taken)
        text.set_position((cx, cy))
        taken.append(_box(cx, cy, extent.width, extent.height))
        if radius >= LEADER:
            nearest = (min(max(x, cx - extent.width / 2), cx + extent.width / 2), min(max(y, cy - 5), cy + 5))
            axes.annotate(
                "", nearest, (x, y), xycoords="figure pixels", textcoords="figure pixels",
                arrowprops={"arrowstyle": "-", "color": MUTED, "linewidth": 0.6, "shrinkA": MARKER, "shrinkB": 1},
            )  # fmt: skip


def _free(
    x: float, y: float, width: float, height: float, frame: Bbox, taken: Sequence[Bbox]
) -> tuple[float, float, float]:
    best = (math.inf, x, y, 0.0)
    for radius in RADII:
        for step in range(DIRECTIONS):
            angle = 2 * math.pi * step / DIRECTIONS
            cx = x + math.cos(angle) * (radius + width / 2)
            cy = y + math.sin(angle) * (radius + height / 2)
            box = _box(cx, cy, width, height)
            outside = box.x0 < frame.x0 or box.x1 > frame.x1 or box.y0 < frame.y0 or box.y1 > frame.y1
            covered = sum(_shared(box, other) for other in taken) + 1e6 * outside
            if covered == 0:
                return cx, cy, radius
            best = min(best, (covered, cx, cy, radius))
    return best[1:]


def _box(x: float, y: float, width: float, height: float) -> Bbox:
    from matplotlib.transforms import Bbox

    return Bbox.from_bounds(x - width / 2, y - height / 2, width, height)


def _shared(one: Bbox, other: Bbox) -> float:
    wide = min(one.x1, other.x1) - max(one.x0, other.x0)
    high = min(one.y1, other.y1) - max(one.y0, other.y0)
    return max(wide, 0) * max(high, 0)
