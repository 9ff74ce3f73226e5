"""ONNX Runtime as all peers use it: one thread, since the server has one core. MODEL_ONNX names the file."""
import os

import onnxruntime


def open_session():
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(os.environ["MODEL_ONNX"], options, providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {"input": x})[0]
