// What a delivery can be copied as.

import { html } from "./vendor/preact.js";
import { text } from "./api.js";
import { pytest, rustTest, vitest } from "./as_test.js";
import { Menu } from "./menu.js";

/** Each thing that it can be copied as: its name, and how it is made. */
export const WAYS = [
  ["curl", "curl command", (shown) => text(`/api/deliveries/${shown.number}/curl`)],
  ["body", "Body", (shown) => shown.body ?? ""],
  ["fixture", "Fixture file", (shown) => text(`/api/deliveries/${shown.number}/fixture`)],
  ["pytest", "Test for pytest", pytest],
  ["vitest", "Test for vitest", vitest],
  ["rust", "Test for Rust", rustTest],
  ["json", "Everything, as JSON", (shown) => JSON.stringify(shown, null, 2)],
];

/** Copies a delivery that way, and says so. */
export async function copy(way, shown, say) {
  const [, name, make] = WAYS.find(([one]) => one === way);
  try {
    if (shown.body === undefined && !["curl", "fixture", "json"].includes(way)) {
      return say("The body is not text, or too large for the clipboard", "Save it, or copy the curl command.");
    }
    await navigator.clipboard.writeText(await make(shown));
    say(`Copied: ${name.toLowerCase()}`);
  } catch (error) {
    say(`It could not be copied: ${error.message}`, error.hint);
  }
}

export const CopyMenu = ({ shown, say }) => html`<${Menu} label=${html`Copy as… <kbd>c</kbd>`} name="Copy as"
  items=${WAYS.map(([way, name]) => ({ name, run: () => copy(way, shown, say) }))} />`;
