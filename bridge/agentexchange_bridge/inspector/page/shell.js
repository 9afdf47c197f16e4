// What only the browser knows: its theme, width and visibility, and keys that are meant for the page as a whole.
// Run once per page by shell.py; everything is told to the server by NiceGUI's emitEvent.
if (!window.axShell) {
  window.axShell = true;
  const narrow = matchMedia("(max-width: 700px)");
  const tell = () =>
    emitEvent("ax_browser", {
      dark: document.body.classList.contains("body--dark"),
      narrow: narrow.matches,
      hidden: document.hidden,
      theme: localStorage.getItem("ax-theme"),
    });
  document.addEventListener("visibilitychange", tell);
  narrow.addEventListener("change", tell);
  new MutationObserver(tell).observe(document.body, { attributes: true, attributeFilter: ["class"] });
  tell();

  const moving = ["ArrowLeft", "ArrowRight", " ", "Home", "End"];
  const keys = [...moving, "/", "?", "c", "g", "l", "+", "=", "-", "0", "1", "2", "3", "4", "5", "6", "o", "m", "a", "e", "b", "d"];
  const isField = (at) => at && (at.matches("input, textarea, select") || at.isContentEditable);
  document.addEventListener(
    "keydown",
    (event) => {
      const at = document.activeElement;
      if (event.key === "Escape" && isField(at)) at.blur();
      if (event.ctrlKey || event.metaKey || event.altKey || !keys.includes(event.key) || isField(at)) return;
      if (document.querySelector(".q-dialog")) return;
      // in a table the arrows move between its cells; a button is pressed by space
      if (moving.includes(event.key) && at?.closest(".ag-root")) return;
      if (event.key === " " && at?.closest("button, [role=button]")) return;
      event.preventDefault();
      event.stopPropagation(); // the time line's slider would move by itself, too
      if (event.key === "/") document.querySelector(".ax-filter input")?.focus();
      else emitEvent("ax_key", { key: event.key, shift: event.shiftKey });
    },
    true,
  );
}
