// The keys, and what they do.

import { html } from "./vendor/preact.js";
import { Dialog } from "./dialog.js";

export const KEYS = [
  ["j", "the next delivery"], ["k", "the one before"], ["Enter", "open the chosen one"], ["Esc", "close what is open"],
  ["/", "search"], ["r", "replay"], ["e", "edit and replay"], ["t", "trigger an event"],
  ["d", "compare: choose one, then the other"], ["c", "copy as curl"], ["p", "pin"], ["?", "these keys"],
];

export const Help = ({ close }) => html`<${Dialog} title="Keys" close=${close}>
  <dl class="keys">${KEYS.map(([key, what]) => html`<div key=${key}><dt><kbd>${key}</kbd></dt><dd>${what}</dd></div>`)}</dl>
</${Dialog}>`;
