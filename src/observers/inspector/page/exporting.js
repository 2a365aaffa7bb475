// What the filters let through, as a file: redacted by the inspector, saved by the browser.

import { html } from "./vendor/preact.js";
import { blob, url } from "./api.js";
import { size } from "./format.js";
import { Menu } from "./menu.js";

const FORMATS = [
  ["ndjson", "NDJSON, for deliveries import", "deliveries.ndjson"],
  ["har", "HAR, for developer tools", "deliveries.har"],
  ["curl", "curl commands", "deliveries.sh"],
];

/** Fetches it first, so that what is wrong with it can be said. */
async function save(format, file, filters, say) {
  try {
    const found = await blob(url(`/api/export/${format}`, filters));
    const link = document.createElement("a");
    link.href = URL.createObjectURL(found);
    link.download = file;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    say(`Saved ${file}, ${size(found.size)}: secrets are redacted`);
  } catch (fault) {
    say(fault.message, fault.hint);
  }
}

/** @param {{ filters: object, say: (message: string, hint?: string) => void }} props */
export const ExportMenu = ({ filters, say }) => html`<${Menu} label="Export…" name="Export what is listed as"
  items=${FORMATS.map(([format, name, file]) => ({ name, run: () => save(format, file, filters, say) }))} />`;
