"""Names of the variables that a service reads: Compose's prefix rule, and which names a shell can read.

Prefix = model key in upper case with every `-` turned into `_`, and nothing else replaced: the key `a.b` gives
`A.B_URL`, which no shell reads, and `a-b` and `a_b` give the same names.
"""

import re

_SHELL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


def prefix(model_key: str) -> str:
    """The prefix of all variables of a model."""
    return model_key.upper().replace("-", "_")


def endpoint_name(model_key: str) -> str:
    """The variable that holds the endpoint's URL unless another name is given."""
    return f"{prefix(model_key)}_URL"


def model_name(model_key: str) -> str:
    """The variable that holds the model's served name unless another name is given."""
    return f"{prefix(model_key)}_MODEL"


def alias_name(model_key: str) -> str:
    """The older spelling of the endpoint's variable."""
    return f"{prefix(model_key)}_ENDPOINT"


def is_readable(name: str) -> bool:
    """Whether a shell can read a variable of this name."""
    return _SHELL_NAME.fullmatch(name) is not None
