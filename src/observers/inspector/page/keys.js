// The keyboard: single keys, wherever nothing is typed.

const STEPS = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1, PageDown: 20, PageUp: -20 };

/**
 * Listens until the function that it returns is called.
 * @param {object} doing what each key does, by the name of what it does
 */
export function onKeys(doing) {
  const pressed = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || doing.isBusy()) return;
    const at = event.target;
    const isTyping = at.matches?.("input, textarea, select, [contenteditable]");
    if (event.key === "Escape") {
      if (isTyping) at.blur();
      else doing.close();
      return;
    }
    if (isTyping) return;
    const isInList = at.matches?.(".list") || at === document.body;
    // The arrow keys scroll whatever has the focus, and buttons are pressed with Enter.
    if (event.key in STEPS && (isInList || event.key.length === 1)) return done(event, () => doing.step(STEPS[event.key]));
    if (event.key === "Enter" && !isInList) return;
    const run = {
      Enter: doing.enter, "/": doing.search, r: doing.replay, e: doing.edit, t: doing.trigger, d: doing.compare,
      c: doing.copy, p: doing.pin, "?": doing.help,
    }[event.key];
    if (run) done(event, run);
  };
  addEventListener("keydown", pressed);
  return () => removeEventListener("keydown", pressed);
}

function done(event, run) {
  event.preventDefault();
  run();
}
