"""What each panel offers to the page around it."""

from __future__ import annotations

from typing import ClassVar, Protocol

__all__ = ["Panel"]


class Panel(Protocol):
    """Built into the slot that is open when it is made; thrown away when another panel is opened."""

    PERIOD_S: ClassVar[float]
    """How often it shows what is new, while time passes."""

    async def refresh(self, *, anew: bool) -> None:
        """Send the browser what changed.

        Args:
            anew: the moment jumped: nothing that was shown before says anything about now.
        """
