"""The results as SVG, written by hand: readable on white and on black, without a script or a font of its own."""
import math

from . import targets
from .kernels import BATCHES

COLOURS = {"mlpd": "#e8590c", "libmicrohttpd": "#4c78a8", "epoll": "#9aa5b1", "ort": "#4c78a8", "openblas": "#3a9a6b",
           "peak": "#9aa5b1"}
NAMES = {"libmicrohttpd": "libmicrohttpd, constant answer", "epoll": "bare epoll, constant answer",
         "ort": "ONNX Runtime", "openblas": "OpenBLAS"}
STYLE = """<style>
  text { font: 12px system-ui, sans-serif; fill: #24292f }
  .title { font-size: 14px; font-weight: 600 }
  .small { font-size: 11px; fill: #57606a }
  .grid { stroke: #8c959f; stroke-opacity: .3 }
  @media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .small { fill: #9da7b3 } }
</style>
"""


def escape(text):
    return text.replace("&", "&amp;").replace("<", "&lt;")


def text(x, y, words, anchor="start", kind=None):
    kind = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{kind}>{escape(words)}</text>\n'


def short(value):
    return f"{value / 1000:g} k" if value >= 1000 else f"{value:g}"


def nice_step(top):
    """A step of 1, 2 or 5 times a power of ten, so that four or five lines reach the top."""
    power = 10 ** math.floor(math.log10(top / 4))
    return next(step * power for step in (1, 2, 5, 10) if step * power * 5 >= top)


class Panel:
    """A plot of the given place and size, whose y axis goes from 0 to `top`."""

    def __init__(self, x, y, width, height, top):
        self.x, self.y, self.width, self.height = x, y, width, height
        self.step = nice_step(top)
        self.top = math.ceil(top / self.step) * self.step

    def at(self, value):
        return self.y + self.height * (1 - value / self.top)

    def frame(self, title, note):
        parts = [text(self.x - 38, self.y - 46, title, kind="title"),
                 text(self.x - 38, self.y - 30, note, kind="small")]
        for i in range(round(self.top / self.step) + 1):
            y = self.at(i * self.step)
            parts.append(f'<line class="grid" x1="{self.x}" x2="{self.x + self.width}" y1="{y:.1f}" y2="{y:.1f}"/>\n')
            parts.append(text(self.x - 6, y + 4, short(i * self.step), "end", "small"))
        return "".join(parts)

    def bars(self, groups, names):
        """groups: (label, {name: value})."""
        parts, wide = [], self.width / len(groups)
        bar = wide * 0.74 / len(names)
        for i, (label, values) in enumerate(groups):
            left = self.x + i * wide + wide * 0.13
            for k, name in enumerate(names):
                y = self.at(values[name])
                parts.append(f'<rect x="{left + k * bar:.1f}" y="{y:.1f}" width="{bar - 2:.1f}" '
                             f'height="{self.y + self.height - y:.1f}" fill="{COLOURS[name]}"/>\n')
            parts.append(text(left + bar * len(names) / 2, self.y + self.height + 16, label, "middle", "small"))
        return "".join(parts)

    def line(self, values, colour, dashed):
        """values: one for each of BATCHES, which stand evenly in their logarithm."""
        def x(batch):
            return self.x + 16 + (self.width - 32) * math.log(batch) / math.log(BATCHES[-1])
        points = " ".join(f"{x(batch):.1f},{self.at(values[batch]):.1f}" for batch in values)
        dots = "".join(f'<circle cx="{x(batch):.1f}" cy="{self.at(values[batch]):.1f}" r="2.5" fill="{colour}"/>\n'
                       for batch in values)
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>\n{dots}'

    def batch_labels(self):
        return "".join(text(self.x + 16 + (self.width - 32) * math.log(batch) / math.log(BATCHES[-1]),
                            self.y + self.height + 16, str(batch), "middle", "small")
                       for batch in BATCHES if batch not in (7, 12, 13, 65))


