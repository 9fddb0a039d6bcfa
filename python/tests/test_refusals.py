"""What cannot be exported: the error says what, where and what to do, and nothing is written."""

import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from conftest import payments
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, MissingIndicator, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
)
from sklearn.svm import SVC

import tidemill

DATA = payments(11, 400)
NUMBERS = ["amount", "age", "visits", "known"]
NO_GAPS = payments(11, 400, gaps=False)


def fitted(*steps, names=("amount", "age"), data=DATA):
    return make_pipeline(*steps, LogisticRegression()).fit(data[list(names)], data["fraud"])


def branch(name, columns, *steps):
    return ColumnTransformer([("numbers", SimpleImputer(), ["amount"]), (name, make_pipeline(*steps), columns)])


def codes(**options):
    return OrdinalEncoder(handle_unknown="use_encoded_value", **options)


def constant(value):
    return SimpleImputer(strategy="constant", fill_value=value)


class Squares(TransformerMixin, BaseEstimator):
    """A step that no converter knows."""

    def fit(self, rows, labels=None):
        self.n_features_in_ = rows.shape[1]
        return self

    def transform(self, rows):
        return rows**2


PIPELINES = {
    "iterative": (lambda: fitted(IterativeImputer()), r'step "iterativeimputer": IterativeImputer cannot be exported.*take SimpleImputer'),
    "knn in a branch": (
        lambda: fitted(branch("rest", ["age"], StandardScaler(), KNNImputer())),
        r'step "columntransformer", "rest", "knnimputer": KNNImputer cannot be exported',
    ),
    "infrequent_if_exist": (
        lambda: fitted(branch("texts", ["country"], OneHotEncoder(handle_unknown="infrequent_if_exist")), names=["amount", "country"]),
        r'"texts", "onehotencoder": OneHotEncoder\(handle_unknown="infrequent_if_exist"\).*fit it with handle_unknown="ignore"',
    ),
    "infrequent categories": (
        lambda: fitted(branch("texts", ["country"], OneHotEncoder(handle_unknown="ignore", max_categories=2)), names=["amount", "country"]),
        'OneHotEncoder of "country" puts infrequent categories together.*leave min_frequency',
    ),
    "one-hot numbers": (
        lambda: fitted(branch("whole", ["visits"], OneHotEncoder(handle_unknown="ignore")), names=["amount", "visits"]),
        'OneHotEncoder of "visits" is fitted on values that are no texts.*make texts of them',
    ),
    "ordinal numbers": (
        lambda: fitted(branch("whole", ["visits"], codes(unknown_value=-1)), names=["amount", "visits"]),
        'OrdinalEncoder of "visits" is fitted on values that are no texts',
    ),
    "a function": (
        lambda: fitted(SimpleImputer(), FunctionTransformer(np.log1p)),
        r'step "functiontransformer": FunctionTransformer\(log1p\) is Python code.*compute it in the program',
    ),
    "no converter": (
        lambda: fitted(SimpleImputer(), Squares()),
        r"Squares → LogisticRegression cannot be converted to ONNX: .*; leave the step out",
    ),
    "two imputations": (
        lambda: fitted(FeatureUnion([("a", SimpleImputer()), ("b", SimpleImputer(strategy="median"))])),
        '"amount" is encoded or imputed in two ways.*under another name',
    ),
    "two encodings": (
        lambda: fitted(
            ColumnTransformer([("a", codes(unknown_value=-1), ["country"]), ("b", OneHotEncoder(handle_unknown="ignore"), ["country"])]),
            SimpleImputer(),
            names=["country"],
        ),
        '"country" is encoded or imputed in two ways',
    ),
    "unknown as NaN, missing as a code": (
        lambda: fitted(
            branch("texts", ["country"], constant("DE"), codes(unknown_value=np.nan)), SimpleImputer(), names=["amount", "country"]
        ),
        "cannot tell apart; set unknown_value=-1",
    ),
    "indicator after imputing": (
        lambda: fitted(SimpleImputer(), MissingIndicator(features="all")),
        'the indicator of "amount" comes after it has been imputed',
    ),
    "only the indicator of a text": (
        lambda: fitted(MissingIndicator(missing_values=np.nan), names=["country"]),
        'only the indicator of the text "country" is used; make it a bool',
    ),
    "an indicator that does not count unknown ones": (
        lambda: fitted(
            FeatureUnion([("i", MissingIndicator()), ("o", make_pipeline(codes(unknown_value=np.nan), SimpleImputer()))]),
            names=["country"],
        ),
        'the indicator of "country" does not count unknown categories',
    ),
    "missing not last": (
        lambda: fitted(codes(unknown_value=-1, categories=[[None, "AT", "DE", "FR", "US"]]), names=["country"], data=NO_GAPS),
        'OrdinalEncoder of "country" has None or NaN among its categories twice or not last',
    ),
    "a category that is imputed and not known": (
        lambda: fitted(constant("none"), OneHotEncoder(), names=["country"], data=NO_GAPS),
        'OneHotEncoder of "country" does not know "none", which is imputed before it',
    ),
    "an infinity": (
        lambda: fitted(constant(np.inf), KBinsDiscretizer(), names=["amount"], data=NO_GAPS),
        '"amount" is imputed with inf, which JSON has no number for',
    ),
    "a clipped scaler": (
        lambda: fitted(SimpleImputer(), MinMaxScaler(clip=True)),
        r"MinMaxScaler\(clip=True\) has no conversion",
    ),
    "another missing value of texts": (
        lambda: fitted(
            branch("texts", ["country"], SimpleImputer(missing_values="DE", strategy="most_frequent"), codes(unknown_value=-1)),
            names=["amount", "country"],
            data=NO_GAPS,
        ),
        r"SimpleImputer\(missing_values='DE'\) on texts cannot be a rule.*make it NaN",
    ),
    "weights": (
        lambda: fitted(ColumnTransformer([("n", SimpleImputer(), ["amount"])], transformer_weights={"n": 2.0})),
        "transformer_weights cannot be exported",
    ),
    "weights of a union": (
        lambda: fitted(FeatureUnion([("n", SimpleImputer())], transformer_weights={"n": 2.0})),
        "transformer_weights cannot be exported",
    ),
}


