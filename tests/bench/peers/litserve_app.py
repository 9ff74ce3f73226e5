"""LitServe over ONNX Runtime with batches of up to 64: rows of float32 in base64, or a list of numbers."""
import base64
import os

import litserve
import numpy as np
from session import open_session


class Api(litserve.LitAPI):
    def setup(self, device):
        self.run = open_session()

    def decode_request(self, request):
        if "b64" in request:
            return np.frombuffer(base64.b64decode(request["b64"]), np.float32)
        return np.asarray(request["data"], np.float32)

    def batch(self, inputs):
        self.counts = [len(x) // 784 for x in inputs]
        return np.concatenate(inputs).reshape(-1, 784)

    def predict(self, x):
        return self.run(x)

    def unbatch(self, output):
        return np.split(output, np.cumsum(self.counts)[:-1])

    def encode_response(self, output):
        return {"data": output.tolist()}


if __name__ == "__main__":
    litserve.LitServer(Api(max_batch_size=64, batch_timeout=0.002), accelerator="cpu", workers_per_device=1).run(
        host="127.0.0.1", port=int(os.environ["PORT"]), log_level="warning", generate_client_file=False)
