"""Converts an estimator, or a pipeline of numbers, to ONNX, and scores rows by ONNX Runtime."""

import copy
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from skl2onnx import convert_sklearn, update_registered_converter
from skl2onnx.algebra.onnx_ops import OnnxAdd, OnnxCast, OnnxDiv, OnnxMul, OnnxSub
from skl2onnx.common.data_types import FloatTensorType
from skl2onnx.common.shape_calculator import (
    calculate_linear_classifier_output_shapes,
    calculate_linear_regressor_output_shapes,
)
from sklearn.base import is_classifier
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor, RandomForestClassifier, RandomForestRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from .errors import ExportError
from .rows import is_missing
from .spec import TENSOR

# What the engine's own code for trees reads.
OPSETS = {"": 15, "ai.onnx.ml": 3}
# Rows of a run; a fixed number, because a score may depend on its batch in the last bits.
BATCH = 64


def is_xgboost(estimator: Any) -> bool:
    return type(estimator).__module__.split(".")[0] == "xgboost"


def is_lightgbm(estimator: Any) -> bool:
    return type(estimator).__module__.split(".")[0] == "lightgbm"


def to_onnx(model: Any, width: int, name: str, columns: Sequence[str], spec_sha256: str) -> bytes:
    """Converts what takes the tensor. The same model gives the same bytes."""
    estimator = model.steps[-1][1] if isinstance(model, Pipeline) else model
    prepared = _prepared(estimator)
    model = Pipeline([*model.steps[:-1], ("model", prepared)]) if isinstance(model, Pipeline) else prepared
    options = {id(prepared): {"zipmap": False}} if hasattr(prepared, "predict_proba") else None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            proto = convert_sklearn(
                model,
                name=name,
                initial_types=[(TENSOR, FloatTensorType([None, width]))],
                target_opset=OPSETS,
                options=options,
                custom_conversion_functions=dict.fromkeys(SCALERS, _scale),
                custom_shape_calculators=dict.fromkeys(SCALERS, _same_shape),
            )
    except Exception as error:
        steps = [type(step).__name__ for _, step in model.steps] if isinstance(model, Pipeline) else [type(model).__name__]
        reason = str(error).strip().splitlines()
        raise ExportError(
            f"{' → '.join(steps)} cannot be converted to ONNX: {reason[0] if reason else type(error).__name__}; "
            "leave the step out, or compute it in the program"
        ) from error
    _track_missing(proto, estimator)
    proto.doc_string = ""
    proto.graph.name = name
    for key, value in (("model_name", name), ("feature_names", ",".join(columns)), ("tidemill.features", spec_sha256)):
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, value
    # The converter has them in the order of a set, which is another one in each process.
    proto.opset_import.sort(key=lambda opset: opset.domain)
    onnx.checker.check_model(proto)
    return proto.SerializeToString(deterministic=True)


# Their own converters compute in f32, which moves values across the thresholds of trees: a tree that was fitted on scaled
# whole numbers often splits exactly at one.
SCALERS = (StandardScaler, RobustScaler, MaxAbsScaler, MinMaxScaler)


def _scale(scope: Any, operator: Any, container: Any) -> None:
    """Converts a scaler to the operations that scikit-learn does, in f64, in this order."""
    scaler, opset = operator.raw_operator, container.target_opset
    if isinstance(scaler, MinMaxScaler):
        if scaler.clip:
            raise ValueError("MinMaxScaler(clip=True) has no conversion")
        steps = [(OnnxMul, scaler.scale_), (OnnxAdd, scaler.min_)]
    else:
        center = getattr(scaler, "center_", None)
        if isinstance(scaler, StandardScaler) and scaler.with_mean:  # Otherwise it has a mean, and does not use it.
            center = scaler.mean_
        steps = [(OnnxSub, center), (OnnxDiv, scaler.scale_)]
    value = OnnxCast(operator.inputs[0], to=onnx.TensorProto.DOUBLE, op_version=opset)
    for operation, constant in steps:
        if constant is not None:
            value = operation(value, np.asarray(constant, dtype=np.float64), op_version=opset)
    names = [operator.outputs[0].full_name]
    OnnxCast(value, to=onnx.TensorProto.FLOAT, op_version=opset, output_names=names).add_to(scope, container)


def _same_shape(operator: Any) -> None:
    operator.outputs[0].type = FloatTensorType(list(operator.inputs[0].type.shape))


FORESTS = (RandomForestClassifier, RandomForestRegressor, ExtraTreesClassifier, ExtraTreesRegressor)
TREES = (DecisionTreeClassifier, DecisionTreeRegressor)


def _track_missing(proto: onnx.ModelProto, estimator: Any) -> None:
    """Tells the trees of scikit-learn where a NaN goes, which its converter leaves out."""
    if not isinstance(estimator, FORESTS + TREES):
        return
    trees = [one.tree_ for one in estimator.estimators_] if isinstance(estimator, FORESTS) else [estimator.tree_]
    for node in proto.graph.node:
        if not node.op_type.startswith("TreeEnsemble"):
            continue
        attributes = {attribute.name: attribute for attribute in node.attribute}
        numbers = zip(attributes["nodes_treeids"].ints, attributes["nodes_nodeids"].ints, strict=True)
        left = [bool(trees[tree].__getstate__()["nodes"]["missing_go_to_left"][at]) for tree, at in numbers]
        attributes["nodes_missing_value_tracks_true"].ints[:] = [int(goes) for goes in left]


