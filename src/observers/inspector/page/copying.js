// What a delivery can be copied as.

import { html, useEffect, useRef, useState } from "./vendor/preact.js";
import { text } from "./api.js";
import { pytest, rustTest, vitest } from "./as_test.js";

/** A fixture: the body with a line that says what it is for, ready for the folder that \`listen --fixtures\` watches. */
function fixture(shown) {
  const body = JSON.parse(shown.body);
  const about = { contract: shown.contract ?? undefined, event: shown.event_type ?? undefined };
  return `${JSON.stringify({ $fixture: about, ...body }, null, 2)}\n`;
}

/** Each thing that it can be copied as: its name, and how it is made. */
export const WAYS = [
  ["curl", "curl command", (shown) => text(`/api/deliveries/${shown.number}/curl`)],
  ["body", "Body", (shown) => shown.body ?? ""],
  ["fixture", "Fixture file", fixture],
  ["pytest", "Test for pytest", pytest],
  ["vitest", "Test for vitest", vitest],
  ["rust", "Test for Rust", rustTest],
  ["json", "Everything, as JSON", (shown) => JSON.stringify(shown, null, 2)],
];

/** Copies a delivery that way, and says so. */
export async function copy(way, shown, say) {
  const [, name, make] = WAYS.find(([one]) => one === way);
  try {
    if (shown.body === undefined && way !== "curl" && way !== "json") {
      return say("The body is not text, or too large for the clipboard", "Save it, or copy the curl command.");
    }
    await navigator.clipboard.writeText(await make(shown));
    say(`Copied: ${name.toLowerCase()}`);
  } catch (error) {
    say(`It could not be copied: ${error.message}`, error.hint);
  }
}

export function CopyMenu({ shown, say }) {
  const [isOpen, setOpen] = useState(false);
  const box = useRef(null);
  useEffect(() => {
    if (!isOpen) return;
    const outside = (event) => box.current.contains(event.target) || setOpen(false);
    addEventListener("mousedown", outside);
    box.current.querySelector("[role=menuitem]").focus();
    return () => removeEventListener("mousedown", outside);
  }, [isOpen]);
  const move = (event) => {
    const items = [...box.current.querySelectorAll("[role=menuitem]")];
    const at = items.indexOf(document.activeElement);
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) items[(at + step + items.length) % items.length].focus();
    else if (event.key === "Escape") {
      setOpen(false);
      box.current.querySelector("button").focus();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  };
  const pick = (way) => {
    setOpen(false);
    copy(way, shown, say);
    box.current.querySelector("button").focus();
  };
  return html`<div class="menu" ref=${box} onKeyDown=${isOpen ? move : undefined}>
    <button aria-haspopup="menu" aria-expanded=${isOpen ? "true" : "false"} onClick=${() => setOpen(!isOpen)}>Copy as… <kbd>c</kbd></button>
    ${isOpen && html`<div class="items" role="menu" aria-label="Copy as">
      ${WAYS.map(([way, name]) => html`<button key=${way} role="menuitem" onClick=${() => pick(way)}>${name}</button>`)}
    </div>`}
  </div>`;
}
