"""Mistakes of the user or of their files: the command line shows them without a traceback."""


class UserError(Exception):
    """What was expected, what came, where, and what to do about it."""


class DataError(UserError, ValueError):
    """An image, map, caption file or data set that cannot be used."""


class ConfigError(UserError, ValueError):
    """A setting that is unknown, out of range or contradicts another."""


class CheckpointError(UserError, ValueError):
    """A checkpoint that is incomplete, damaged or of another model, or that cannot be written."""


class WeightsUnavailableError(UserError, OSError):
    """Weights that are neither here nor to be had."""


class UsageError(UserError):
    """The command line itself is wrong."""
