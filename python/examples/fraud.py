"""From a notebook to a running job: trains on what the program has computed, and exports a version that it can run.

    fraud_velocity --count 800000 --features features
    python fraud.py

Each `# %%` begins a cell, in the editors and notebooks that know them (in Jupyter with jupytext).
"""

# %% The features that the program computed: the ones it will compute for the model
import sys

import xgboost
from sklearn.metrics import average_precision_score, roc_auc_score

import tidemill

FEATURES, MODELS, NAME = "features", "models", "fraud_velocity"

rows = tidemill.load_training_set(FEATURES)
rows = rows.rename(columns={"ts": "event_time", "is_fraud": "label"})  # as JSON lines have them
rows = rows.sort_values(["event_time", "tx_id"], ignore_index=True)
names = [name for name in rows if name not in ("tx_id", "event_time", "label")]
print(f"{len(rows):,} transactions, {rows['label'].mean():.2%} frauds, {len(names)} features")

# %% By time: the last week is for the test, and the charge-backs of the week before it would not be known yet
day = (rows["event_time"] - rows["event_time"].iloc[0]) // 86_400_000
last = day.max()
# The longest feature looks at 30 days that lie 7 days back: before day 37 it is not full.
training = rows[(day >= 37) & (day < last - 14)]
test = rows[day >= last - 7]
if training["label"].nunique() < 2:
    sys.exit(f"{last + 1} days are too few: write features of at least 600000 transactions, which are 60 days")
print(f"{len(training):,} to train on, {len(test):,} to test")

# %% Any pipeline of scikit-learn, XGBoost or LightGBM
model = xgboost.XGBClassifier(n_estimators=100, max_depth=6, learning_rate=0.1, tree_method="hist", n_jobs=2, random_state=0)
model.fit(training[names], training["label"])
scores = model.predict_proba(test[names])[:, 1]
auc, precision = roc_auc_score(test["label"], scores), average_precision_score(test["label"], scores)
print(f"ROC AUC {auc:.3f}, average precision {precision:.3f}")

# %% What the engine is to know of the features, besides what it finds out itself
learned = {"drift": {"method": "jensen_shannon", "threshold": "learned"}}
rules = {name: learned for name in names if name.startswith(("card_", "terminal_"))}
rules["amount"] = learned | {"description": "in the currency of the card", "domain": {"min": 0.0, "disallow_nan": True}}
rules["is_night"] = {"drift": {"method": "psi", "threshold": 0.1}}

# %% The next version of the repository: the model, its rules, golden rows, and the baseline of drift
exported = tidemill.export(
    model,
    training,
    "label",
    root=MODELS,
    name=NAME,
    features=rules,
    about={"trained_on": f"days 37 to {last - 15}", "tested": {"roc_auc": round(float(auc), 3)}},
)
print(f"{exported.folder}: scores differ from those of XGBoost by up to {exported.max_difference:.1e}")

# %%
print(f"""
Next, let the program score by it, and compare what it sees with what the model was trained on:

    fraud_velocity --models {MODELS} --use-model {NAME}/{exported.version} --predictions predictions \\
        --drift drift --drift-alerts alerts --drift-window 7days --drift-sample 1
""")
