"""Trains the models of the examples on features that the examples themselves computed.

Called by `cargo xtask models`; the environment is pinned in requirements.txt. Writes the .onnx file
and its model card. The same features give the same file, byte for byte.

With --repository the model is exported by the package in ../python, too. Its model.onnx gives the same scores and is another
file: its metadata has the hash of the features.json beside it, and a program that is given only the .onnx file has none. So
the files that are shipped, and whose hashes tests and cards have, are still converted here.
"""

import argparse
import hashlib
import platform
from importlib.metadata import version

import numpy as np
import onnx
import onnxruntime
import tidemill
from skl2onnx.common.data_types import FloatTensorType as SklFloat
from sklearn.metrics import average_precision_score, roc_auc_score

DAY = 86_400_000


# Fields of a training set beside the features: what a row is of, when it was, and what it turned out to be. In JSON lines
# the examples have names of their own for the last two.
IDS = {"tx_id", "card_id", "terminal_id", "machine_id", "scroll_id", "user_id", "post_id"}
OTHERS = IDS | {"count", "event_time", "ts", "window_start", "label", "is_fraud", "anomaly", "clicked"}


def load(folder, time, label, order):
    """Returns the rows in order, with their `event_time` and `label`, and the names of the features."""
    rows = tidemill.load_training_set(folder)
    rows = rows.rename(columns={old: new for old, new in ((time, "event_time"), (label, "label")) if new not in rows})
    # What is not known yet is not trained on.
    rows = rows[rows["label"].notna()]
    return rows.sort_values(order, ignore_index=True), [name for name in rows if name not in OTHERS]


def matrix(rows, names):
    return rows[names].to_numpy(dtype=np.float32)


def save(model, path, name, features):
    """Adds what the engine checks at start (names, in order) and writes the file."""
    model.doc_string = ""
    model.graph.name = name
    for key, value in (("model_name", name), ("feature_names", ",".join(features))):
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    # The converter has them in the order of a set, which is another one in each process.
    model.opset_import.sort(key=lambda opset: opset.domain)
    onnx.checker.check_model(model)
    data = model.SerializeToString(deterministic=True)
    with open(path, "wb") as file:
        file.write(data)
    return hashlib.sha256(data).hexdigest()


def score(path, rows, output, column):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run([output], {session.get_inputs()[0].name: rows})[0].reshape(len(rows), -1)[:, column]


def card(path, title, digest, facts, features):
    packages = ("numpy", "scikit-learn", "xgboost", "lightgbm", "onnx", "onnxmltools", "skl2onnx", "onnxruntime")
    with open(path, "w") as file:
        file.write(f"# Model card: {title}\n\nWritten by `cargo xtask models`; do not edit.\n\n")
        file.write("".join(f"- **{name}**: {value}\n" for name, value in facts.items()))
        file.write(f"- **SHA-256 of the .onnx file**: `{digest}`\n")
        made = ", ".join(f"{package} {version(package)}" for package in packages)
        file.write(f"- **Made with**: Python {platform.python_version()}, {made}\n\n")
        file.write("## Features, in order\n\n" + ", ".join(f"`{name}`" for name in features) + "\n")


def publish(arguments, name, model, rows, names, labels, facts):
    """Adds the model to the repository, if there is one, with the rows that it was trained on as its baseline."""
    if arguments.repository:
        about = {"trained_on": facts["Trained on"], "tested_on": facts["Tested on"], "tested": {"roc_auc": facts["ROC AUC"]}}
        exported = tidemill.export(model, rows[names], labels, root=arguments.repository, name=name, about=about)
        print(f"{name}/{exported.version} is in {arguments.repository}")


