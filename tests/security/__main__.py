"""Print the table of attacks for docs/security.md: ``python -m tests.security``."""

from ._page import tables

print(tables())  # noqa: T201 - what it is for
