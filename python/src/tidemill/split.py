"""Splits a fitted pipeline: what is done to a single value becomes a rule of features.json, the rest stays a pipeline.

```text
ColumnTransformer ─┬─ SimpleImputer ─▶ impute, indicator │ StandardScaler ┐
                   ├─ OrdinalEncoder ─▶ code             │                ├─▶ LogisticRegression
                   └─ OneHotEncoder ─▶ positions         │                ┘
                     rules, by the engine                │ steps, in model.onnx
```

A column is followed through the steps. Where the first step comes that is no rule, the columns that are there become
those of the tensor, and this step and all after it stay. Invariant: the steps that stay get exactly the columns, in the
order, that they got when they were fitted.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.impute import KNNImputer, MissingIndicator, SimpleImputer
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder

from .errors import ExportError
from .rows import is_missing
from .spec import FORMAT, STRATEGIES, TENSOR, Feature, Spec


@dataclass(frozen=True)
class Encoding:
    """The rule that makes numbers of a text."""

    vocabulary: tuple[str, ...]
    encode: str
    unknown: str
    unknown_code: float | None = None
    # The encoder fails on a missing value: it has seen none.
    refuses_missing: bool = False


@dataclass(frozen=True)
class Column:
    """What a column of the data is, after the steps so far."""

    feature: int
    text: bool = False
    encoding: Encoding | None = None
    # Strategy and value. The value is a text as long as the column is one.
    impute: tuple[str, Any] | None = None
    # The index in the vocabulary that a column of one_hot is for.
    category: int | None = None
    indicator: bool = False

    def may_be_missing(self) -> bool:
        return self.impute is None and self.category is None and not self.indicator


@dataclass
class Plan:
    """Columns, and the fitted steps that they go through: in branches side by side, then one after the other."""

    columns: list[Column] = field(default_factory=list)
    branches: list[tuple[str, "Plan"]] = field(default_factory=list)
    steps: list[tuple[str, Any]] = field(default_factory=list)

    def is_rules(self) -> bool:
        """Whether all so far is rules, so that further ones may be added."""
        return not self.branches and not self.steps


def split(model: Any, names: Sequence[str], is_text: Sequence[bool]) -> tuple[Plan, Any]:
    """Returns the plan of the steps before the estimator, and the estimator."""
    plan = Plan([Column(at, text) for at, text in enumerate(is_text)])
    splitter = _Splitter(names)
    where = type(model).__name__
    while isinstance(model, Pipeline):
        for name, step in model.steps[:-1]:
            plan = splitter.apply(step, plan, f'step "{name}"')
        where, model = f'step "{model.steps[-1][0]}"', model.steps[-1][1]
    splitter.refuse_text(plan, model, where)
    return plan, model


class _Splitter:
    """Adds steps to a plan. `names` are those of the program's features."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self.rules: list[tuple[type, Callable[[Any, Plan, str], Plan]]] = [
            (SimpleImputer, self.simple_imputer),
            (MissingIndicator, self.missing_indicator),
            (OrdinalEncoder, self.ordinal_encoder),
            (OneHotEncoder, self.one_hot_encoder),
            (ColumnTransformer, self.column_transformer),
            (FeatureUnion, self.feature_union),
        ]

    def apply(self, step: Any, plan: Plan, where: str) -> Plan:
        if step is None or step == "passthrough" or (isinstance(step, FunctionTransformer) and step.func is None):
            return plan
        if isinstance(step, Pipeline):
            for name, inner in step.steps:
                plan = self.apply(inner, plan, f'{where}, "{name}"')
            return plan
        refuse(step, where)
        if plan.is_rules():
            for kind, rule in self.rules:
                if isinstance(step, kind):
                    return rule(step, plan, where)
        return self.keep(step, plan, where)

    def keep(self, step: Any, plan: Plan, where: str) -> Plan:
        """Leaves the step to the ONNX graph."""
        self.refuse_text(plan, step, where)
        return replace(plan, steps=[*plan.steps, (f"step{len(plan.steps)}", step)])

    def refuse_text(self, plan: Plan, step: Any, where: str) -> None:
        texts = [self.names[column.feature] for column in plan.columns if column.text and not column.indicator]
        if texts:
            raise ExportError(
                f'{where}: the text "{texts[0]}" gets to {type(step).__name__} as a text, and a model of the engine takes '
                "numbers only; put an OrdinalEncoder or OneHotEncoder before it, in the pipeline"
            )

    def simple_imputer(self, step: SimpleImputer, plan: Plan, where: str) -> Plan:
        if not is_missing(step.missing_values):
            if any(column.text for column in plan.columns):
                raise ExportError(
                    f"{where}: SimpleImputer(missing_values={step.missing_values!r}) on texts cannot be a rule, because the "
                    "engine's missing value is null; make it NaN in the rows and leave missing_values out"
                )
            return self.keep(step, plan, where)
        strategy = step.strategy if step.strategy in STRATEGIES else "constant"
        keeps_empty = strategy == "constant" or step.keep_empty_features
        columns = []
        for column, value in zip(plan.columns, step.statistics_, strict=True):
            if is_missing(value) and not keeps_empty:
                continue  # It had no value at all; scikit-learn leaves the column out.
            if column.may_be_missing() and not is_missing(value):
                column = replace(column, impute=(strategy, value if column.text else float(value)))
            columns.append(column)
        if step.add_indicator:
            columns += self.indicators(step.indicator_, plan, where)
        return Plan(columns)

    def missing_indicator(self, step: MissingIndicator, plan: Plan, where: str) -> Plan:
        if not is_missing(step.missing_values):
            return self.keep(step, plan, where)
        return Plan(self.indicators(step, plan, where))

    def indicators(self, step: MissingIndicator, plan: Plan, where: str) -> list[Column]:
        columns = [plan.columns[at] for at in step.features_]
        for column in columns:
            if not column.may_be_missing():
                raise ExportError(
                    f'{where}: the indicator of "{self.names[column.feature]}" comes after it has been imputed or made '
                    "one-hot, so it says nothing; put it before"
                )
        return [replace(column, indicator=True) for column in columns]

    def ordinal_encoder(self, step: OrdinalEncoder, plan: Plan, where: str) -> Plan:
        columns = []
        for at, column in enumerate(plan.columns):
            vocabulary, missing, where_column = self.categories(step, at, column, where)
            if step.handle_unknown == "error":
                encoding = Encoding(vocabulary, "ordinal", "dead_letter")
            elif is_missing(step.unknown_value):
                encoding = Encoding(vocabulary, "ordinal", "missing")
            else:
                encoding = Encoding(vocabulary, "ordinal", "code", step.unknown_value)
            encoding, impute = self.missing_code(
                encoding, column, missing, where_column, unknown=encoding.unknown_code, own=step.encoded_missing_value
            )
            if encoding.unknown == "missing" and impute is not None:
                raise ExportError(
                    f"{where_column}: unknown categories become NaN and missing values become {impute[1]}, which the engine "
                    "cannot tell apart; set unknown_value=-1, or impute after the encoder"
                )
            columns.append(replace(column, text=False, encoding=encoding, impute=impute))
        return Plan(columns)

    def one_hot_encoder(self, step: OneHotEncoder, plan: Plan, where: str) -> Plan:
        if step.handle_unknown not in ("error", "ignore"):
            raise ExportError(
                f'{where}: OneHotEncoder(handle_unknown="{step.handle_unknown}") cannot be exported, because its ONNX graph '
                'fails on unknown categories; fit it with handle_unknown="ignore"'
            )
        columns = []
        for at, column in enumerate(plan.columns):
            vocabulary, missing, where_column = self.categories(step, at, column, where)
            unknown = "dead_letter" if step.handle_unknown == "error" else "code"
            encoding = Encoding(vocabulary, "one_hot", unknown)
            encoding, impute = self.missing_code(encoding, column, missing, where_column, unknown=-1, own=None)
            column = replace(column, text=False, encoding=encoding, impute=impute)
            hot = [replace(column, category=category) for category in range(len(vocabulary))]
            if missing:
                # scikit-learn has the missing value last, as a category like any other.
                hot.append(replace(column, impute=None, indicator=True))
            dropped = None if step.drop_idx_ is None else step.drop_idx_[at]
            columns += [one for category, one in enumerate(hot) if category != dropped]
        return Plan(columns)

    def categories(self, step: Any, at: int, column: Column, where: str) -> tuple[tuple[str, ...], list[Any], str]:
        """Returns the texts among the categories of a column, and what the encoder has for missing."""
        where = f'{where}: {type(step).__name__} of "{self.names[column.feature]}"'
        found = list(step.categories_[at])
        infrequent = getattr(step, "infrequent_categories_", None)
        if infrequent is not None and infrequent[at] is not None:
            raise ExportError(
                f"{where} puts infrequent categories together, which is no rule of the engine; leave min_frequency and "
                "max_categories out, and name rare categories alike in the program"
            )
        texts = [category for category in found if isinstance(category, str)]
        missing = [category for category in found if is_missing(category)]
        if not column.text or column.encoding or len(texts) + len(missing) != len(found) or not texts:
            raise ExportError(
                f"{where} is fitted on values that are no texts ({', '.join(map(repr, found[:3]))}); the engine encodes "
                "texts only: give the numbers to the model as they are, or make texts of them, in the program and in the rows"
            )
        if len(missing) > 1 or (missing and not is_missing(found[-1])):
            raise ExportError(f"{where} has None or NaN among its categories twice or not last; have one of them, last")
        return tuple(str(text) for text in texts), missing, where

    def missing_code(
        self, encoding: Encoding, column: Column, missing: list[Any], where: str, *, unknown: Any, own: Any
    ) -> tuple[Encoding, tuple[str, Any] | None]:
        """Returns what a missing text becomes: `unknown` is the code of unknown ones, `own` that of a NaN category."""
        if column.impute is not None:
            strategy, text = column.impute
            if text in encoding.vocabulary:
                return encoding, (strategy, encoding.vocabulary.index(text))
            if encoding.unknown == "dead_letter":
                raise ExportError(f'{where} does not know "{text}", which is imputed before it, and fails; add the category')
            return encoding, None if encoding.unknown == "missing" else (strategy, unknown)
        if missing and encoding.encode == "one_hot":
            return encoding, ("constant", -1)
        if missing and missing[0] is None:
            return encoding, ("constant", len(encoding.vocabulary))
        if missing:
            return encoding, None if is_missing(own) else ("constant", own)
        # No value was missing when it was fitted: a missing one is unknown.
        if encoding.unknown == "code":
            return encoding, ("constant", unknown)
        return replace(encoding, refuses_missing=encoding.unknown == "dead_letter"), None

    def column_transformer(self, step: ColumnTransformer, plan: Plan, where: str) -> Plan:
        if step.transformer_weights:
            raise ExportError(f"{where}: transformer_weights cannot be exported; scale in the pipeline instead")
        branches = []
        for name, inner, _ in step.transformers_:
            at = step._transformer_to_input_indices.get(name, [])
            if (isinstance(inner, str) and inner == "drop") or len(at) == 0:
                continue
            branch = Plan([plan.columns[index] for index in at])
            branches.append((name, self.apply(inner, branch, f'{where}, "{name}"')))
        return _beside(branches)

    def feature_union(self, step: FeatureUnion, plan: Plan, where: str) -> Plan:
        if step.transformer_weights:
            raise ExportError(f"{where}: transformer_weights cannot be exported; scale in the pipeline instead")
        inner = [(name, one) for name, one in step.transformer_list if not (isinstance(one, str) and one == "drop")]
        return _beside([(name, self.apply(one, replace(plan), f'{where}, "{name}"')) for name, one in inner])


