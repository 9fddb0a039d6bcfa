"""The errors of this package. Each says what is wrong, where, and what to do."""


class TidemillError(ValueError):
    """Any error of this package."""


class ExportError(TidemillError):
    """The model, its rows or an option of `export` cannot be used."""


class SpecError(TidemillError):
    """A features.json is not of the format."""


class DeadLetterError(TidemillError):
    """Rows that the engine would not score, by the rules of features.json."""
