"""The one exception for input that a user can mend."""

from __future__ import annotations


class InputError(ValueError):
    """Bad input. The message names the argument and the fix; the command line prints it without a traceback."""


def missing_extra(package: str, extra: str) -> InputError:
    """The error for an optional dependency that is not installed.

    Args:
        package: The import name that was missing.
        extra: The extra of this project that installs it.
    """
    return InputError(f"this needs {package}, which is not installed; install it with: pip install 'bocb-hf[{extra}]'")
