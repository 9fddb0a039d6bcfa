"""Rows of a program's features: read from files, and brought into one form.

A missing value is a NaN, in text columns, too: that is what scikit-learn's SimpleImputer takes for missing.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types

from .errors import ExportError, TidemillError

Rows = pd.DataFrame | Sequence[Mapping[str, Any]] | np.ndarray

# So begin the names of the columns that the model gets.
# What the model gets for the features of a row: a list, whose columns are named in the metadata of a Parquet file.
AFTER = "after"
COLUMNS = b"tidemill.columns"
# How the engine writes infinities to JSON.
INFINITIES = {"Infinity": np.inf, "-Infinity": -np.inf}


def load_training_set(path: str | Path, *, after: bool = False) -> pd.DataFrame:
    """Reads a training set that a Tidemill program has written: one column for each feature and each other field.

    `path` is a file of JSON lines, a Parquet file (needs pyarrow), or a folder with either. The object `features` of a
    line is flattened: `{"ts": 1, "features": {"amount": 3.5}}` has the columns `amount` and `ts`.

    `after` of a row is what the model gets, by the rules of the features.json that the program had. It is left out unless
    `after` is true, since a pipeline is fitted on the features, and makes its own columns of them: then there is a column
    `after.NAME` for each of the model's, or `after.0` and so on from JSON lines, which have no names.
    """
    path = Path(path)
    if not path.exists():
        raise TidemillError(f'"{path}" is not there')
    files = sorted(file for file in path.iterdir() if file.suffix in (".jsonl", ".parquet")) if path.is_dir() else [path]
    if not files:
        raise TidemillError(f'"{path}" has no files .jsonl or .parquet')
    if len({file.suffix == ".parquet" for file in files}) == 2:
        raise TidemillError(f'"{path}" has both .jsonl and .parquet files: name one of them')
    # A file at a time: the lines of all together take several times the memory of the columns.
    parts = [_parquet(file, after) if file.suffix == ".parquet" else to_frame(list(_json(file, after))) for file in files]
    parts = [part for part in parts if len(part)]
    if not parts:
        raise TidemillError(f'"{path}" has no rows')
    if len(parts) == 1:
        return parts[0].reset_index(drop=True)
    # Where a column has no value, it says nothing about the type that it has in the other files.
    joined = pd.concat([part.dropna(axis="columns", how="all") for part in parts], ignore_index=True)
    return _tidied(joined.reindex(columns=list(dict.fromkeys(name for part in parts for name in part))))


def _json(file: Path, after: bool) -> Iterator[dict[str, Any]]:
    with open(file, encoding="utf-8") as lines:
        for at, text in enumerate(lines, 1):
            if not text.strip():
                continue
            try:
                line = json.loads(text)
            except ValueError as error:
                raise TidemillError(f'"{file}", line {at} is no JSON: {error}') from error
            if not isinstance(line, dict):
                raise TidemillError(f'"{file}", line {at} is no object')
            made = line.pop(AFTER, None)
            flat = _flat(line, f'"{file}", line {at}')
            if after and isinstance(made, list):
                flat |= {f"{AFTER}.{at}": value for at, value in enumerate(made)}
            yield flat


def _parquet(file: Path, after: bool) -> pd.DataFrame:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise TidemillError(f'"{file}" needs pyarrow: pip install "tidemill[parquet]", or write JSON lines') from error
    try:
        with parquet.ParquetFile(file) as opened:
            names = [name for name in opened.schema_arrow.names if after or name != AFTER]
            table = opened.read(names)
            made = (opened.metadata.metadata or {}).get(COLUMNS, b"").decode()
    except (OSError, pyarrow.ArrowException) as error:
        raise TidemillError(f'"{file}" cannot be read as Parquet: {error}') from error
    columns = dict(zip(table.column_names, table.columns, strict=True))
    if "features" in columns and pyarrow.types.is_struct(columns["features"].type):
        nested = columns.pop("features")
        features = dict(zip([field.name for field in nested.type], nested.flatten(), strict=True))
        columns = _beside(features, columns, f'"{file}"')
    rows = columns.pop(AFTER, None)
    if rows is not None and pyarrow.types.is_list(rows.type):
        columns |= _made(rows.to_pylist(), made.split(",") if made else [])
    for name, column in columns.items():
        if pyarrow.types.is_dictionary(column.type):
            columns[name] = column.cast(column.type.value_type)
    # Without what pandas may have written beside the columns, such as which of them is the index.
    return _tidied(pyarrow.table(columns).to_pandas(ignore_metadata=True))


def _made(rows: list[list[float] | None], names: list[str]) -> dict[str, Any]:
    """Returns the columns of lists; a row without one has gaps."""
    import pyarrow

    width = max((len(row) for row in rows if row is not None), default=0)
    values = np.full((len(rows), width), np.nan, dtype=np.float32)
    for at, row in enumerate(rows):
        if row is not None:
            values[at, : len(row)] = row
    names = names if len(names) == width else [str(at) for at in range(width)]
    return {f"{AFTER}.{name}": pyarrow.chunked_array([values[:, at]]) for at, name in enumerate(names)}


def _flat(line: dict[str, Any], where: str) -> dict[str, Any]:
    features = line.get("features")
    if not isinstance(features, dict):
        return line
    return _beside(features, {key: value for key, value in line.items() if key != "features"}, where)


def _beside(features: dict[str, Any], other: dict[str, Any], where: str) -> dict[str, Any]:
    if both := sorted(other.keys() & features.keys()):
        raise TidemillError(f"{where}: {both[0]} is a feature and a field beside the features; rename one of them")
    return features | other


def to_frame(rows: Rows, names: Sequence[str] | None = None) -> pd.DataFrame:
    """Returns the rows as a DataFrame. One that is given as such stays as it is."""
    if isinstance(rows, pd.DataFrame):
        if names is not None:
            raise ExportError("names is for rows without names; a DataFrame has its columns")
        if not all(isinstance(name, str) for name in rows.columns):
            raise ExportError("the columns of rows have to be texts: they are the names of the program's features")
        return rows.reset_index(drop=True)
    if isinstance(rows, np.ndarray):
        if rows.ndim != 2 or names is None or len(names) != rows.shape[1]:
            shape = " x ".join(map(str, rows.shape))
            raise ExportError(f"rows is an array of {shape}: it has to be 2-D, with a name for each column in names")
        return pd.DataFrame(rows, columns=list(names))
    if names is not None:
        raise ExportError("names is for arrays; rows of dicts have names")
    return _tidied(pd.DataFrame(list(rows)))


def _tidied(frame: pd.DataFrame) -> pd.DataFrame:
    for name in frame:
        if frame[name].dtype == object:
            frame[name] = _tidy(frame[name])
    return frame


def _tidy(column: pd.Series) -> pd.Series:
    """Makes numbers of a column of numbers, nulls and the texts for infinities; has NaN for null everywhere."""
    column = column.where(column.notna(), np.nan)
    given = column.dropna()
    numbers = given.map(lambda value: INFINITIES.get(value, value) if isinstance(value, str) else value)
    if len(given) and numbers.map(lambda value: _is_number(value) or isinstance(value, bool)).all():
        return column.map(lambda value: INFINITIES.get(value, value) if isinstance(value, str) else value).astype(float)
    return column


def is_missing(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float | np.floating) and np.isnan(value))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def dtype_of(column: pd.Series) -> str:
    """Returns the dtype that features.json has for a column."""
    kind = column.dtype
    if isinstance(kind, pd.CategoricalDtype):
        return dtype_of(column.astype(object))
    if types.is_bool_dtype(kind):
        return "bool"
    if types.is_integer_dtype(kind):
        return "i64"
    if types.is_float_dtype(kind):
        return "f32" if str(kind).lower() == "float32" else "f64"
    given = [value for value in column if not is_missing(value)]
    if all(isinstance(value, str) for value in given):
        # A column without any value says nothing; as numbers it can be a column of the model.
        return "text" if given else "f64"
    if all(isinstance(value, bool | np.bool_) for value in given):
        return "bool"
    if all(_is_number(value) for value in given):
        return "f64"
    found = sorted({type(value).__name__ for value in given})
    raise ExportError(
        f'column "{column.name}" has values of {", ".join(found)}: a feature is a number, a bool or a text; '
        "make one of them of it, in the program and in the rows"
    )


def numbers_of(column: pd.Series) -> np.ndarray:
    """Returns the values of a column as f64, with NaN for missing ones."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(object)
    if column.dtype == object:
        return np.array([np.nan if is_missing(value) else float(value) for value in column], dtype=np.float64)
    return column.to_numpy(dtype=np.float64, na_value=np.nan)


def texts_of(column: pd.Series) -> list[Any]:
    """Returns the values of a column, with None for missing ones."""
    return [None if is_missing(value) else value for value in column.astype(object)]