@pytest.mark.parametrize("kind", PIPELINES)
@pytest.mark.filterwarnings("ignore")
def test_pipelines(kind, tmp_path):
    make, reason = PIPELINES[kind]
    with pytest.raises(tidemill.ExportError, match=reason):
        tidemill.export(make(), DATA, root=tmp_path, name="m")
    assert list(tmp_path.iterdir()) == []


def test_text_that_is_not_encoded(tmp_path):
    frame = NO_GAPS[["amount", "country"]].astype({"country": "category"})
    for model in (
        xgboost.XGBClassifier(n_estimators=2, enable_categorical=True, tree_method="hist"),
        lightgbm.LGBMClassifier(n_estimators=2, verbose=-1),
    ):
        model.fit(frame, NO_GAPS["fraud"])
        with pytest.raises(tidemill.ExportError, match=r'the text "country" gets to .* as a text.*put an OrdinalEncoder'):
            tidemill.export(model, frame, root=tmp_path, name="m")
        # Nor categories that are numbers.
        whole = NO_GAPS[["amount", "visits"]].astype({"visits": "category"})
        model.fit(whole, NO_GAPS["fraud"])
        with pytest.raises(tidemill.ExportError, match="is fitted with categories of its own; put an OrdinalEncoder"):
            tidemill.export(model, whole, root=tmp_path, name="m")


