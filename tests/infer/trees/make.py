"""Makes the models of trees.rs: small ensembles of trees in ONNX, XGBoost's JSON and LightGBM's text, with the scores
that the libraries give.

Made with: numpy 2.4.6, onnx 1.23.2, onnxmltools 1.16.0, skl2onnx 1.20.0, scikit-learn 1.9.1, xgboost 3.2.0, lightgbm 4.7.0.
Run it in this folder: python make.py
"""

import itertools
import json
import random
import warnings

import numpy as np
import onnx
from onnx import TensorProto, helper

warnings.filterwarnings("ignore")
WIDTH = 4
MODES = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"]


def grow(chance, tree, nodes, depth, modes, nan, several):
    """Appends a random tree, and returns the number of its root. Children come after their parents."""
    place = sum(node["tree"] == tree for node in nodes)
    node = {"tree": tree, "id": place, "mode": "LEAF", "feature": 0, "value": 0.0, "yes": 0, "no": 0, "nan": 0}
    nodes.append(node)
    if depth == 0 or chance.random() < 0.2 and depth < 3:
        node["votes"] = several(chance)
        return place
    node["mode"] = chance.choice(modes)
    node["feature"] = chance.randrange(WIDTH)
    node["value"] = chance.choice([0.0, -0.0, 1.0, -1.5, 0.1, 2.5, 1e-45, 3e38, float("inf")])
    node["nan"] = int(nan and chance.random() < 0.5)
    node["yes"] = grow(chance, tree, nodes, depth - 1, modes, nan, several)
    node["no"] = grow(chance, tree, nodes, depth - 1, modes, nan, several)
    return place


def ensemble(name, votes, seed, modes=MODES[:1], nan=False, trees=3, labels=None, targets=None, **more):
    chance, nodes = random.Random(seed), []
    for tree in range(trees):
        grow(chance, tree, nodes, 3, modes, nan, votes)
    kind = "class" if labels else "target"
    cast = [(node, target, weight) for node in nodes for target, weight in node.get("votes", [])]
    attributes = {
        "nodes_treeids": [node["tree"] for node in nodes],
        "nodes_nodeids": [node["id"] for node in nodes],
        "nodes_featureids": [node["feature"] for node in nodes],
        "nodes_modes": [node["mode"] for node in nodes],
        "nodes_values": [float(np.float32(node["value"])) for node in nodes],
        "nodes_truenodeids": [node["yes"] for node in nodes],
        "nodes_falsenodeids": [node["no"] for node in nodes],
        f"{kind}_treeids": [node["tree"] for node, _, _ in cast],
        f"{kind}_nodeids": [node["id"] for node, _, _ in cast],
        f"{kind}_ids": [target for _, target, _ in cast],
        f"{kind}_weights": [float(np.float32(weight)) for _, _, weight in cast],
        **more,
    }
    if nan:
        attributes["nodes_missing_value_tracks_true"] = [node["nan"] for node in nodes]
    text = labels and isinstance(labels[0], str)
    if labels:
        attributes["classlabels_strings" if text else "classlabels_int64s"] = labels
    else:
        attributes["n_targets"] = targets
    columns = len(labels) if labels else targets
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, [None, columns])
    label = helper.make_tensor_value_info("label", TensorProto.STRING if text else TensorProto.INT64, [None])
    outputs = [label, scores] if labels else [scores]
    operation = "TreeEnsembleClassifier" if labels else "TreeEnsembleRegressor"
    node = helper.make_node(operation, ["features"], [out.name for out in outputs], domain="ai.onnx.ml", **attributes)
    features = helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, WIDTH])
    graph = helper.make_graph([node], name, [features], outputs)
    opsets = [helper.make_opsetid("", 15), helper.make_opsetid("ai.onnx.ml", 3)]
    return graph, helper.make_model(graph, opset_imports=opsets, ir_version=8)


def one(target, low=-1.0):
    return lambda chance: [(target, chance.uniform(low, 1.0))]


def any_of(targets, low=-1.0):
    return lambda chance: [(chance.randrange(targets), chance.uniform(low, 1.0))]


