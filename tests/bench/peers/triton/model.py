"""Triton's Python backend over ONNX Runtime; Triton batches."""
import numpy as np
import triton_python_backend_utils as pb_utils
from session import open_session


class TritonPythonModel:
    def initialize(self, args):
        self.run = open_session()

    def execute(self, requests):
        inputs = [pb_utils.get_input_tensor_by_name(request, "input").as_numpy() for request in requests]
        output = self.run(np.concatenate(inputs) if len(inputs) > 1 else inputs[0])
        parts = np.split(output, np.cumsum([len(x) for x in inputs])[:-1])
        return [pb_utils.InferenceResponse([pb_utils.Tensor("output", part)]) for part in parts]
