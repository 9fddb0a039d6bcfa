"""Makes two models out of a small one, for `cargo xtask bench models`: one that is ten times slower, and one of 100 MB.

python heavier.py fraud_velocity.onnx SLOW.onnx LARGE.onnx
"""

import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

TIMES = 10
# Two of these squared make 100 MB of f32.
WIDTH = 5000


def slow(model: onnx.ModelProto) -> onnx.ModelProto:
    """Returns the same trees ten times, each with a tenth of its weight: the scores stay what they are."""
    (node,) = (node for node in model.graph.node if node.op_type == "TreeEnsembleClassifier")
    found = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    trees = max(found["nodes_treeids"]) + 1
    for name, values in found.items():
        if name in ("nodes_treeids", "class_treeids"):
            found[name] = [tree + time * trees for time in range(TIMES) for tree in values]
        elif name == "class_weights":
            found[name] = [weight / TIMES for weight in values] * TIMES
        elif name.startswith(("nodes_", "class_")):
            found[name] = list(values) * TIMES
    del node.attribute[:]
    node.attribute.extend(helper.make_attribute(name, value) for name, value in found.items())
    onnx.checker.check_model(model)
    return model


def large(model: onnx.ModelProto) -> onnx.ModelProto:
    """Returns a model with the same inputs and outputs, and three layers of random weights."""
    random = np.random.default_rng(1)
    (features,) = model.graph.input
    columns = features.type.tensor_type.shape.dim[1].dim_value
    shapes = {"first": (columns, WIDTH), "second": (WIDTH, WIDTH), "third": (WIDTH, 2)}
    weights = [
        numpy_helper.from_array(random.normal(0, shape[0] ** -0.5, shape).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    nodes = [
        helper.make_node("MatMul", [features.name, "first"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "second"], ["c"]),
        helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node("MatMul", ["d", "third"], ["e"]),
        helper.make_node("Softmax", ["e"], ["probabilities"], axis=1),
    ]
    outputs = [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 2])]
    graph = helper.make_graph(nodes, "large", [features], outputs, weights)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(made)
    return made


def main() -> None:
    path, slower, larger = sys.argv[1:]
    onnx.save(slow(onnx.load(path)), slower)
    onnx.save(large(onnx.load(path)), larger)


if __name__ == "__main__":
    main()