CALLS = {
    "not fitted": (lambda: LogisticRegression(), {}, "LogisticRegression is not fitted: call fit"),
    "no model": (lambda: "model", {}, "str is no estimator"),
    "no rows": (None, {"rows": DATA.head(0)}, "there are no rows"),
    "a column is not there": (None, {"rows": DATA[["age"]]}, 'takes "amount", which the rows lack; they have: age'),
    "too few names": (None, {"rows": DATA[NUMBERS].to_numpy(), "names": ["a"]}, "with a name for each column in names"),
    "names for dicts": (None, {"rows": DATA.to_dict("records"), "names": ["a"]}, "names is for arrays"),
    "columns without names": (None, {"rows": DATA.set_axis(range(7), axis=1)}, "the columns of rows have to be texts"),
    "too many columns": (lambda: LogisticRegression().fit([[0.0], [1.0]], [0, 1]), {}, "takes 1 features; the rows have 7: amount, age"),
    "another estimator of xgboost": (
        lambda: xgboost.XGBRFClassifier(n_estimators=2).fit(NO_GAPS[NUMBERS], NO_GAPS["fraud"]),
        {"rows": NO_GAPS},
        "XGBRFClassifier cannot be exported; take XGBClassifier",
    ),
    "rules for a column that is dropped": (
        lambda: fitted(ColumnTransformer([("n", SimpleImputer(), ["amount"])])),
        {"features": {"age": {"max_age": "1h"}}},
        'features has "age", which no step of the pipeline keeps',
    ),
    "names for a frame": (None, {"names": ["a"]}, "names is for rows without names"),
    "other labels": (None, {"labels": [1, 0]}, "400 rows and 2 labels"),
    "no such label": (None, {"labels": "spam"}, 'no column "spam" of labels'),
    "a label that the model takes": (None, {"labels": "age"}, 'the model takes "age", which labels says'),
    "a bad name": (None, {"name": "a/b"}, '"a/b" is no name of a model'),
    "no such class": (None, {"target": "yes"}, "target is 'yes', and the classes of the model are: .*0.*, .*1"),
    "target and column": (None, {"target": 1, "column": 1}, "pass one of them"),
    "no such output": (None, {"output": "logits"}, 'no output "logits" of f32; it has: "probabilities"'),
    "no such column": (None, {"column": 2}, "has 2 columns, and column is 2"),
    "rules for another feature": (None, {"features": {"country": {}}}, 'features has "country", which the model does not take'),
    "a rule of the pipeline": (None, {"features": {"age": {"impute": {}}}}, '"age": impute cannot be set here'),
    "another dtype": (None, {"features": {"age": {"dtype": "text"}}}, "dtype is 'text', and the rows have f64"),
    "reserved": (None, {"about": {"sha256": ""}}, "about has sha256, which export writes itself"),
    "rules that refuse all rows": (
        None,
        {"features": {"visits": {"domain": {"min": 1000}, "on_out_of_range": "dead_letter"}}},
        "all rows would be dead letters, by the rules; row 0: visits is",
    ),
    "another value for missing": (
        lambda: xgboost.XGBClassifier(n_estimators=2, missing=0.0).fit(NO_GAPS[NUMBERS], NO_GAPS["fraud"]),
        {"rows": NO_GAPS},
        r"XGBClassifier\(missing=0.0\): the engine's missing value is NaN",
    ),
    "gaps that the model does not take": (
        lambda: LogisticRegression().fit(NO_GAPS[["amount"]], NO_GAPS["fraud"]),
        {},
        "the model itself fails on the rows: Input.*NaN.*put a SimpleImputer before it",
    ),
    "no model at the end": (
        lambda: make_pipeline(SimpleImputer(), StandardScaler()).fit(NO_GAPS[NUMBERS]),
        {},
        "StandardScaler does not predict: the last step of the pipeline has to be a model",
    ),
    "no probabilities": (
        lambda: SVC().fit(NO_GAPS[["visits"]], NO_GAPS["fraud"]),
        {},
        "SVC has no probabilities, and the score is one; wrap it in CalibratedClassifierCV",
    ),
    "a ranker": (
        lambda: lightgbm.LGBMRanker(n_estimators=2, verbose=-1).fit(NO_GAPS[NUMBERS], NO_GAPS["fraud"], group=[400]),
        {"rows": NO_GAPS},
        "LGBMRanker cannot be exported; take LGBMClassifier",
    ),
}


@pytest.mark.parametrize("kind", CALLS)
def test_calls(kind, tmp_path):
    make, options, reason = CALLS[kind]
    numbers = ["amount", "age", "visits"]
    model = make() if make else fitted(SimpleImputer(), StandardScaler(), names=numbers)
    options = {"rows": DATA, "root": tmp_path, "name": "m"} | options
    with pytest.raises(tidemill.ExportError, match=reason):
        tidemill.export(model, **options)
    assert list(tmp_path.iterdir()) == []