def _beside(branches: list[tuple[str, Plan]]) -> Plan:
    if all(plan.is_rules() for _, plan in branches):
        return Plan([column for _, plan in branches for column in plan.columns])
    return Plan(_all_columns(branches), branches)


def _all_columns(branches: list[tuple[str, Plan]]) -> list[Column]:
    return [column for _, plan in branches for column in plan.columns]


def refuse(step: Any, where: str) -> None:
    """Refuses a step that neither is a rule nor can be converted, and says what to do instead."""
    kind = type(step).__name__
    if kind == "IterativeImputer" or isinstance(step, KNNImputer):
        raise ExportError(
            f"{where}: {kind} cannot be exported, because what it fills in depends on other rows or features and has no "
            'ONNX operator; take SimpleImputer(strategy="median", add_indicator=True), or a model that takes NaN'
        )
    if isinstance(step, FunctionTransformer) and step.func is not None:
        function = getattr(step.func, "__name__", repr(step.func))
        raise ExportError(
            f"{where}: FunctionTransformer({function}) is Python code, which the engine does not run; compute it in the "
            "program, as a feature of its own"
        )
    nested = getattr(step, "transformers_", None) or getattr(step, "transformer_list", None) or getattr(step, "steps", None)
    for name, inner, *_ in nested if isinstance(nested, list) else []:
        if not isinstance(inner, str):
            refuse(inner, f'{where}, "{name}"')


