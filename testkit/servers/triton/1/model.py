"""A model of Triton's Python backend: an ONNX file, its inputs and outputs as they are."""

import os
import sys

# Triton starts Python with a path of its own.
sys.path.append(os.environ["TIDEMILL_SITE_PACKAGES"])

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils

TYPES = {"tensor(float)": "TYPE_FP32", "tensor(double)": "TYPE_FP64", "tensor(int64)": "TYPE_INT64", "tensor(bool)": "TYPE_BOOL"}


def session():
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(os.environ["TIDEMILL_ONNX"], options, providers=["CPUExecutionProvider"])


def described(tensor):
    return {"name": tensor.name, "data_type": TYPES[tensor.type], "dims": [-1 if not isinstance(size, int) else size for size in tensor.shape]}


class TritonPythonModel:
    @staticmethod
    def auto_complete_config(config):
        model = session()
        config.set_max_batch_size(0)
        for tensor in model.get_inputs():
            config.add_input(described(tensor))
        for tensor in model.get_outputs():
            config.add_output(described(tensor))
        return config

    def initialize(self, args):
        self.session = session()
        # Another version says the opposite.
        self.step = 1 if args["model_version"] == "1" else -1

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        try:
            inputs = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
            names = list(request.requested_output_names())
            outputs = [values[..., :: self.step] if values.ndim == 2 else values for values in self.session.run(names, inputs)]
            return pb_utils.InferenceResponse([pb_utils.Tensor(name, np.ascontiguousarray(values)) for name, values in zip(names, outputs)])
        except Exception as error:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error), pb_utils.TritonError.INVALID_ARG))
