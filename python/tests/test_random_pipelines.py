"""Random pipelines on random rows with gaps and unknown categories: the file scores as the pipeline does."""

import lightgbm
import numpy as np
import pytest
from conftest import payments, scores_of
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, RobustScaler, StandardScaler

import tidemill


def numbers(rng, imputed):
    """Steps for numbers; `imputed` if the model takes no NaN."""
    steps = []
    if imputed or rng.random() < 0.5:
        steps.append(SimpleImputer(strategy=str(rng.choice(["mean", "median", "most_frequent"])), add_indicator=bool(rng.integers(2))))
    if imputed and rng.random() < 0.5:
        steps.append(rng.choice([StandardScaler(), RobustScaler()]))
    return steps


def texts(rng, imputed):
    fill = [SimpleImputer(strategy="most_frequent"), SimpleImputer(strategy="constant", fill_value=str(rng.choice(["none", "DE"])))]
    before = [fill[rng.integers(2)]] if rng.random() < 0.5 else []
    if rng.random() < 0.5:
        drop = [None, "first", "if_binary"][rng.integers(3)]
        return [*before, OneHotEncoder(handle_unknown="ignore", drop=drop, sparse_output=bool(rng.integers(2)))]
    to_nan = not before and rng.random() < 0.5
    own = np.nan if to_nan or imputed or rng.random() < 0.5 else -2
    encoder = OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=np.nan if to_nan else int(rng.choice([-1, 99])), encoded_missing_value=own
    )
    after = SimpleImputer(strategy=str(rng.choice(["median", "most_frequent"])), add_indicator=bool(rng.integers(2)))
    return [*before, encoder, after] if imputed or rng.random() < 0.5 else [*before, encoder]


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.filterwarnings("ignore:Found unknown categories")
def test_pipeline(seed, export):
    rng = np.random.default_rng(seed)
    estimators = [
        LogisticRegression(max_iter=1000),
        RandomForestClassifier(5, max_depth=5, random_state=0),
        lightgbm.LGBMClassifier(n_estimators=5, verbose=-1),
        HistGradientBoostingClassifier(max_iter=5),
    ]
    estimator = estimators[rng.integers(4)]
    imputed = isinstance(estimator, LogisticRegression)
    branches = []
    for kind, names in ((numbers, ["amount", "age", "visits", "known"]), (texts, ["country", "channel"])):
        names = rng.permutation(names).tolist()
        at = int(rng.integers(0, len(names)))
        for part in (names[:at], names[at:]):
            if part:
                steps = kind(rng, imputed)
                branches.append((f"b{len(branches)}", make_pipeline(*steps) if steps else "passthrough", part))
    rng.shuffle(branches)
    model = make_pipeline(ColumnTransformer([tuple(branch) for branch in branches]), estimator)
    data = payments(1000 + seed, 600).astype({"known": int})  # SimpleImputer takes no bools that are alone.
    model.fit(data, data["fraud"])
    exported = export(model, data, "fraud")

    rows = payments(2000 + seed, 300).astype({"known": int})
    for name in ("country", "channel"):
        rows.loc[rng.random(len(rows)) < 0.2, name] = "other"
    found = scores_of(exported, tidemill.encode(exported.spec, rows))
    np.testing.assert_allclose(found, model.predict_proba(rows)[:, 1], atol=1e-6, err_msg=str(model))