def fraud(arguments):
    import xgboost
    from onnxmltools import convert_xgboost
    from onnxmltools.convert.common.data_types import FloatTensorType

    table, names = load(arguments.features, "ts", "is_fraud", ["event_time", "tx_id"])
    rows, fraud = matrix(table, names), table["label"].to_numpy()
    time = table["event_time"].to_numpy()
    day = (time - time[0]) // DAY
    # Windows of 30 days that lie 7 days back are full after 37 days. The last 7 days are the test;
    # the 7 days before it are left out, since their charge-backs would not be known yet.
    last = day.max()
    train, test = (day >= 37) & (day < last - 14), day >= last - 7
    classifier = xgboost.XGBClassifier(n_estimators=100, max_depth=6, learning_rate=0.1, n_jobs=2, tree_method="hist", random_state=0)
    classifier.fit(rows[train], fraud[train])
    model = convert_xgboost(classifier, initial_types=[("features", FloatTensorType([None, len(names)]))], target_opset=15)
    digest = save(model, arguments.model, "fraud_velocity", names)
    scores = score(arguments.model, rows[test], "probabilities", 1)
    alerts = scores > 0.85
    facts = {
        "What it does": "scores a card transaction by the chance that it is a fraud, 0 to 1 (output `probabilities`, column 1)",
        "Method": "XGBoost, 100 trees, depth 6, learning rate 0.1, all else default",
        "Data": arguments.data,
        "Trained on": f"{train.sum():,} transactions, {fraud[train].mean():.2%} frauds; days 37 to {last - 15}",
        "Tested on": f"{test.sum():,} transactions, {fraud[test].mean():.2%} frauds; days {last - 7} to {last}",
        "ROC AUC": f"{roc_auc_score(fraud[test], scores):.3f}",
        "Average precision": f"{average_precision_score(fraud[test], scores):.3f}",
        "Alerts above 0.85": f"{alerts.sum():,}, of which {fraud[test][alerts].mean() if alerts.any() else 0:.1%} are frauds; "
        f"{fraud[test][alerts].sum() / max(fraud[test].sum(), 1):.1%} of all frauds are found",
        "Limits": "a demonstration: train your own on your own transactions before you act on a score",
    }
    card(arguments.card, "fraud_velocity", digest, facts, names)
    publish(arguments, "fraud_velocity", classifier, table[train], names, fraud[train], facts)
    worse(arguments, table, names, fraud, train, test, facts)


def worse(arguments, table, names, fraud, train, test, facts):
    """Trains what a careless colleague might: on the amount alone, as the demo of a rollout that rolls itself back."""
    import xgboost
    from onnxmltools import convert_xgboost
    from onnxmltools.convert.common.data_types import FloatTensorType

    rows = np.where([name == "amount" for name in names], matrix(table, names), np.float32(0))
    classifier = xgboost.XGBClassifier(n_estimators=20, max_depth=3, scale_pos_weight=50, n_jobs=2, tree_method="hist", random_state=0)
    classifier.fit(rows[train], fraud[train])
    model = convert_xgboost(classifier, initial_types=[("features", FloatTensorType([None, len(names)]))], target_opset=15)
    path = arguments.model.removesuffix(".onnx") + "_worse.onnx"
    save(model, path, "fraud_velocity", names)
    auc = f"{roc_auc_score(fraud[test], score(path, rows[test], 'probabilities', 1)):.3f}"
    print(f"{path}: ROC AUC {auc}")
    # Under a name of its own: nobody who asks for the latest version gets it.
    publish(arguments, "fraud_velocity_worse", classifier, table[train], names, fraud[train], facts | {"ROC AUC": auc})


def iot(arguments):
    from sklearn.ensemble import IsolationForest
    from skl2onnx import to_onnx

    table, names = load(arguments.features, "window_start", "anomaly", ["event_time", "machine_id"])
    rows, anomaly = matrix(table, names), table["label"].to_numpy() > 0
    # 50 trees: the time ONNX Runtime takes to load a converted forest grows with the square of their number.
    forest = IsolationForest(n_estimators=50, contamination=0.01, random_state=0, n_jobs=1)
    starts = table["event_time"].to_numpy()
    train, test = starts < np.median(starts), starts >= np.median(starts)
    forest.fit(rows[train & ~anomaly])
    model = to_onnx(forest, initial_types=[("features", SklFloat([None, len(names)]))], target_opset={"": 15, "ai.onnx.ml": 3})
    digest = save(model, arguments.model, "iot_window", names)
    normal_trained = (train & ~anomaly).sum()
    scores, bad = score(arguments.model, rows[test], "scores", 0), anomaly[test]
    facts = {
        "What it does": "scores a 10-second window of a machine; below 0 is an anomaly (output `scores`: the forest's decision function)",
        "Method": "isolation forest, 50 trees of 256 windows, contamination 0.01",
        "Data": arguments.data,
        "Trained on": f"{normal_trained:,} windows without an anomaly, of the first half of the time",
        "Tested on": f"the {test.sum():,} windows of the second half, {bad.sum():,} of them with an anomaly",
        "ROC AUC": f"{roc_auc_score(bad, -scores):.3f}" if bad.any() else "no anomaly in the data",
        "Alerts below 0": f"{(scores < 0).sum():,}; {bad[scores < 0].mean() if (scores < 0).any() else 0:.1%} of them have an anomaly, "
        f"{(scores[bad] < 0).mean() if bad.any() else 0:.1%} of the anomalies are found",
        "Limits": "a demonstration: train your own on your own machines, of the kind they are",
    }
    card(arguments.card, "iot_window", digest, facts, names)
    # It was trained without labels, on windows that have none of the anomalies.
    publish(arguments, "iot_window", forest, table[train & ~anomaly], names, None, facts)