def legend(x, y, entries):
    """entries: (colour, words, dashed). One line."""
    parts = []
    for colour, words, dashed in entries:
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        parts.append(f'<line x1="{x}" x2="{x + 18}" y1="{y - 4}" y2="{y - 4}" stroke="{colour}" '
                     f'stroke-width="{3 if dashed else 8}"{dash}/>\n' + text(x + 24, y, words, kind="small"))
        x += 44 + 6.2 * len(words)
    return "".join(parts)


def document(width, height, label, content):
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
            f'height="{height}" role="img" aria-label="{escape(label)}">\n{STYLE}{content}</svg>\n')


def request_panels(results):
    names = ("mlpd", "libmicrohttpd", "epoll")
    raw = results["http"]["raw"]["rows"]
    rates = [(connections, {name: rows[name]["rps"] for name in names}) for connections, rows in raw.items()]
    left = Panel(58, 82, 350, 170, max(max(values.values()) for _, values in rates))
    labels = {"raw": "raw", "float32": "float32", "png": "PNG", "json": "JSON"}
    cpu = [(label, {name: results["http"][key]["rows"]["64"][name]["cpu_us"] for name in names})
           for key, label in labels.items()]
    right = Panel(498, 82, 350, 170, max(max(values.values()) for _, values in cpu))
    return (left.frame("Requests per second, one server core", "784-byte images, by connections") +
            left.bars(rates, names) +
            right.frame("Server CPU per request, µs", "64 connections, by what an image is sent as") +
            right.bars(cpu, names) + legend(20, 296, [(COLOURS[n], NAMES.get(n, n), False) for n in names]))


def kernel_panel(results):
    kernels = results["kernels"]
    us, peak = kernels["us_per_image"], 1e6 / targets.peak_us(kernels)
    series = [(engine, name, {batch: 1e6 / us[engine][name][str(batch)] for batch in BATCHES})
              for engine in ("mlpd", "ort", "openblas") if engine in us for name in ("fashion", "dense")]
    panel = Panel(58, 390, 790, 220, max([peak, *(value for *_, values in series for value in values.values())]))
    y = panel.at(peak)
    parts = [panel.frame("Images per second through the network alone, one core",
                         f"by batch; {kernels['kernels']}; solid: images with their zeros, dashed: without a zero"),
             f'<line x1="{panel.x}" x2="{panel.x + panel.width}" y1="{y:.1f}" y2="{y:.1f}" '
             f'stroke="{COLOURS["peak"]}" stroke-width="2" stroke-dasharray="2 3"/>\n',
             text(panel.x + panel.width, y - 6, "peak of multiply-adds, nothing skipped", "end", "small")]
    parts += [panel.line(values, COLOURS[engine], name == "dense") for engine, name, values in series]
    engines = dict.fromkeys(engine for engine, *_ in series)
    entries = [(COLOURS[engine], NAMES.get(engine, engine), False) for engine in engines]
    return "".join(parts) + panel.batch_labels() + legend(20, 652, entries)


def draw(results):
    about = results["about"]
    foot = text(20, 680, f"{about['processor']}, {about['date']}", kind="small")
    return document(880, 694, "How fast mlpd is beside its ceilings and other engines",
                    request_panels(results) + kernel_panel(results) + foot)


def draw_peers(rows, about):
    """rows: (name, requests/s with raw images from 64 connections)."""
    rows = sorted(rows, key=lambda row: -row[1])
    parts = [text(20, 30, "Requests per second, one server core", kind="title"),
             text(20, 46, "float32 images, 64 connections", kind="small")]
    for i, (name, value) in enumerate(rows):
        y = 62 + i * 30
        width = 520 * value / rows[0][1]
        colour = COLOURS["mlpd"] if name == "mlpd" else COLOURS["libmicrohttpd"]
        parts.append(text(236, y + 15, name, "end") +
                     f'<rect x="246" y="{y}" width="{width:.1f}" height="20" fill="{colour}"/>\n' +
                     text(252 + width, y + 15, f"{value:,.0f}"))
    height = 62 + len(rows) * 30 + 30
    parts.append(text(20, height - 10, f"{about['processor']}, {about['date']}", kind="small"))
    return document(880, height, "mlpd and its peers", "".join(parts))
