// Wheel and two fingers on the time line: how much closer, about where (0: left, 1: right), and how far along.
// Run once per page by shell.py; told a few times a second at most.
if (!window.axZoom) {
  window.axZoom = true;
  const track = (event) => event.target.closest?.(".ax-track");
  let closer = 1, along = 0, about = 0.5, waits = false;
  const tell = (at, x, zoom, move) => {
    const box = at.getBoundingClientRect();
    about = Math.min(1, Math.max(0, (x - box.left) / box.width));
    closer *= zoom;
    along += move / box.width;
    if (waits) return;
    waits = true;
    setTimeout(() => {
      emitEvent("ax_zoom", { closer, about, along });
      [closer, along, waits] = [1, 0, false];
    }, 120);
  };

  addEventListener(
    "wheel",
    (event) => {
      const at = track(event);
      if (!at) return;
      event.preventDefault();
      const unit = event.deltaMode ? 30 : 1;
      const [x, y] = event.shiftKey ? [event.deltaX + event.deltaY, 0] : [event.deltaX, event.deltaY];
      if (Math.abs(x) > Math.abs(y)) tell(at, event.clientX, 1, x * unit);
      else tell(at, event.clientX, Math.exp(-y * unit / 250), 0);
    },
    { passive: false },
  );

  // the slider must not see the fingers of a pinch move: it would take them for a drag
  let apart = 0;
  const fingers = (event) => {
    const at = track(event);
    if (!at || (event.touches.length < 2 && !apart)) return;
    if (event.cancelable) event.preventDefault();
    if (!event.touches.length) apart = 0;
    if (event.type === "touchend") return;
    event.stopImmediatePropagation();
    if (event.touches.length < 2) return;
    const [one, other] = event.touches;
    const now = Math.max(20, Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY));
    if (event.type === "touchmove" && apart) tell(at, (one.clientX + other.clientX) / 2, now / apart, 0);
    apart = now;
  };
  for (const name of ["touchstart", "touchmove", "touchend"])
    addEventListener(name, fingers, { capture: true, passive: false });
  addEventListener("touchcancel", () => { apart = 0; }, { capture: true });
}