def _prepared(estimator: Any) -> Any:
    """Returns the estimator as the converters take it."""
    if is_xgboost(estimator):
        return _xgboost(estimator)
    if is_lightgbm(estimator):
        return _lightgbm(estimator)
    return estimator


def _xgboost(estimator: Any) -> Any:
    import xgboost

    name = type(estimator).__name__
    if name not in ("XGBClassifier", "XGBRegressor"):
        raise ExportError(f"{name} cannot be exported; take XGBClassifier or XGBRegressor")
    if "c" in (estimator.get_booster().feature_types or []):
        raise ExportError(f"{name} is fitted with categories of its own; put an OrdinalEncoder before it, in the pipeline")
    if not is_missing(estimator.missing):
        raise ExportError(f"{name}(missing={estimator.missing}): the engine's missing value is NaN; leave missing out")
    converter = _of_onnxmltools("xgboost.operator_converters.XGBoost", "convert_xgboost", name)
    classifier, regressor = calculate_linear_classifier_output_shapes, calculate_linear_regressor_output_shapes
    options = {"nocl": [True, False], "zipmap": [True, False, "columns"]}
    update_registered_converter(xgboost.XGBClassifier, "TidemillXGBClassifier", classifier, converter, options=options)
    update_registered_converter(xgboost.XGBRegressor, "TidemillXGBRegressor", regressor, converter)
    copied = copy.deepcopy(estimator)
    booster = copied.get_booster()
    if booster.attr("best_iteration") is not None:
        # Trees after it are not used, and the converter does not know of it.
        booster = booster[: int(booster.attr("best_iteration")) + 1]
        copied._Booster = booster
        copied.n_estimators = booster.num_boosted_rounds()
    # The converter takes only names that XGBoost has made up, and no splits by bools.
    booster.feature_names = booster.feature_types = None
    return copied


def _lightgbm(estimator: Any) -> Any:
    import lightgbm

    name = type(estimator).__name__
    if name not in ("LGBMClassifier", "LGBMRegressor"):
        raise ExportError(f"{name} cannot be exported; take LGBMClassifier or LGBMRegressor")
    if estimator.booster_.pandas_categorical:
        raise ExportError(f"{name} is fitted with categories of its own; put an OrdinalEncoder before it, in the pipeline")
    converter = _of_onnxmltools("lightgbm.operator_converters.LightGbm", "convert_lightgbm", name)
    classifier, regressor = calculate_linear_classifier_output_shapes, calculate_linear_regressor_output_shapes
    options = {"nocl": [True, False], "zipmap": [True, False, "columns"]}
    update_registered_converter(lightgbm.LGBMClassifier, "LightGbmLGBMClassifier", classifier, converter, options=options)
    update_registered_converter(lightgbm.LGBMRegressor, "LightGbmLGBMRegressor", regressor, converter, options={"split": None})
    return estimator


def _of_onnxmltools(module: str, function: str, name: str) -> Any:
    try:
        return getattr(__import__(f"onnxmltools.convert.{module}", fromlist=[function]), function)
    except ImportError as error:
        raise ExportError(f"{name} needs onnxmltools: pip install onnxmltools") from error


class Scorer:
    """Scores rows of the tensor by ONNX Runtime, on one thread."""

    def __init__(self, data: bytes, output: str, column: int) -> None:
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = settings.inter_op_num_threads = 1
        try:
            self.session = onnxruntime.InferenceSession(data, settings, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise ExportError(f"ONNX Runtime does not load the converted model: {error}") from error
        self.output, self.column = output, column
        floats = [found for found in self.session.get_outputs() if found.type == "tensor(float)"]
        named = [found for found in floats if found.name == output]
        if not named:
            shown = ", ".join(f'"{found.name}"' for found in floats)
            raise ExportError(f'the model has no output "{output}" of f32; it has: {shown}; pass output=')
        columns = named[0].shape[-1] if len(named[0].shape) == 2 else 1
        if isinstance(columns, int) and not 0 <= column < columns:
            raise ExportError(f'the output "{output}" has {columns} columns, and column is {column}')

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        parts = [rows[at : at + BATCH] for at in range(0, len(rows), BATCH)]
        scores = [self.session.run([self.output], {TENSOR: part})[0].reshape(len(part), -1) for part in parts]
        return np.concatenate([part[:, self.column] for part in scores]) if scores else np.zeros(0, np.float32)


def usual_output(estimator: Any) -> str:
    """Returns the name that the converters give to the output that is the score."""
    if is_classifier(estimator):
        return "probabilities"
    return "scores" if hasattr(estimator, "score_samples") else "variable"


def own_scores(model: Any, estimator: Any, rows: Any, column: int) -> np.ndarray | None:
    """Returns the scores by the library that the model is of, for the usual output."""
    output = usual_output(estimator)
    if output == "probabilities":
        if not hasattr(model, "predict_proba"):
            return None
        return np.asarray(model.predict_proba(rows), dtype=np.float64)[:, column]
    scores = model.decision_function(rows) if output == "scores" else model.predict(rows)
    return np.asarray(scores, dtype=np.float64).reshape(len(scores), -1)[:, column]
