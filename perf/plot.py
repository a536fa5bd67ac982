"""Two kinds of picture as SVG text: bars, and tails of latency on logarithmic axes. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

WIDTH, LEFT, TOP = 720, 170, 46
COLOURS = ("#2166ac", "#b2182b", "#1b7837", "#762a83", "#e08214", "#35978f", "#7f7f7f", "#c51b7d")
OURS = "shardns"


def _page(title: str, height: int, parts: Sequence[str]) -> str:
    style = "<style>text{font:13px sans-serif;fill:#222}.t{font-weight:bold;font-size:15px}.g{stroke:#ddd}</style>"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">'
    back = f'<rect width="{WIDTH}" height="{height}" fill="#fff"/><text class="t" x="12" y="24">{escape(title)}</text>'
    return "\n".join([head, style, back, *parts, "</svg>", ""])


def bars(title: str, unit: str, values: Mapping[str, float]) -> str:
    """One bar for each value, least first."""
    top = max(values.values(), default=1.0) or 1.0
    room = WIDTH - LEFT - 80
    parts = [f'<text x="{LEFT}" y="{TOP}" fill="#666">{escape(unit)}</text>']
    for at, (name, value) in enumerate(sorted(values.items(), key=lambda item: item[1])):
        y = TOP + 12 + at * 28
        length = value / top * room
        colour = COLOURS[0] if name.startswith(OURS) else "#9aa7b3"
        parts.append(f'<text x="{LEFT - 10}" y="{y + 15}" text-anchor="end">{escape(name)}</text>')
        parts.append(f'<rect x="{LEFT}" y="{y}" width="{length:.1f}" height="20" fill="{colour}"/>')
        parts.append(f'<text x="{LEFT + length + 6:.1f}" y="{y + 15}">{value:.3g}</text>')
    return _page(title, TOP + 24 + len(values) * 28, parts)


def tails(title: str, curves: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """The share of queries that took longer than a time: both axes logarithmic, microseconds across."""
    points = [(x, y) for curve in curves.values() for x, y in curve if y > 0 and x > 0]
    if not points:
        return _page(title, TOP, [])
    low, high = math.floor(math.log10(min(x for x, _ in points))), math.ceil(math.log10(max(x for x, _ in points)))
    bottom = math.floor(math.log10(min(y for _, y in points)))
    left, right, ground = 70, WIDTH - 20, TOP + 300

    def across(x: float) -> float:
        return left + (math.log10(x) - low) / max(1, high - low) * (right - left)

    def down(y: float) -> float:
        return TOP + math.log10(y) / bottom * (ground - TOP)

    parts = []
    for power in range(low, high + 1):
        x = across(10.0**power)
        parts.append(f'<line class="g" x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{ground}"/>')
        parts.append(f'<text x="{x:.1f}" y="{ground + 18}" text-anchor="middle">{_time(10.0**power)}</text>')
    for power in range(bottom, 1):
        y = down(10.0**power)
        parts.append(f'<line class="g" x1="{left}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{10.0 ** (power + 2):g} %</text>')
    for at, (name, curve) in enumerate(curves.items()):
        line = " ".join(f"{across(x):.1f},{down(y):.1f}" for x, y in curve if y > 0 and x > 0)
        colour = COLOURS[at % len(COLOURS)]
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(
            f'<text x="{right - 8}" y="{TOP + 18 + at * 18}" text-anchor="end" '
            f'style="fill:{colour}">{escape(name)}</text>'
        )
    return _page(title, ground + 34, parts)


def _time(microseconds: float) -> str:
    """With the unit that suits."""
    return f"{microseconds:g} us" if microseconds < 1000 else f"{microseconds / 1000:g} ms"


def flames(title: str, stacks: Mapping[tuple[str, ...], int], least: float) -> str:
    """A flame graph: outermost frames at the bottom, as wide as their share; those below `least` are left out."""
    total = sum(stacks.values()) or 1
    widths: dict[tuple[str, ...], int] = {}
    for stack, count in stacks.items():
        for depth in range(1, len(stack) + 1):
            widths[stack[:depth]] = widths.get(stack[:depth], 0) + count
    shown = {frames: count for frames, count in widths.items() if count / total >= least}
    deepest = max(map(len, shown), default=1)
    ground, room = TOP + deepest * 17, WIDTH - 24
    starts: dict[tuple[str, ...], float] = {(): 0.0}
    parts = []
    for frames in sorted(shown, key=lambda frames: (len(frames), frames)):
        parent = frames[:-1]
        x = starts.get(parent, 0.0)
        share = shown[frames] / total
        starts[frames] = x
        starts[parent] = x + share  # the next sibling begins here
        parts.append(_flame(frames[-1], 12 + x * room, ground - len(frames) * 17, share * room, share))
    return _page(title, ground + 12, parts)


def _flame(name: str, x: float, y: float, width: float, share: float) -> str:
    """One frame, with as much of its name as fits."""
    hue = 25 + hash_of(name) % 30
    letters = int(width / 6.2)
    label = name if len(name) <= letters else name[: max(0, letters - 1)]
    text = f'<text x="{x + 2:.1f}" y="{y + 12}" style="font-size:10.5px">{escape(label)}</text>' if letters > 2 else ""
    return (
        f'<g><title>{escape(name)} {share:.1%}</title><rect x="{x:.1f}" y="{y}" width="{max(0.3, width - 0.4):.1f}" '
        f'height="16" fill="hsl({hue},75%,68%)"/>{text}</g>'
    )


def hash_of(name: str) -> int:
    """The same number for the same name in every run."""
    return sum(ord(letter) * (at + 7) for at, letter in enumerate(name))
