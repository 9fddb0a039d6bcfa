"""Each kind of model: the ONNX file on encoded rows gives the scores of the pipeline itself, on rows it was not fitted on."""

import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from conftest import COUNTRIES, feature, golden, payments, scores_of
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
)
from sklearn.feature_selection import SelectKBest
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, OneHotEncoder, OrdinalEncoder, RobustScaler, StandardScaler
from sklearn.tree import DecisionTreeClassifier

import tidemill

NUMBERS = ["amount", "age", "visits", "known"]
TEXTS = ["country", "channel"]


def median(**options):
    return SimpleImputer(strategy="median", **options)


def ordinal(**options):
    return OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, **options)


def one_hot(**options):
    return OneHotEncoder(handle_unknown="ignore", **options)


def most_frequent():
    return SimpleImputer(strategy="most_frequent")


def logistic():
    return LogisticRegression(max_iter=500)


def forest():
    return RandomForestClassifier(n_estimators=20, max_depth=6, random_state=0)


def boosted():
    return xgboost.XGBClassifier(n_estimators=30, max_depth=4, random_state=0, n_jobs=1)


def light():
    return lightgbm.LGBMClassifier(n_estimators=30, random_state=0, n_jobs=1, verbose=-1)


def columns(*branches, **options):
    return ColumnTransformer(list(branches), **options)