@dataclass
class Tensor:
    """The columns of the tensor: which rule of which feature fills each."""

    spec: Spec
    place: dict[tuple[int, Any], int]

    def column(self, column: Column) -> int:
        return self.place[_key(column)]


def _key(column: Column) -> tuple[int, Any]:
    return column.feature, "missing" if column.indicator else column.category


def lay_out(plan: Plan, model: str, names: Sequence[str], dtypes: Sequence[str]) -> Tensor:
    """Gives each column its place in the tensor: in the order of the plan, where the rules allow it."""
    rules = {feature: _rule(plan, feature, names) for feature in sorted({column.feature for column in plan.columns})}
    place: dict[tuple[int, Any], int] = {}

    def block(feature: int) -> None:
        encoding = rules[feature].encoding
        one_hot = encoding is not None and encoding.encode == "one_hot"
        for category in range(len(encoding.vocabulary)) if one_hot else [None]:
            place.setdefault((feature, category), len(place))

    for column in plan.columns:
        if column.indicator:
            place.setdefault(_key(column), len(place))
        else:
            block(column.feature)
    for feature in rules:
        block(feature)  # Of some only the indicator is used; a feature has a column all the same.
    features = [_feature(rule, names[feature], dtypes[feature], place) for feature, rule in rules.items()]
    return Tensor({"format": FORMAT, "model": model, "features": features, "width": len(place)}, place)


