"""The results as Markdown, and into README.md."""
import json
import re
import shutil

from . import targets
from .kernels import BATCHES, FULL, INPUTS
from .machine import OUT, ROOT, Failed
from .targets import percent

REST = "<!-- what follows stays out of the README -->"
SERVERS = ("mlpd", "libmicrohttpd", "epoll")
ENGINES = {"mlpd": "mlpd", "ort": "ONNX Runtime", "openblas": "OpenBLAS"}


def table(head, rows):
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


def rate(value):
    """Three digits are more than what holds from one run to the next."""
    if value >= 1e5:
        return f"{value / 1e3:.0f} k"
    return f"{value / 1e3:.1f} k" if value >= 1e4 else f"{value:,.0f}"


def time_us(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def head(about):
    text = (f"{about['processor']}, {about['cores']} cores, Linux {about['kernel']}, {about['date']}. "
            f"mlpd {about['mlpd'].split()[-1]} ({about['commit']}), libmicrohttpd {about['libmicrohttpd']}, "
            f"{about['compiler']}, {about['wrk']}; {about['images']}. Medians of interleaved "
            f"rounds: {about['rounds']} of {about['seconds']} s; other programs took "
            f"{percent(about['others'], '.1f')} of the cores"
            + (f", the host {percent(about['stolen'], '.1f')}" if about.get("stolen", 0) >= 0.001 else "") + ".\n")
    if about["quick"]:
        text += "\n**A quick run, which says that the measuring works, and nothing more.**\n"
    return text


def targets_table(results):
    words = {True: "yes", False: "**no**", None: "not measured"}
    return table(["target", "reached", "met"],
                 [[f"{t['number']}. {t['wanted']}", t["reached"], words[t["met"]]] for t in targets.judge(results)])


def http_table(results):
    rows = []
    for body in results["http"].values():
        for connections, by_server in body["rows"].items():
            mlpd, mhd, epoll = (by_server[name] for name in SERVERS)
            images = f" ({rate(mlpd['images_per_s'])} images)" if body["images"] > 1 else ""
            rows.append([body["text"], connections, rate(mlpd["rps"]) + images, rate(mhd["rps"]), rate(epoll["rps"]),
                         percent(mlpd["rps"] / mhd["rps"]),
                         " / ".join(time_us(mlpd[name]) for name in ("p50_us", "p99_us", "p999_us")),
                         time_us(mlpd["cpu_us"]), time_us(mhd["cpu_us"]), f"{mlpd['rss_mib']:.1f}"])
    return table(["body", "connections", "mlpd, requests/s", "libmicrohttpd", "bare epoll", "of libmicrohttpd",
                  "mlpd p50 / p99 / p99.9, µs", "CPU per request, µs", "libmicrohttpd", "memory, MiB"], rows)


def kernel_table(results):
    kernels = results["kernels"]
    us = kernels["us_per_image"]
    engines = [name for name in ENGINES if name in us]
    rows = []
    for batch in map(str, BATCHES):
        full = us["mlpd"][FULL][batch]
        rows.append([batch, *(rate(1e6 / us[engine][name][batch]) for name in INPUTS for engine in engines),
                     rate(1e6 / full), percent(targets.peak_us(kernels) / full)])
    columns = [f"{name}: {ENGINES[engine]}" for name in ("zeros", "dense") for engine in engines]
    return table(["batch", *columns, "nothing to skip: mlpd", "of the peak"], rows)


def every_figure(results):
    rows = []
    for body in results["http"].values():
        for connections, by_server in body["rows"].items():
            for name, row in by_server.items():
                rows.append([body["text"], connections, name, f"{row['rps']:.0f}", f"{row['images_per_s']:.0f}",
                             *(f"{row[key]:.0f}" for key in ("p50_us", "p99_us", "p999_us")), f"{row['cpu_us']:.1f}",
                             percent(row["server_busy"]), f"{row['rss_mib']:.1f}", percent(row["others"], ".1f")])
    return table(["body", "connections", "server", "requests/s", "images/s", "p50 µs", "p99 µs", "p99.9 µs",
                  "CPU µs/request", "server busy", "MiB", "others"], rows)


def whole(results):
    about, kernels, start, two = (results[key] for key in ("about", "kernels", "start", "two_cores"))
    share = "wrk shares the second core" if two["wrk_shares"] else "wrk has a third"
    ort = f", ONNX Runtime {kernels['onnxruntime']}" if kernels["onnxruntime"] else ""
    peak = 1e6 / targets.peak_us(kernels)
    return "\n".join([
        head(about),
        "Requests: the server on one core, wrk on another. libmicrohttpd alone and bare epoll read the same bodies and "
        "send a constant answer of the same size: they are the ceilings. CPU is the server's, user and system.\n",
        http_table(results),
        f"Two server cores ({share}): {rate(two['raw']['two']['rps'])} raw requests/s at "
        f"{time_us(two['raw']['two']['cpu_us'])} µs of CPU each, against {rate(two['raw']['one']['rps'])} at "
        f"{time_us(two['raw']['one']['cpu_us'])} µs on one; a body of 1,024 images alone "
        f"{rate(two['images1024']['two']['images_per_s'])} images/s against "
        f"{rate(two['images1024']['one']['images_per_s'])}. Start, from exec to the first right answer: "
        f"{start['ms']:.1f} ms (median of {start['starts']}, {start['ms_least']:.1f} at least), and "
        f"{start['rss_mib']:.1f} MiB after it.\n",
        f"Kernels, images/s on one core, {kernels['kernels']}; the measured peak of {kernels['peak_gflops']:.0f} "
        f"GFLOP/s would be {rate(peak)} images/s{ort}, one thread. zeros: {about['images']}, of which mlpd skips inputs "
        "and activations that are zero; dense: the same with noise in each dark pixel, activations are still zero; "
        "nothing to skip: a bias so high that no activation is zero.\n",
        kernel_table(results),
        "What was set out to be reached:\n",
        targets_table(results),
        REST,
        "\nEvery figure of the requests:\n",
        every_figure(results),
        f"The run took {about['took_s']:.0f} s.\n"])


def between_markers(readme, name, text):
    marked = re.compile(rf"(<!-- {name}:begin -->\n).*?(<!-- {name}:end -->)", re.S)
    if not marked.search(readme):
        raise Failed(f"README.md has no <!-- {name}:begin --> ... <!-- {name}:end -->")
    return marked.sub(lambda found: found.group(1) + text + found.group(2), readme)


def publish():
    """The last results into README.md, their plots into tests/bench/. A quick run is refused."""
    readme = (ROOT / "README.md").read_text()
    published = False
    for name, title in (("bench", "Requests and kernels"), ("peers", "mlpd and its peers")):
        results = OUT / f"{name}.json"
        if not results.is_file():
            continue
        if json.loads(results.read_text())["about"]["quick"]:
            raise Failed(f"{results.relative_to(ROOT)} comes from a quick run, which is not worth publishing")
        shutil.copy(OUT / f"{name}.svg", ROOT / f"tests/bench/{name}.svg")
        text = (OUT / f"{name}.md").read_text().split(REST)[0].rstrip("\n")
        marker = name if name == "bench" else "bench-peers"
        readme = between_markers(readme, marker, f"\n![{title}](tests/bench/{name}.svg)\n\n{text}\n\n")
        published = True
    if not published:
        raise Failed("there are no results yet: make bench")
    (ROOT / "README.md").write_text(readme)