def test_scores_that_are_not_those_of_the_model(tmp_path):
    """Values that are one f32, and not one f64: the trees split between them."""
    rows = pd.DataFrame({"time": 1.7e12 + np.arange(400.0)})
    model = RandomForestClassifier(n_estimators=3, random_state=0).fit(rows - 1.7e12, np.arange(400) % 2)
    tidemill.export(model, rows - 1.7e12, root=tmp_path, name="good")
    model = lightgbm.LGBMClassifier(n_estimators=3, verbose=-1).fit(rows, np.arange(400) > 200)
    with pytest.raises(tidemill.ExportError, match=r"\d+ of 400 rows have other scores as ONNX.*rounded to f32"):
        tidemill.export(model, rows, root=tmp_path, name="bad")
    assert not (tmp_path / "bad").exists()


def test_a_none_that_the_pipeline_does_not_take_for_missing(tmp_path):
    rows = NO_GAPS[["country"]].astype(object)
    encoder = make_pipeline(SimpleImputer(strategy="constant", fill_value="DE"), OneHotEncoder(handle_unknown="ignore"))
    model = make_pipeline(encoder, LogisticRegression()).fit(rows, NO_GAPS["fraud"])
    rows.loc[::2, "country"] = None
    with pytest.raises(tidemill.ExportError, match="a None is in the rows where the pipeline takes NaN"):
        tidemill.export(model, rows, root=tmp_path, name="m")


def test_no_row_with_a_score(tmp_path):
    rows = pd.DataFrame({"amount": [np.inf, np.inf]})
    model = xgboost.XGBClassifier(n_estimators=2).fit(NO_GAPS[["amount"]], NO_GAPS["fraud"])
    with pytest.raises(tidemill.TidemillError, match="no row has"):
        tidemill.export(model, rows, root=tmp_path, name="m")


@pytest.mark.parametrize(("values", "reason"), [([1, "a"], "has values of int, str"), ([(1,), (2,)], "has values of tuple")])
def test_values_that_are_no_features(values, reason, tmp_path):
    model = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
    with pytest.raises(tidemill.ExportError, match=reason):
        tidemill.export(model, pd.DataFrame({"x": pd.Series(values, dtype=object)}), root=tmp_path, name="m")


def test_chunks_that_nothing_is_learned_from(tmp_path):
    learned = {"amount": {"drift": {"method": "psi", "threshold": "learned"}}}
    model = xgboost.XGBClassifier(n_estimators=2).fit(NO_GAPS[["amount"]], NO_GAPS["fraud"])
    for rows, chunks, features, reason in [
        (NO_GAPS, 1, {}, "chunks is 1: a threshold is learned from at least 2"),
        (NO_GAPS, -3, {}, "chunks is -3"),
        (NO_GAPS, 0, learned, 'the threshold of drift of "amount" is learned, which takes chunks'),
        (NO_GAPS[:1], 10, learned, "and at least 2 rows"),
        (NO_GAPS.assign(ts=pd.Series([1, "a"] * 200, dtype=object)), 10, {}, 'cannot be sorted by "ts"'),
    ]:
        with pytest.raises(tidemill.ExportError, match=reason):
            tidemill.export(model, rows, root=tmp_path, name="m", chunks=chunks, features=features)
    assert not list(tmp_path.iterdir())


def test_names_with_commas(tmp_path):
    model = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
    with pytest.raises(tidemill.ExportError, match='"a,b" has a comma'):
        tidemill.export(model, [{"a,b": 1.0}], root=tmp_path, name="m")


def test_without_onnxmltools(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxmltools.convert.xgboost.operator_converters.XGBoost", None)
    model = xgboost.XGBClassifier(n_estimators=2).fit(NO_GAPS[NUMBERS], NO_GAPS["fraud"])
    with pytest.raises(tidemill.ExportError, match="XGBClassifier needs onnxmltools: pip install onnxmltools"):
        tidemill.export(model, NO_GAPS, root=tmp_path, name="m")
