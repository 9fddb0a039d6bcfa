"""A model of MLServer: an ONNX file, its inputs and outputs as they are."""

import os

import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.errors import InferenceError
from mlserver.types import InferenceRequest, InferenceResponse, MetadataTensor

TYPES = {"tensor(float)": "FP32", "tensor(double)": "FP64", "tensor(int64)": "INT64", "tensor(bool)": "BOOL"}


def described(tensor):
    shape = [-1 if not isinstance(size, int) else size for size in tensor.shape]
    return MetadataTensor(name=tensor.name, datatype=TYPES[tensor.type], shape=shape)


class OnnxModel(MLModel):
    async def load(self) -> bool:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(os.environ["TIDEMILL_ONNX"], options, providers=["CPUExecutionProvider"])
        self.inputs = [described(tensor) for tensor in self.session.get_inputs()]
        self.outputs = [described(tensor) for tensor in self.session.get_outputs()]
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        names = [output.name for output in payload.outputs or self.outputs]
        try:
            outputs = self.session.run(names, {tensor.name: NumpyCodec.decode_input(tensor) for tensor in payload.inputs})
        except Exception as error:
            raise InferenceError(str(error)) from error
        encoded = [NumpyCodec.encode_output(name, values) for name, values in zip(names, outputs)]
        return InferenceResponse(model_name=self.name, outputs=encoded)
