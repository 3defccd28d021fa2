"""What can go wrong in the laptop cloud."""

from __future__ import annotations


class LocalError(Exception):
    """The laptop cloud cannot start or go on; its text is for the person at the keyboard."""


class TemplateError(LocalError):
    """The template is wrong, or asks for something that the laptop cloud does not know."""


class InvocationError(Exception):
    """A function gave no result."""


class FunctionError(InvocationError):
    """A function raised.

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
    """A function's process ended, or never came up."""


class FunctionTimeoutError(InvocationError):
    """A function ran into its own Timeout and was killed."""


class IntegrationTimeoutError(InvocationError):
    """The gateway waited for as long as it ever waits."""


class PayloadTooLargeError(InvocationError):
    """An event or a result is over what Lambda carries (6 MB)."""
