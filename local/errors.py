"""What can go wrong in the laptop cloud."""

from __future__ import annotations


class LocalError(Exception):
    """The laptop cloud cannot start or continue. The text is for the person at the keyboard."""


class TemplateError(LocalError):
    """The template is wrong, or uses something that the laptop cloud does not support."""


class InvocationError(Exception):
    """A function returned no result."""


class FunctionError(InvocationError):
    """A function raised an exception.

    Parameters
    ----------
    error_type
        Name of the exception's class.
    message
        Its text, as Lambda reports it in `errorMessage`.
    """

    def __init__(self, error_type: str, message: str) -> None:
        super().__init__(f"{error_type}: {message}")
        self.error_type = error_type
        self.message = message


class FunctionCrashedError(InvocationError):
    """A function's process ended, or never started."""


class FunctionTimeoutError(InvocationError):
    """A function reached its own Timeout and was killed."""


class IntegrationTimeoutError(InvocationError):
    """The gateway gave up waiting for a function."""


class PayloadTooLargeError(InvocationError):
    """An event or a result is larger than Lambda allows (6 MB)."""
