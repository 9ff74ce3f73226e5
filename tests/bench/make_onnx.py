"""Writes the ONNX form of a model.safetensors, Linears with ReLU between them: make_onnx.py IN OUT

needs: onnx, numpy.
"""
import json
import struct
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def read_safetensors(path):
    with open(path, "rb") as file:
        data = file.read()
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8:8 + length])
    header.pop("__metadata__", None)
    body = data[8 + length:]
    return {name: np.frombuffer(body[slice(*entry["data_offsets"])], "<f4").reshape(entry["shape"])
            for name, entry in header.items()}


def make(tensors):
    layers = sorted({name.rsplit(".", 1)[0] for name in tensors}, key=lambda name: int(name.rsplit(".", 1)[1]))
    nodes, current = [], "input"
    for i, layer in enumerate(layers):
        last = i == len(layers) - 1
        made = "output" if last else f"linear{i}"
        nodes.append(helper.make_node("Gemm", [current, f"{layer}.weight", f"{layer}.bias"], [made], transB=1))
        current = made
        if not last:
            nodes.append(helper.make_node("Relu", [made], [f"relu{i}"]))
            current = f"relu{i}"
    width = {"input": tensors[f"{layers[0]}.weight"].shape[1], "output": tensors[f"{layers[-1]}.weight"].shape[0]}
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", width[name]]) for name in ("input", "output")]
    graph = helper.make_graph(nodes, "mlp", ends[:1], ends[1:],
                              [numpy_helper.from_array(array.copy(), name) for name, array in tensors.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


if __name__ == "__main__":
    onnx.save(make(read_safetensors(sys.argv[1])), sys.argv[2])
