"""Errors of the models. Each says the value, the rule and the remedy; none is worth a retry as it stands.

ModelError (ValueError)
├── ConfigError       a parameter is unknown, of the wrong type or out of its range
├── DataError         a text file is missing, empty, malformed or too small
└── CheckpointError   a checkpoint folder is missing, incomplete or belongs to other files
"""


class ModelError(ValueError):
    """Base of every error that `models` raises for its input."""


class ConfigError(ModelError):
    """A parameter of the trainable is unknown, of the wrong type or out of its range."""


class DataError(ModelError):
    """A data set is missing, empty, malformed, or too small to train on."""


class CheckpointError(ModelError):
    """A checkpoint folder cannot be read, or its files do not belong together."""
