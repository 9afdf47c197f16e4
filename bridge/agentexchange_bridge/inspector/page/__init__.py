"""The inspector's pages: one for each viewer, over what all viewers share."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Final

from nicegui import Client, ui

from agentexchange import AgentExchangeError

from .shell import Shell
from .viewer import Viewer

if TYPE_CHECKING:
    from agentexchange_bridge.inspector.feed import Inspection

__all__ = ["MAX_VIEWERS", "show_pages"]

MAX_VIEWERS: Final = 64
_STYLE: Final = (files(__package__) / "style.css").read_text(encoding="utf-8")


def show_pages(inspection: Inspection) -> set[Viewer]:
    """Make ``/`` the inspector of ``inspection``. Once per process. The result holds the viewers that look now."""
    viewers: set[Viewer] = set()

    @ui.page("/")
    def inspector(panel: str = "", t: str = "", symbol: str = "") -> None:
        ui.add_head_html(f"<style>{_STYLE}</style>")
        if len(Client.instances) > MAX_VIEWERS:
            ui.label(f"{MAX_VIEWERS} pages are open already: close one, and load this again.").classes("ax-full")
            return
        viewer = Viewer(inspection, panel=panel, moment=t, symbol=symbol)
        viewers.add(viewer)
        ui.context.client.on_exception(_tell)
        ui.context.client.on_delete(lambda: viewers.discard(viewer))
        ui.context.client.on_delete(viewer.close)
        Shell(viewer)

    return viewers


def _tell(error: Exception) -> None:
    """What a click could not do; anything but Redis being away is a fault of ours, and in the log."""
    known = isinstance(error, AgentExchangeError)
    ui.notify(str(error) if known else "That failed: see the inspector's log.", type="negative")
