"""A KServe model that serves an ONNX file, with its inputs and outputs unchanged. It supports the Open Inference Protocol
and, for TensorFlow Serving's REST API, KServe's V1 protocol."""

import argparse
import os

import numpy as np
import onnxruntime
from kserve import InferOutput, InferResponse, Model, ModelServer, model_server
from kserve.errors import InvalidInput
from kserve.utils.utils import generate_uuid

TYPES = {"tensor(float)": "FP32", "tensor(double)": "FP64", "tensor(int64)": "INT64", "tensor(bool)": "BOOL"}


def described(tensor):
    return {"name": tensor.name, "datatype": TYPES[tensor.type], "shape": [-1 if not isinstance(size, int) else size for size in tensor.shape]}


class OnnxModel(Model):
    def load(self):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(os.environ["TIDEMILL_ONNX"], options, providers=["CPUExecutionProvider"])
        self.ready = True

    async def get_input_types(self):
        return [described(tensor) for tensor in self.session.get_inputs()]

    async def get_output_types(self):
        return [described(tensor) for tensor in self.session.get_outputs()]

    def run(self, names, inputs):
        try:
            return self.session.run(names, inputs)
        except Exception as error:
            raise InvalidInput(str(error)) from error

    def predict(self, payload, headers=None, response_headers=None):
        if isinstance(payload, dict):
            # The V1 protocol, which is TensorFlow Serving's, has one input; requests and answers are rows.
            rows = np.asarray(payload["instances"], dtype=np.float32)
            outputs = self.run(["probabilities"], {self.session.get_inputs()[0].name: rows})
            return {"predictions": outputs[0].tolist()}
        names = [tensor.name for tensor in payload.request_outputs] if payload.request_outputs else [tensor.name for tensor in self.session.get_outputs()]
        results = self.run(names, {tensor.name: tensor.as_numpy() for tensor in payload.inputs})
        response = InferResponse(response_id=generate_uuid(), model_name=self.name, infer_outputs=[])
        for name, values in zip(names, results):
            output = InferOutput(name, list(values.shape), "INT64" if values.dtype == np.int64 else "FP32")
            output.set_data_from_numpy(values, binary_data=False)
            response.outputs.append(output)
        return response


if __name__ == "__main__":
    parser = argparse.ArgumentParser(parents=[model_server.parser])
    arguments, _ = parser.parse_known_args()
    model = OnnxModel("ranking")
    model.load()
    ModelServer().start([model])
