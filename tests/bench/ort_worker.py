"""ONNX Runtime on one thread behind the line protocol of kernel_worker.c:

    ort_worker.py MODEL_ONNX FASHION_FILE DENSE_FILE

Inputs and outputs are bound once for each batch, so that Python costs one call.

needs: onnxruntime, numpy.
"""
import sys
import time

import numpy as np
import onnxruntime

WARM_IMAGES = 16
SAMPLE_US = 4000


def open_session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


class Engine:
    def __init__(self, model, files):
        self.session = open_session(model)
        self.images = {name: np.fromfile(path, "<f4").reshape(1024, -1) for name, path in files.items()}
        self.bindings = {}

    def binding(self, name, rows):
        if (name, rows) not in self.bindings:
            binding = self.session.io_binding()
            value = onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(self.images[name][:rows]))
            binding.bind_ortvalue_input("input", value)
            out = onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros((rows, 10), np.float32))
            binding.bind_ortvalue_output("output", out)
            self.bindings[name, rows] = binding, out
        return self.bindings[name, rows]

    def time_batches(self, name, rows, runs):
        run, (binding, _) = self.session.run_with_iobinding, self.binding(name, rows)
        start = time.thread_time_ns()
        for _ in range(runs):
            run(binding)
        return (time.thread_time_ns() - start) / 1e3

    def time_batch(self, name, rows):
        """As in kernel_worker.c: the clock is read around as many batches as fill a sample."""
        first = 1 + WARM_IMAGES // rows
        runs = 1 + int(SAMPLE_US / (self.time_batches(name, rows, first) / first))
        return self.time_batches(name, rows, runs) / runs

    def logits(self, name):
        return self.session.run(None, {"input": self.images[name][:1]})[0][0]


def main():
    engine = Engine(sys.argv[1], {"fashion": sys.argv[2], "dense": sys.argv[3]})
    for line in sys.stdin:
        words = line.split()
        if words == ["name"]:
            print(onnxruntime.__version__)
        elif words[0] == "logits":
            print(*engine.logits(words[2]))
        else:
            print(f"{engine.time_batch(words[1], int(words[2])):.4f}")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