def several(targets, low=-1.0):
    def votes(chance):
        count = chance.randint(1, targets)
        return [(target, chance.uniform(low, 1.0)) for target in chance.sample(range(targets), count)]

    return votes


def handmade():
    """Each comparison, aggregate, transform and kind of votes, with and without base values."""
    seed = itertools.count()
    for modes, nan in [([mode], nan) for mode in MODES for nan in (False, True)] + [(MODES, True), (MODES, False)]:
        name = f"regressor_{modes[0] if len(modes) == 1 else 'mixed'}_{'nan' if nan else 'plain'}"
        yield name.lower(), ensemble(name, one(0), next(seed), modes, nan, targets=1)[1]
    for aggregate, targets, base in itertools.product(["SUM", "AVERAGE", "MIN", "MAX"], [1, 3], [False, True]):
        name = f"regressor_{aggregate}_{targets}_{'base' if base else 'plain'}".lower()
        more = {"base_values": [0.25, -0.5, 0.125][:targets]} if base else {}
        votes = one(0) if targets == 1 else several(targets)
        yield name, ensemble(name, votes, next(seed), targets=targets, aggregate_function=aggregate, **more)[1]
    for transform in ["LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO", "PROBIT"]:
        for targets in [1, 3]:
            name = f"regressor_{transform}_{targets}".lower()
            votes = one(0, 0.0) if targets == 1 else several(targets, 0.0)
            yield name, ensemble(name, votes, next(seed), targets=targets, post_transform=transform)[1]
    kinds = {
        "two_of_one": (one(0), [0, 1]),
        "two_of_the_other": (one(1), [0, 1]),
        "two_of_one_positive": (one(0, 0.0), [0, 1]),
        "two_of_the_other_positive": (one(1, 0.0), [0, 1]),
        "two_of_both": (several(2), [3, 7]),
        "two_of_both_positive": (several(2, 0.0), [3, 7]),
        "three": (any_of(3), [5, 2, 9]),
        "three_several": (several(3), [5, 2, 9]),
        "three_texts": (several(3), ["low", "middle", "high"]),
        "two_texts": (one(0), ["no", "yes"]),
    }
    for (kind, (votes, labels)), transform in itertools.product(
        kinds.items(), ["NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO", "PROBIT"]
    ):
        for base in [0, 1, len(labels)] if transform in ("NONE", "LOGISTIC", "SOFTMAX") else [0]:
            name = f"classifier_{kind}_{transform}_{base}".lower()
            more = {"base_values": [0.25, -0.5, 0.125][:base]} if base else {}
            yield name, ensemble(name, votes, next(seed), labels=labels, post_transform=transform, **more)[1]


def rows(count, seed):
    """Numbers, zeros, small integers and missing values. Feature 3 is a category."""
    chance = np.random.default_rng(seed)
    made = chance.normal(size=(count, WIDTH)).astype(np.float32)
    made[:, 1] = np.round(made[:, 1] * 2)
    made[:, 3] = chance.integers(0, 6, count)
    made[chance.random((count, WIDTH)) < 0.1] = np.nan
    made[chance.random((count, WIDTH)) < 0.1] = 0
    return made


def answers(made):
    """What is to be learned of the rows: a number, one of two classes, and one of three."""
    number = np.nan_to_num(made[:, 0]) + np.where(made[:, 3] % 2 == 1, 1.5, 0) - np.abs(np.nan_to_num(made[:, 1]))
    number = number + np.isnan(made[:, 2])
    return number, (number > 0).astype(int), np.digitize(number, [-1, 0.5])


