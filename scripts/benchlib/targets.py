"""What mlpd set out to reach, and whether this run did: only ratios and sums within one run."""
import json

from .kernels import BATCHES, FLOPS_PER_IMAGE, FULL
from .machine import OUT


def percent(value, form=".0f"):
    return f"{value * 100:{form}} %"


FULL_BATCHES = (48, 64, 256, 1024)
PARTIAL_BATCHES = (7, 13, 65)


def target(number, wanted, reached, met):
    return {"number": number, "wanted": wanted, "reached": reached, "met": met}


def unknown(number, wanted, why):
    return target(number, wanted, why, None)


def peak_us(kernels):
    """The least time that an image's multiply-adds can take."""
    return FLOPS_PER_IMAGE / kernels["peak_gflops"] * 1e-3


def kernel_targets(results):
    kernels = results["kernels"]
    us = kernels["us_per_image"]["mlpd"]
    share = {batch: peak_us(kernels) / us[FULL][str(batch)] for batch in FULL_BATCHES}
    worst = min(share, key=share.get)
    yield target(1, "90 % of the FMA peak from batch 48 on, where no zero can be skipped",
                 f"{percent(share[worst])} at batch {worst}, the least", share[worst] >= 0.9)
    for name, least in (("fashion", 2.8), ("dense", 1.7)):
        wanted = f"batch 1, {name}: {least} times ONNX Runtime"
        if "ort" not in kernels["us_per_image"]:
            yield unknown(1, wanted, "ONNX Runtime could not be installed")
            continue
        ratio = kernels["us_per_image"]["ort"][name]["1"] / us[name]["1"]
        yield target(1, wanted, f"{ratio:.2f} times", ratio >= least)
    loss = {batch: us[FULL][str(batch)] / min(us[FULL][str(n)] for n in BATCHES if n < batch) - 1
            for batch in PARTIAL_BATCHES}
    worst = max(loss, key=loss.get)
    yield target(1, "batches 7, 13, 65: less than 15 % more time per row than the best smaller batch, nothing skipped",
                 f"{percent(loss[worst], '+.0f')} at batch {worst}, the most", loss[worst] < 0.15)


def peer_targets():
    wanted = (("triton", "Triton's Python backend", 4.4), ("fastapi", "FastAPI + ONNX Runtime", 10))
    path = OUT / "peers.json"
    run = json.loads(path.read_text()) if path.is_file() else {"about": {"quick": True}}
    peers = {} if run["about"]["quick"] else run["peers"]
    for name, text, least in wanted:
        line = f"raw, 64 connections: {least} times {text}"
        if "raw" not in peers.get(name, {}) or "raw" not in peers.get("mlpd", {}):
            yield unknown(2, line, "see make bench-peers")
            continue
        ratio = peers["mlpd"]["raw"]["64"]["rps"] / peers[name]["raw"]["64"]["rps"]
        yield target(2, line, f"{ratio:.1f} times, by make bench-peers", ratio >= least)


def request_targets(results):
    us = results["kernels"]["us_per_image"]["mlpd"]["fashion"]
    raw = results["http"]["raw"]["rows"]
    row, ceiling = raw["64"]["mlpd"], raw["64"]["libmicrohttpd"]
    kernel = min(us[str(batch)] for batch in BATCHES if batch <= 64)
    allowed = ceiling["cpu_us"] + kernel + 6
    yield target(2, "raw, 64 connections: CPU per request at most the ceiling's + the kernel's least time per row "
                 "at batches up to 64 + 6 µs",
                 f"{row['cpu_us']:.1f} µs; {ceiling['cpu_us']:.1f} + {kernel:.1f} + 6 = {allowed:.1f} µs",
                 row["cpu_us"] <= allowed)
    yield from peer_targets()
    row, ceiling = raw["1"]["mlpd"], raw["1"]["libmicrohttpd"]
    allowed = ceiling["p50_us"] + us["1"] + 25
    yield target(3, "raw, 1 connection: p50 at most the ceiling's + the kernel's batch 1 + 25 µs",
                 f"{row['p50_us']:.0f} µs; {ceiling['p50_us']:.0f} + {us['1']:.0f} + 25 = {allowed:.0f} µs",
                 row["p50_us"] <= allowed)
    for name, least in (("png", 0.75), ("json", 0.5)):
        ratio = results["http"][name]["rows"]["64"]["mlpd"]["rps"] / raw["64"]["mlpd"]["rps"]
        yield target(4, f"{name.upper()}, 64 connections: {percent(least)} of the raw rate",
                     percent(ratio), ratio >= least)


def large_targets(results):
    rate = 1e6 / results["kernels"]["us_per_image"]["mlpd"]["fashion"]["256"]
    for name, text, images in (("images256", "256", 256), ("images1024", "1,024", 1024)):
        rows = results["http"][name]["rows"].values()
        best = max((row["mlpd"] for row in rows), key=lambda row: row["images_per_s"])
        share, by_cpu = best["images_per_s"] / rate, images / best["cpu_us"] * 1e6 / rate
        yield target(5, f"{text} images in a body: 85 % of the kernel's rate at batch 256",
                     f"{percent(share)} ({percent(by_cpu)} by CPU time)", share >= 0.85)
    two = results["two_cores"]["images1024"]
    ratio = two["two"]["images_per_s"] / two["one"]["images_per_s"]
    yield target(5, "two idle cores share a body of 1,024 images (1 connection): faster than one by a fifth at least",
                 f"{ratio:.2f} times", ratio >= 1.2)


def other_targets(results):
    two_cores = results["two_cores"]
    two = two_cores["raw"]
    growth = two["two"]["cpu_us"] / two["one"]["cpu_us"] - 1
    yield target(6, "raw, 64 connections: CPU per request on two server cores at most 10 % over one",
                 percent(growth, "+.0f") + (", wrk shares the second core" if two_cores["wrk_shares"] else ""),
                 growth <= 0.1)
    memory, start = results["memory"], results["start"]
    yield target(7, "no heap allocation of mlpd's own per request", f"{memory['allocations_per_request']:.3f}",
                 memory["allocations_per_request"] == 0)
    grown = memory["last"]["rss_mib"] - memory["first"]["rss_mib"]
    wanted = "memory after a million requests within 1 MiB of that after ten thousand"
    reached = f"{grown:+.2f} MiB from {memory['first']['requests']:,} to {memory['last']['requests']:,} requests"
    yield target(7, wanted, reached, abs(grown) <= 1 if memory["last"]["requests"] >= 1_000_000 else None)
    allowed = 12 + 1.2 * start["weights_mib"]
    yield target(7, "resident memory without connections at most 12 MiB + 1.2 times the weights",
                 f"{start['rss_mib']:.1f} of {allowed:.1f} MiB", start["rss_mib"] <= allowed)
    yield target(8, "start to the first right answer at most 20 ms", f"{start['ms']:.1f} ms", start["ms"] <= 20)


def judge(results):
    return [*kernel_targets(results), *request_targets(results), *large_targets(results), *other_targets(results)]
