"""Writes the models of this folder: `python make.py`, with the package `onnx`."""
import pathlib

import numpy as np
import onnx
from onnx import TensorProto as T, helper as h, numpy_helper

HERE = pathlib.Path(__file__).parent
ML = h.make_opsetid("ai.onnx.ml", 1)


def tensor(values, name, kind=np.float32):
    return numpy_helper.from_array(np.array(values, kind), name)


def save(name, inputs, nodes, outputs, initializers=(), opsets=()):
    info = lambda value: value if isinstance(value, onnx.ValueInfoProto) else h.make_tensor_value_info(*value)
    graph = h.make_graph(nodes, name, [info(v) for v in inputs], [info(v) for v in outputs], list(initializers))
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", 17), *opsets], ir_version=9)
    model.producer_name = ""
    onnx.save(model, HERE / f"{name}.onnx")


PAIR = ("x", T.FLOAT, ["n", 2])
axis = tensor([1], "axis", np.int64)

# The logarithm of the sum of a row: NaN below 0, minus infinity at 0.
save("log", [PAIR], [h.make_node("ReduceSum", ["x", "axis"], ["sum"], keepdims=0), h.make_node("Log", ["sum"], ["score"])],
     [("score", T.FLOAT, ["n"])], [axis])

# The first feature itself.
save("first", [PAIR], [h.make_node("Gather", ["x", "zero"], ["one"], axis=1), h.make_node("Squeeze", ["one", "axis"], ["score"])],
     [("score", T.FLOAT, ["n"])], [axis, tensor([0], "zero", np.int64)])

# A tree as XGBoost's converter writes it: x0 < 0.5 ? 0.25 : 0.75, and 0.25 where x0 is missing (NaN).
save("tree", [PAIR], [h.make_node(
    "TreeEnsembleRegressor", ["x"], ["score"], domain="ai.onnx.ml", n_targets=1,
    nodes_treeids=[0, 0, 0], nodes_nodeids=[0, 1, 2], nodes_featureids=[0, 0, 0], nodes_values=[0.5, 0.0, 0.0],
    nodes_modes=["BRANCH_LT", "LEAF", "LEAF"], nodes_truenodeids=[1, 0, 0], nodes_falsenodeids=[2, 0, 0],
    nodes_missing_value_tracks_true=[1, 0, 0], nodes_hitrates=[1.0, 1.0, 1.0],
    target_treeids=[0, 0], target_nodeids=[1, 2], target_ids=[0, 0], target_weights=[0.25, 0.75])],
    [("score", T.FLOAT, ["n", 1])], opsets=[ML])

# A logistic regression as skl2onnx writes it without ZipMap: its last bits differ between one row and more.
linear = dict(domain="ai.onnx.ml", classlabels_ints=[0, 1], multi_class=1, post_transform="LOGISTIC",
              coefficients=[-0.84728, -0.41313, 0.84728, 0.41313], intercepts=[0.13571, -0.13571])
save("linear", [PAIR], [h.make_node("LinearClassifier", ["x"], ["label", "probabilities"], **linear)],
     [("label", T.INT64, ["n"]), ("probabilities", T.FLOAT, ["n", 2])], opsets=[ML])

# The same with a label that is declared to be one, as LightGBM's converter does.
save("label_of_one", [PAIR], [h.make_node("LinearClassifier", ["x"], ["label", "probabilities"], **linear)],
     [("label", T.INT64, [1]), ("probabilities", T.FLOAT, ["n", 2])], opsets=[ML])

# The same with ZipMap: a list of maps instead of a tensor.
maps = h.make_value_info("probabilities", h.make_sequence_type_proto(h.make_map_type_proto(T.INT64, h.make_tensor_type_proto(T.FLOAT, None))))
save("maps", [PAIR], [h.make_node("LinearClassifier", ["x"], ["label", "raw"], **linear),
     h.make_node("ZipMap", ["raw"], ["probabilities"], domain="ai.onnx.ml", classlabels_int64s=[0, 1])],
     [("label", T.INT64, ["n"]), maps], opsets=[ML])

# Batches of 1 or 4 rows and no others.
for rows in (1, 4):
    save(f"rows_{rows}", [("x", T.FLOAT, [rows, 2])], [h.make_node("ReduceSum", ["x", "axis"], ["score"], keepdims=0)],
         [("score", T.FLOAT, [rows])], [axis])

# Takes a row of a table by the first feature: an error of ONNX Runtime where there is none.
save("lookup", [PAIR], [
    h.make_node("Gather", ["x", "zero"], ["one"], axis=1), h.make_node("Squeeze", ["one", "axis"], ["key"]),
    h.make_node("Cast", ["key"], ["index"], to=T.INT64), h.make_node("Gather", ["table", "index"], ["score"])],
    [("score", T.FLOAT, ["n"])],
    [axis, tensor([0], "zero", np.int64), tensor(np.arange(100) / 2, "table")])

# Each small type in and out.
KINDS = dict(f16=T.FLOAT16, bf16=T.BFLOAT16, i8=T.INT8, i16=T.INT16, i32=T.INT32, u8=T.UINT8, u16=T.UINT16, u32=T.UINT32, u64=T.UINT64)
save("types", [(name, kind, ["n", 2]) for name, kind in KINDS.items()],
     [h.make_node("Identity", [name], [f"{name}_out"]) for name in KINDS],
     [(f"{name}_out", kind, ["n", 2]) for name, kind in KINDS.items()])


def outside(values, name, location, offset):
    """A tensor whose bytes lie in another file."""
    proto, raw = tensor(values, name), np.array(values, np.float32).tobytes()
    path = HERE / "weights" / location
    path.parent.mkdir(parents=True, exist_ok=True)
    before = path.read_bytes() if path.exists() else b""
    path.write_bytes(before[:offset].ljust(offset, b"\0") + raw)
    proto.ClearField("raw_data")
    proto.data_location = T.EXTERNAL
    for key, value in (("location", location), ("offset", str(offset)), ("length", str(len(raw)))):
        proto.external_data.add(key=key, value=value)
    return proto


# Weights in two files, one of them in a folder; those of a branch and of a constant, too.
# x @ w, times 2 where the batch's sum is above 0, else times 3; plus 5.
weights = outside([[1.0], [10.0]], "w", "weights.data", 0)
constant = outside([5.0], "five", "weights.data", 8)
branch = lambda name, value, offset: h.make_graph(
    [h.make_node("Mul", ["xw", name], [f"{name}_out"])], name, [], [h.make_tensor_value_info(f"{name}_out", T.FLOAT, ["n", 1])],
    [outside([value], name, "parts/branches.data", offset)])
save("weights/weights", [PAIR], [
    h.make_node("MatMul", ["x", "w"], ["xw"]), h.make_node("Constant", [], ["five"], value=constant),
    h.make_node("ReduceSum", ["x"], ["all"], keepdims=0), h.make_node("Greater", ["all", "none"], ["positive"]),
    h.make_node("If", ["positive"], ["times"], then_branch=branch("two", 2.0, 0), else_branch=branch("three", 3.0, 4)),
    h.make_node("Add", ["times", "five"], ["score"])],
    [("score", T.FLOAT, ["n", 1])], [weights, tensor(0.0, "none")])