def by_xgboost(train):
    import xgboost

    number, two, three = answers(train)
    common = {"max_depth": 3, "eta": 0.4, "seed": 0, "nthread": 1}
    plans = {
        "binary": ({"objective": "binary:logistic"}, two),
        "raw": ({"objective": "binary:logitraw"}, two),
        "hinge": ({"objective": "binary:hinge"}, two),
        "dart": ({"objective": "binary:logistic", "booster": "dart", "rate_drop": 0.5}, two),
        "probabilities": ({"objective": "multi:softprob", "num_class": 3}, three),
        "class": ({"objective": "multi:softmax", "num_class": 3}, three),
        "number": ({"objective": "reg:squarederror"}, number),
        "base": ({"objective": "binary:logistic", "base_score": 0.3}, two),
        "poisson": ({"objective": "count:poisson"}, three),
        "forest": ({"objective": "binary:logistic", "num_parallel_tree": 3, "subsample": 0.6}, two),
        "categories": ({"objective": "binary:logistic", "max_cat_to_onehot": 1}, two),
        "one_category": ({"objective": "binary:logistic", "max_cat_to_onehot": 9}, two),
        "best": ({"objective": "binary:logistic"}, two),
    }
    for name, (plan, wanted) in plans.items():
        categories = ["q", "q", "q", "c"] if "categor" in name else None
        matrix = lambda made, **more: xgboost.DMatrix(made, feature_types=categories, enable_categorical=True, **more)
        learn = matrix(train, label=wanted)
        if name == "best":
            # The labels of what is watched are turned round, so that the first trees are the best.
            watched = matrix(train, label=1 - wanted)
            model = xgboost.train({**common, **plan}, learn, 8, evals=[(watched, "watched")], early_stopping_rounds=3, verbose_eval=False)
            until = (0, model.best_iteration + 1)
        else:
            model, until = xgboost.train({**common, **plan}, learn, 3), (0, 0)
        model.save_model(f"xgboost_{name}.json")

        def predict(made, raw, model=model, matrix=matrix, until=until):
            return model.predict(matrix(made), output_margin=raw, iteration_range=until)

        yield f"xgboost_{name}.json", predict


def by_lightgbm(train):
    import lightgbm

    number, two, three = answers(train)
    common = {"num_leaves": 5, "min_data_in_leaf": 5, "verbose": -1, "seed": 0, "num_threads": 1, "learning_rate": 0.3}
    plans = {
        "binary": ({"objective": "binary"}, two, 3),
        "sigmoid": ({"objective": "binary", "sigmoid": 0.7}, two, 3),
        "multiclass": ({"objective": "multiclass", "num_class": 3}, three, 3),
        "ova": ({"objective": "multiclassova", "num_class": 3}, three, 3),
        "number": ({"objective": "regression"}, number, 3),
        "root": ({"objective": "regression", "reg_sqrt": True}, number, 3),
        "poisson": ({"objective": "poisson"}, three, 3),
        "cross_entropy": ({"objective": "cross_entropy"}, two * 0.8, 3),
        "cross_entropy_lambda": ({"objective": "cross_entropy_lambda"}, two * 0.8, 3),
        "forest": ({"boosting": "rf", "objective": "regression", "bagging_freq": 1, "bagging_fraction": 0.5}, number, 4),
        "dart": ({"boosting": "dart", "objective": "regression"}, number, 5),
        "zero": ({"objective": "binary", "zero_as_missing": True}, two, 3),
        "none_missing": ({"objective": "binary", "use_missing": False}, two, 3),
        "categories": ({"objective": "binary", "categorical_feature": [3], "min_data_per_group": 1, "cat_smooth": 1}, two, 3),
        "constant": ({"objective": "regression", "min_data_in_leaf": 10_000}, number, 2),
    }
    for name, (plan, wanted, trees) in plans.items():
        model = lightgbm.train({**common, **plan}, lightgbm.Dataset(train, wanted), trees)
        model.save_model(f"lightgbm_{name}.txt")
        yield f"lightgbm_{name}.txt", lambda made, raw, model=model: model.predict(made, raw_score=raw)