def recommendation(arguments):
    import lightgbm
    from onnxmltools import convert_lightgbm
    from onnxmltools.convert.common.data_types import FloatTensorType

    table, names = load(arguments.features, "ts", "clicked", ["scroll_id", "post_id"])
    rows, clicked, scroll = matrix(table, names), table["label"].to_numpy().astype(int), table["scroll_id"].to_numpy()
    # By time: what is tested came after what is trained on.
    train, test = scroll < scroll.max() * 0.8, scroll >= scroll.max() * 0.8
    classifier = lightgbm.LGBMClassifier(
        n_estimators=80, num_leaves=15, learning_rate=0.1, min_child_samples=100, random_state=0, n_jobs=1, deterministic=True, verbose=-1
    )
    classifier.fit(rows[train], clicked[train], feature_name=names)
    # Servers of TensorFlow Serving's protocol take LightGBM's own format.
    with open(arguments.model.replace(".onnx", ".txt"), "w") as file:
        file.write(classifier.booster_.model_to_string())
    model = convert_lightgbm(classifier, initial_types=[("features", FloatTensorType([None, len(names)]))], target_opset=15, zipmap=False)
    # The converter says that there is one label, however many rows: model servers would repeat it.
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "n"
    digest = save(model, arguments.model, "content_recommendation", names)
    scores = score(arguments.model, rows[test], "probabilities", 1)
    shown, hits, chance = {}, 0, 0
    for id, value, click in zip(scroll[test], scores, clicked[test]):
        shown.setdefault(id, []).append((value, click))
    clicks = [posts for posts in shown.values() if any(click for _, click in posts)]
    for posts in clicks:
        hits += max(posts)[1]
        chance += 1 / len(posts)
    facts = {
        "What it does": "scores a post for a user by the chance that it is clicked, 0 to 1 (output `probabilities`, column 1)",
        "Method": "LightGBM, 80 trees of 15 leaves, learning rate 0.1",
        "Data": arguments.data + "; posts were shown by chance",
        "Trained on": f"{train.sum():,} posts shown, {clicked[train].mean():.2%} clicked",
        "Tested on": f"{test.sum():,} posts shown later, {clicked[test].mean():.2%} clicked",
        "ROC AUC": f"{roc_auc_score(clicked[test], scores):.3f}",
        "Average precision": f"{average_precision_score(clicked[test], scores):.3f}",
        "The clicked post has the best score": f"of {len(clicks):,} scrolls with a click: {hits / len(clicks):.1%}; by chance {chance / len(clicks):.1%}",
        "Limits": "a demonstration: users and posts are simulated",
    }
    card(arguments.card, "content_recommendation", digest, facts, names)
    publish(arguments, "content_recommendation", classifier, table[train], names, clicked[train], facts)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("which", choices=["fraud", "iot", "recommendation"])
    parser.add_argument("--features", required=True, help="a training set: folder of .jsonl or .parquet files")
    parser.add_argument("--data", required=True, help="what the data is, for the card")
    parser.add_argument("--model", required=True)
    parser.add_argument("--card", required=True)
    parser.add_argument("--repository", help="a model repository, to which the model is added as its next version")
    arguments = parser.parse_args()
    {"fraud": fraud, "iot": iot, "recommendation": recommendation}[arguments.which](arguments)
