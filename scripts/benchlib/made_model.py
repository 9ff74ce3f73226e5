"""A dense model of any sizes, written without any library."""
import array
import json
import pathlib
import random
import shutil
import struct

REPEATED = 65521  # numbers, of which all weights are made: what they are costs nothing


def numbers(count, bound, rng):
    some = array.array("f", [rng.uniform(-bound, bound) for _ in range(min(count, REPEATED))])
    return (some * (count // len(some) + 1))[:count].tobytes()


def structure(sizes):
    lines = ["Sequential(", "  (0): Flatten(start_dim=1, end_dim=-1)"]
    for i, (into, out) in enumerate(zip(sizes, sizes[1:])):
        if i:
            lines.append(f"  ({len(lines) - 1}): ReLU()")
        lines.append(f"  ({len(lines) - 1}): Linear(in_features={into}, out_features={out}, bias=True)")
    return "\n".join([*lines, ")"]) + "\n"


def write(root, name, sizes):
    """Flatten, then Linear layers of these sizes with ReLU between; returns root, which --models takes."""
    folder, rng = pathlib.Path(root) / name / "1", random.Random(1)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "structure.txt").write_text(structure(sizes))
    header, data = {}, b""
    for i, (into, out) in enumerate(zip(sizes, sizes[1:])):
        for part, shape in (("weight", [out, into]), ("bias", [out])):
            raw = numbers(out * (into if part == "weight" else 1), (6 / into) ** 0.5, rng)
            header[f"{2 * i + 1}.{part}"] = {"dtype": "F32", "shape": shape,
                                             "data_offsets": [len(data), len(data) + len(raw)]}
            data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    return root