def by_libraries():
    """Saves models in the libraries' own formats, and what the libraries predict for other rows."""
    train, test = rows(400, 1), rows(60, 2)
    # What no training row has: an unknown category, a negative one, one with a fraction; and tiny numbers.
    test[:6, 3] = [9, -1, -0.5, 2.7, 300, 1e9]
    test[6:12, 0] = [1e-36, -1e-36, 1e-34, -0.0, 3e38, -3e38]
    text = lambda values: [None if np.isnan(value) else float(np.float32(value)) for value in np.asarray(values).ravel()]
    found = {"rows": text(test), "models": {}}
    for name, predict in itertools.chain(by_xgboost(train), by_lightgbm(train)):
        # XGBoost refuses negative categories.
        made = np.where(test < 0, 0, test) if "categor" in name and "xgboost" in name else test
        found["models"][name] = {"prediction": text(predict(made, False)), "raw": text(predict(made, True))}
    with open("predictions.json", "w") as file:
        json.dump(found, file)


def by_converters(folder):
    """Models of scikit-learn, XGBoost and LightGBM, as the converters write them."""
    import lightgbm
    import xgboost
    from onnxmltools import convert_lightgbm, convert_xgboost
    from onnxmltools.convert.common.data_types import FloatTensorType
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType as SklFloat
    from sklearn import ensemble as skl

    train = np.nan_to_num(rows(400, 3))
    number, two, three = answers(train)
    opset, types = {"": 15, "ai.onnx.ml": 3}, [("features", SklFloat([None, WIDTH]))]
    small = {"n_estimators": 3, "max_depth": 3, "random_state": 0}
    for name, model, wanted in [
        ("forest_two", skl.RandomForestClassifier(**small), two),
        ("forest_three", skl.RandomForestClassifier(**small), three),
        ("forest_number", skl.RandomForestRegressor(**small), number),
        ("extra", skl.ExtraTreesClassifier(**small), three),
        ("boosting_two", skl.GradientBoostingClassifier(**small), two),
        ("boosting_three", skl.GradientBoostingClassifier(**small), three),
        ("boosting_number", skl.GradientBoostingRegressor(**small), number),
        ("isolation", skl.IsolationForest(n_estimators=4, max_samples=40, random_state=0), number),
    ]:
        model.fit(train, wanted)
        options = {"zipmap": False} if hasattr(model, "predict_proba") else None
        save(f"{folder}/skl2onnx_{name}.onnx", to_onnx(model, initial_types=types, target_opset=opset, options=options))
    types = [("features", FloatTensorType([None, WIDTH]))]
    small = {"n_estimators": 3, "max_depth": 3, "random_state": 0}
    for name, model, wanted in [
        ("two", xgboost.XGBClassifier(**small), two),
        ("three", xgboost.XGBClassifier(**small), three),
        ("number", xgboost.XGBRegressor(**small), number),
        ("poisson", xgboost.XGBRegressor(objective="count:poisson", **small), three),
    ]:
        model.fit(train, wanted)
        save(f"{folder}/xgboost_{name}.onnx", convert_xgboost(model, initial_types=types, target_opset=15))
    small = {"n_estimators": 3, "num_leaves": 5, "random_state": 0, "verbose": -1}
    for name, model, wanted in [
        ("two", lightgbm.LGBMClassifier(**small), two),
        ("three", lightgbm.LGBMClassifier(**small), three),
        ("number", lightgbm.LGBMRegressor(**small), number),
    ]:
        model.fit(train, wanted)
        made = convert_lightgbm(model, initial_types=types, target_opset=15, zipmap=False)
        made.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "n"
        save(f"{folder}/lightgbm_{name}.onnx", made)


def save(path, model):
    onnx.checker.check_model(model)
    model.doc_string = ""
    with open(path, "wb") as file:
        file.write(model.SerializeToString(deterministic=True))


def pack(folder, path):
    """Puts the small models into one file: for each a line with its name and size, then its bytes."""
    import os

    with open(path, "wb") as packed:
        for name in sorted(os.listdir(folder)):
            with open(f"{folder}/{name}", "rb") as file:
                model = file.read()
            packed.write(f"{name} {len(model)}\n".encode() + model)


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        for name, model in handmade():
            save(f"{folder}/{name}.onnx", model)
        by_converters(folder)
        pack(folder, "models.bin")
    by_libraries()