# The model, and the columns that it takes.
KINDS = {
    "xgboost with NaN": (boosted(), NUMBERS),
    "lightgbm with NaN": (light(), NUMBERS),
    "histogram gradient boosting with NaN": (HistGradientBoostingClassifier(max_iter=20, random_state=0), NUMBERS),
    "logistic, scaler, median, indicator": (make_pipeline(median(add_indicator=True), StandardScaler(), logistic()), NUMBERS),
    "logistic, scaler before imputer": (make_pipeline(StandardScaler(), median(), logistic()), NUMBERS),
    "forest, ordinal and one-hot": (
        make_pipeline(
            columns(("n", median(add_indicator=True), NUMBERS), ("o", ordinal(), ["country"]), ("h", one_hot(), ["channel"])),
            forest(),
        ),
        NUMBERS + TEXTS,
    ),
    "logistic, all of it in branches": (
        make_pipeline(
            columns(
                ("n", make_pipeline(median(add_indicator=True), StandardScaler()), ["age", "amount"]),
                ("h", make_pipeline(most_frequent(), one_hot(sparse_output=False)), TEXTS),
                ("m", MinMaxScaler(), ["visits"]),
                remainder="passthrough",
            ),
            logistic(),
        ),
        NUMBERS + TEXTS,
    ),
    "one-hot without the first": (
        make_pipeline(columns(("n", median(), NUMBERS), ("h", OneHotEncoder(drop="first", handle_unknown="ignore"), TEXTS)), logistic()),
        NUMBERS + TEXTS,
    ),
    "imputed after the ordinal code": (
        make_pipeline(
            columns(
                (
                    "o",
                    make_pipeline(OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan), median(add_indicator=True)),
                    TEXTS,
                ),
                ("n", median(), NUMBERS),
            ),
            forest(),
        ),
        NUMBERS + TEXTS,
    ),
    "a constant for missing texts": (
        make_pipeline(
            columns(
                ("o", make_pipeline(SimpleImputer(strategy="constant", fill_value="none"), ordinal()), ["country"]),
                ("h", make_pipeline(SimpleImputer(strategy="constant", fill_value="none"), one_hot()), ["channel"]),
                ("n", SimpleImputer(strategy="constant", fill_value=-7.5), ["age", "amount"]),
            ),
            forest(),
        ),
        NUMBERS + TEXTS,
    ),
    "texts for lightgbm, NaN as a code of its own": (
        make_pipeline(
            columns(("o", ordinal(encoded_missing_value=-2), ["country"]), ("p", ordinal(), ["channel"]), remainder="passthrough"),
            light(),
        ),
        NUMBERS + TEXTS,
    ),
    "texts for xgboost": (
        make_pipeline(columns(("h", one_hot(), TEXTS), ("n", "passthrough", NUMBERS)), boosted()),
        NUMBERS + TEXTS,
    ),
    "steps after the rules": (
        make_pipeline(median(), StandardScaler(), SelectKBest(k=3), PCA(2), logistic()),
        NUMBERS,
    ),
    "a union": (
        make_pipeline(
            FeatureUnion([("v", make_pipeline(median(), StandardScaler())), ("i", MissingIndicator()), ("w", median())]), logistic()
        ),
        NUMBERS,
    ),
    "a column twice, scaled and as it is": (
        make_pipeline(columns(("a", StandardScaler(), ["visits", "known"]), ("b", "passthrough", ["known", "visits"])), logistic()),
        NUMBERS,
    ),
    "gradient boosting": (make_pipeline(median(), GradientBoostingClassifier(n_estimators=10, random_state=0)), NUMBERS),
    "a grid search": (
        GridSearchCV(make_pipeline(median(), StandardScaler(), logistic()), {"logisticregression__C": [0.1, 1.0]}, cv=2),
        NUMBERS,
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_those_of_the_pipeline(kind, data, export):
    model, names = KINDS[kind]
    model.fit(data[names], data["fraud"])
    exported = export(model, data, "fraud")
    for seed in range(3):
        rows = payments(100 + seed, 1000)
        own = model.predict_proba(rows[names])[:, 1]
        found = scores_of(exported, tidemill.encode(exported.spec, rows))
        differs = np.abs(found - own)
        print(f"{kind}: {differs.max():.3g}")
        assert differs.max() < 1e-6


@pytest.mark.parametrize("kind", ["forest, ordinal and one-hot", "imputed after the ordinal code", "one-hot without the first"])
def test_unknown_categories(kind, data, export):
    model, names = KINDS[kind]
    model.fit(data[names], data["fraud"])
    exported = export(model, data, "fraud")
    rows = payments(5, 300)
    rows.loc[::3, "country"] = "ZZ"
    rows.loc[::2, "channel"] = "carrier pigeon"
    found = scores_of(exported, tidemill.encode(exported.spec, rows))
    np.testing.assert_allclose(found, model.predict_proba(rows[names])[:, 1], atol=1e-6)


@pytest.mark.parametrize("strategy", ["mean", "median", "most_frequent"])
def test_imputed_values_are_those_of_the_imputer_to_the_bit(strategy, data, export):
    model = make_pipeline(SimpleImputer(strategy=strategy), StandardScaler(), logistic()).fit(data[NUMBERS], data["fraud"])
    exported = export(model, data)
    spec = tidemill.read_spec(exported.folder / "features.json")
    assert spec == exported.spec
    for one, value in zip(spec["features"], model[0].statistics_, strict=True):
        assert one["impute"] == {"strategy": strategy, "value": value}


def test_rules_of_texts(data, export):
    model = make_pipeline(
        columns(
            ("n", median(add_indicator=True), ["age"]),
            ("h", one_hot(), ["channel"]),
            ("o", make_pipeline(most_frequent(), ordinal()), ["country"]),
        ),
        forest(),
    ).fit(data, data["fraud"])
    exported = export(model, data)
    country = data["country"].mode()[0]
    assert exported.spec["features"] == [
        {
            "name": "age",
            "dtype": "f64",
            "input": "features",
            "position": 0,
            "impute": {"strategy": "median", "value": data["age"].median()},
            "indicator": 1,
        },
        {
            "name": "country",
            "dtype": "text",
            "input": "features",
            "position": 6,
            "vocabulary": COUNTRIES,
            "encode": "ordinal",
            "unknown": "code",
            "unknown_code": -1,
            "impute": {"strategy": "most_frequent", "value": COUNTRIES.index(country)},
        },
        {
            "name": "channel",
            "dtype": "text",
            "input": "features",
            "position": 2,
            "vocabulary": ["app", "shop, till", "web"],
            "encode": "one_hot",
            "unknown": "code",
            "impute": {"strategy": "constant", "value": -1},
            "indicator": 5,
        },
    ]
    assert tidemill.column_names(exported.spec) == [
        *("age", "age:missing", "channel=app", "channel=shop%2C till", "channel=web", "channel:missing", "country")
    ]


def test_unknown_is_a_dead_letter_where_the_encoder_fails(export):
    data = payments(3, gaps=False)
    model = make_pipeline(columns(("h", OneHotEncoder(), ["country"]), ("o", OrdinalEncoder(), ["channel"])), forest())
    exported = export(model.fit(data, data["fraud"]), data)
    rows = data.head(4).assign(country=["DE", "ZZ", np.nan, "FR"])
    assert tidemill.dead_letters(exported.spec, rows) == {
        1: 'country is "ZZ", which is not in the vocabulary',
        2: "country is missing, which is out of range",
    }
    with pytest.raises(tidemill.DeadLetterError, match="2 of 4 rows would be dead letters; row 1"):
        tidemill.encode(exported.spec, rows)
    assert all(line["features"]["country"] in COUNTRIES for line in golden(exported))


def test_a_column_without_any_value_is_left_out(data, export):
    data = data.assign(empty=np.nan)
    names = ["empty", *NUMBERS]
    model = make_pipeline(median(add_indicator=True), StandardScaler(), logistic()).fit(data[names], data["fraud"])
    exported = export(model, data)
    found = scores_of(exported, tidemill.encode(exported.spec, data))
    np.testing.assert_allclose(found, model.predict_proba(data[names])[:, 1], atol=1e-6)
    assert "impute" not in feature(exported, "empty")


@pytest.mark.parametrize(
    "regressor",
    [
        xgboost.XGBRegressor(n_estimators=30, n_jobs=1),
        lightgbm.LGBMRegressor(n_estimators=30, n_jobs=1, verbose=-1),
        make_pipeline(median(), StandardScaler(), LinearRegression()),
    ],
)
def test_regressors(regressor, data, export):
    names = ["age", "visits", "known"]
    regressor.fit(data[names], data["visits"] * 3.5 + data["age"].fillna(40))
    exported = export(regressor, data, data["visits"])
    found = scores_of(exported, tidemill.encode(exported.spec, data), "variable", 0)
    np.testing.assert_allclose(found, regressor.predict(data[names]), rtol=1e-5)


def test_outliers(data, export):
    model = make_pipeline(median(), IsolationForest(n_estimators=20, random_state=0)).fit(data[NUMBERS])
    exported = export(model, data)
    found = scores_of(exported, tidemill.encode(exported.spec, data), "scores", 0)
    np.testing.assert_allclose(found, model.decision_function(data[NUMBERS]), atol=1e-5)


@pytest.mark.parametrize("kind", [xgboost.XGBClassifier, lightgbm.LGBMClassifier, LogisticRegression])
def test_three_classes(kind, data, export):
    kinds = np.array([0, 1, 2])[data["visits"] % 3]
    rows = data[["visits", "known"]]
    model = kind().fit(rows, kinds)
    with pytest.raises(tidemill.ExportError, match="3 classes: pass target="):
        export(model, rows)
    exported = export(model, rows, kinds, target=2)
    found = scores_of(exported, tidemill.encode(exported.spec, rows), column=2)
    np.testing.assert_allclose(found, model.predict_proba(rows)[:, 2], atol=1e-6)


def test_trees_after_the_best_iteration_are_left_out(data, export):
    train, test = data.iloc[:2000], data.iloc[2000:]
    model = xgboost.XGBClassifier(n_estimators=300, early_stopping_rounds=3, n_jobs=1, learning_rate=0.5)
    model.fit(train[NUMBERS], train["fraud"], eval_set=[(test[NUMBERS], test["fraud"])], verbose=False)
    assert model.best_iteration < model.get_booster().num_boosted_rounds() - 1
    exported = export(model, data)
    found = scores_of(exported, tidemill.encode(exported.spec, data))
    np.testing.assert_allclose(found, model.predict_proba(data[NUMBERS])[:, 1], atol=1e-6)
    # The model itself stays as it is.
    assert model.get_booster().feature_names == NUMBERS


def test_rows_of_dicts_and_arrays(data, export):
    numbers = data[NUMBERS].astype(float)
    model = boosted().fit(numbers.to_numpy(), data["fraud"])
    of_array = export(model, numbers.to_numpy(), names=NUMBERS)
    dicts = [{key: None if value != value else value for key, value in row.items()} for row in numbers.to_dict("records")]
    of_dicts = export(model, dicts)
    assert (of_array.folder / "model.onnx").read_bytes() == (of_dicts.folder / "model.onnx").read_bytes()
    left, right = tidemill.encode(of_array.spec, numbers.to_numpy()), tidemill.encode(of_array.spec, dicts)
    assert left.dtype == np.float32
    np.testing.assert_array_equal(left, right)
    np.testing.assert_array_equal(left, tidemill.encode(of_array.spec, numbers))


def test_texts_of_dicts(data, export):
    """A null of JSON is what the imputer of the pipeline takes for missing."""
    names = NUMBERS + TEXTS
    dicts = [{key: None if value != value else value for key, value in row.items()} for row in data[names].to_dict("records")]
    model, _ = KINDS["logistic, all of it in branches"]
    model.fit(data[names], data["fraud"])
    assert export(model, dicts).max_difference < 1e-6


def test_scaled_whole_numbers_in_trees(export):
    """Trees split exactly at a whole number that is scaled; f32 would get it wrong."""
    data = payments(1, gaps=False)
    scalers = (StandardScaler(), MinMaxScaler(), RobustScaler(), MaxAbsScaler(), RobustScaler(with_centering=False))
    for scaler in (*scalers, StandardScaler(with_mean=False), StandardScaler(with_std=False), RobustScaler(with_scaling=False)):
        model = make_pipeline(scaler, forest()).fit(data[["age", "visits"]], data["fraud"])
        exported = export(model, data)
        assert exported.differing_rows == 0
        assert exported.max_difference < 1e-6


def test_trees_of_scikit_learn_with_gaps(data, export):
    for model in (forest(), ExtraTreesClassifier(20, max_depth=6, random_state=0), DecisionTreeClassifier(max_depth=6)):
        if "Extra" in type(model).__name__:
            model = make_pipeline(median(), model)  # It takes NaN from scikit-learn 1.6 on.
        model.fit(data[NUMBERS], data["fraud"])
        exported = export(model, data)
        rows = payments(200)
        found = scores_of(exported, tidemill.encode(exported.spec, rows))
        np.testing.assert_allclose(found, model.predict_proba(rows[NUMBERS])[:, 1], atol=1e-6)


def test_names_with_blanks_of_lightgbm(data, export):
    rows = data[NUMBERS].rename(columns={"amount": "amount in euros"})
    exported = export(light().fit(rows, data["fraud"]), rows)
    assert exported.spec["features"][0]["name"] == "amount in euros"


def test_columns_that_no_step_takes_may_be_anything(data, export):
    rows = data.assign(at=pd.Timestamp("2026-11-30"), note="paid")
    model = make_pipeline(columns(("n", median(), NUMBERS)), logistic()).fit(rows, data["fraud"])
    assert [one["name"] for one in export(model, rows).spec["features"]] == NUMBERS


def test_a_pipeline_in_a_pipeline(data, export):
    inner = Pipeline([("impute", median()), ("scale", StandardScaler())])
    model = Pipeline([("prepare", inner), ("last", Pipeline([("model", logistic())]))]).fit(data[NUMBERS], data["fraud"])
    assert export(model, data).max_difference < 1e-6
