"""The exceptions of the package. What lives here: the tree, and nothing that raises it.

    SelfLengthenError(ValueError)   something a person can mend; the CLI prints its text and exits with 2
    |-- ConfigError                 a setting, a recipe or an input file is wrong
    |-- StoreError                  the run directory: locked, of another config, corrupt, disk full
    |-- EngineError                 a model cannot be opened or has stopped answering
    `-- TrainerError                a fine-tune cannot start, or its process died

Each message names the thing, the value, and what to do. Anything else that escapes is a bug and keeps its traceback.
"""


class SelfLengthenError(ValueError):
    """Root of every error meant for a person."""


class ConfigError(SelfLengthenError):
    """A setting, a recipe or an input file is wrong."""


class StoreError(SelfLengthenError):
    """The run directory cannot be used as it is."""


class EngineError(SelfLengthenError):
    """A model cannot be opened, or stopped answering."""


class TrainerError(SelfLengthenError):
    """A fine-tune cannot start, or its process died."""
