"""Writes mixed.onnx: five inputs and four outputs of all types, rows of fixed and of any shape."""
import pathlib

import onnx
from onnx import TensorProto as T, helper as h

inputs = [
    h.make_tensor_value_info("pair", T.FLOAT, ["n", 2]),
    h.make_tensor_value_info("weight", T.DOUBLE, ["n"]),
    h.make_tensor_value_info("counts", T.INT64, ["n", "any"]),
    h.make_tensor_value_info("flag", T.BOOL, ["n"]),
    h.make_tensor_value_info("name", T.STRING, ["n"]),
]
outputs = [
    h.make_tensor_value_info("weighted", T.DOUBLE, ["n"]),
    h.make_tensor_value_info("count", T.INT64, ["n"]),
    h.make_tensor_value_info("not_flag", T.BOOL, ["n"]),
    h.make_tensor_value_info("same_name", T.STRING, ["n"]),
]
axis = h.make_tensor("axis", T.INT64, [1], [1])
nodes = [
    h.make_node("ReduceSum", ["pair", "axis"], ["sum"], keepdims=0),
    h.make_node("Cast", ["sum"], ["sum64"], to=T.DOUBLE),
    h.make_node("Mul", ["sum64", "weight"], ["weighted"]),
    h.make_node("ReduceSum", ["counts", "axis"], ["count"], keepdims=0),
    h.make_node("Not", ["flag"], ["not_flag"]),
    h.make_node("Identity", ["name"], ["same_name"]),
]
graph = h.make_graph(nodes, "mixed", inputs, outputs, initializer=[axis])
model = h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=9)
onnx.checker.check_model(model)
onnx.save(model, pathlib.Path(__file__).with_name("mixed.onnx"))