def _rule(plan: Plan, feature: int, names: Sequence[str]) -> Column:
    """Returns the one rule of a feature, as a column that has no category."""
    of_it = [column for column in plan.columns if column.feature == feature]
    found = {replace(column, category=None) for column in of_it if not column.indicator}
    if len(found) > 1:
        raise ExportError(
            f'"{names[feature]}" is encoded or imputed in two ways, and the engine has one rule for a feature; give the '
            "program a second feature with the same value under another name"
        )
    indicators = [column for column in of_it if column.indicator]
    rule = found.pop() if found else replace(indicators[0], indicator=False, impute=None)
    if rule.text:
        raise ExportError(f'only the indicator of the text "{names[feature]}" is used; make it a bool in the program')
    early = any(column.encoding is None for column in indicators)
    if early and rule.encoding is not None and rule.encoding.unknown == "missing":
        raise ExportError(
            f'the indicator of "{names[feature]}" does not count unknown categories, which the engine would count as '
            "missing; set unknown_value=-1 in the OrdinalEncoder"
        )
    return rule


def _feature(rule: Column, name: str, dtype: str, place: dict[tuple[int, Any], int]) -> Feature:
    at, encoding = rule.feature, rule.encoding
    first = 0 if encoding is not None and encoding.encode == "one_hot" else None
    feature: Feature = {"name": name, "dtype": dtype, "input": TENSOR, "position": place[at, first]}
    if encoding is not None:
        feature["vocabulary"] = list(encoding.vocabulary)
        feature["encode"] = encoding.encode
        feature["unknown"] = encoding.unknown
        if encoding.encode == "ordinal" and encoding.unknown == "code":
            feature["unknown_code"] = _plain(encoding.unknown_code)
        if encoding.refuses_missing:
            feature["domain"] = {"disallow_nan": True}
            feature["on_out_of_range"] = "dead_letter"
    if rule.impute is not None:
        strategy, value = rule.impute
        if not math.isfinite(value):
            raise ExportError(f'"{name}" is imputed with {value}, which JSON has no number for; impute a finite one')
        feature["impute"] = {"strategy": strategy, "value": _plain(value)}
    if (at, "missing") in place:
        feature["indicator"] = place[at, "missing"]
    return feature


def _plain(value: Any) -> int | float:
    return value.item() if isinstance(value, np.generic) else value


def rest(plan: Plan, estimator: Any, tensor: Tensor) -> Any:
    """Returns the pipeline of what stays: it takes the tensor."""
    steps, columns = _steps(plan, tensor)
    if columns != list(range(tensor.spec["width"])):
        steps = [("take", _columns([("taken", [], columns)], tensor.spec["width"])), *steps]
    return Pipeline([*steps, ("model", estimator)]) if steps else estimator


def _steps(plan: Plan, tensor: Tensor) -> tuple[list[tuple[str, Any]], list[int]]:
    """Returns the steps, and the columns of the tensor that they take."""
    if not plan.branches:
        return plan.steps, [tensor.column(column) for column in plan.columns]
    width = tensor.spec["width"]
    branches = [(name, *_steps(branch, tensor)) for name, branch in plan.branches]
    return [("branches", _columns(branches, width)), *plan.steps], list(range(width))


def _columns(branches: list[tuple[str, list[tuple[str, Any]], list[int]]], width: int) -> ColumnTransformer:
    """Returns a ColumnTransformer of fitted branches: name, steps, columns. It is for the converter, and does not transform."""
    made: list[tuple[str, Any, list[int]]] = []
    for name, steps, columns in branches:
        # skl2onnx takes as many columns as there are for all of them in their own order: two parts are never as many.
        if len(columns) == width and columns != list(range(width)):
            parts = [(f"{name}_{part}", "passthrough", one.tolist()) for part, one in enumerate(np.array_split(columns, 2))]
            if not steps:
                made += parts
                continue
            steps, columns = [("order", _fitted(parts)), *steps], list(range(width))
        made.append((name, Pipeline(steps) if steps else "passthrough", columns))
    return _fitted(made)


def _fitted(branches: list[tuple[str, Any, list[int]]]) -> ColumnTransformer:
    transformer = ColumnTransformer(branches)
    transformer.transformers_ = branches
    return transformer
