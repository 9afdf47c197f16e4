"""What is wrong with a setting, in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

__all__ = ["SettingsError", "first_fault"]


class SettingsError(ValueError):
    """A setting that is missing, unknown or wrong: one line that names it, where it came from, and the fix."""


def first_fault(exc: ValidationError) -> ErrorDetails:
    """The first of the faults, without the value, which may be a secret."""
    return exc.errors(include_url=False, include_input=False)[0]
