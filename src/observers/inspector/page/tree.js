// JSON as a tree that folds. What is folded is not there, so that a transcript of hours opens as fast as a line.

import { html, useState } from "./vendor/preact.js";
import { plain } from "./format.js";

/** How many members are shown before the rest is asked for. */
const STEP = 100;

/** How much of a long string is shown before the rest is asked for. */
const LONG = 400;

/** How deep a tree opens by itself: deeper than any event of Meeting BaaS. */
const DEEP = 3;

/** Deeper than this nothing unfolds: hostile bodies are a tower of ten thousand brackets. */
const DEEPEST = 200;

/** A number as the sender wrote it, where JavaScript has no such number. */
export class Written {
  constructor(text) {
    this.text = text;
  }
}

/** A value and all that is in it. */
export const Tree = ({ value }) => html`<div class="tree"><${Node} value=${value} depth=${0} /></div>`;

function Node({ name, value, depth }) {
  if (value !== null && typeof value === "object" && !(value instanceof Written)) return html`<${Branch} name=${name} value=${value} depth=${depth} />`;
  return html`<div class="leaf">${name !== undefined && html`<${Name} name=${name} />`}<${Scalar} value=${value} /></div>`;
}

function Name({ name }) {
  if (typeof name === "number") return html`<span class="index">${name}</span><span class="punctuation">: </span>`;
  return html`<span class="key">${plain(name)}</span><span class="punctuation">: </span>`;
}

function Scalar({ value }) {
  const [whole, setWhole] = useState(false);
  if (value instanceof Written) return html`<span class="number">${value.text}</span>`;
  if (typeof value !== "string") return html`<span class=${value === null ? "null" : typeof value}>${String(value)}</span>`;
  const isLong = value.length > LONG && !whole;
  const shown = plain(isLong ? value.slice(0, LONG) : value);
  return html`<span class="string">"${shown}${isLong ? "…" : ""}"</span>
    ${isLong && html` <button class="more" onClick=${() => setWhole(true)}>${value.length - LONG} more characters</button>`}`;
}

function Branch({ name, value, depth }) {
  const isArray = Array.isArray(value);
  const length = isArray ? value.length : Object.keys(value).length;
  const [isOpen, setOpen] = useState(depth < DEEP && length <= STEP);
  const [shown, setShown] = useState(STEP);
  const [before, after] = isArray ? "[]" : "{}";
  const unit = isArray ? (length === 1 ? "item" : "items") : length === 1 ? "key" : "keys";
  if (length === 0) {
    return html`<div class="leaf">${name !== undefined && html`<${Name} name=${name} />`}<span class="punctuation">${before}${after}</span></div>`;
  }
  if (depth >= DEEPEST) return html`<div class="leaf"><span class="null">… too deep: see the raw bytes</span></div>`;
  // Only what is shown is looked at: an array may have a hundred thousand members.
  const members = () => {
    const entries = isArray ? value.slice(0, shown).map((member, at) => [at, member]) : Object.entries(value).slice(0, shown);
    return entries.map(([key, member]) => html`<${Node} key=${key} name=${key} value=${member} depth=${depth + 1} />`);
  };
  return html`<div class="branch">
    <button class="fold" aria-expanded=${isOpen ? "true" : "false"} onClick=${() => setOpen(!isOpen)}>
      <span class="arrow" aria-hidden="true">${isOpen ? "▾" : "▸"}</span>${name !== undefined && html`<${Name} name=${name} />`}<span
        class="punctuation">${before}</span>${!isOpen && html`<span class="folded"> ${length} ${unit} </span><span
        class="punctuation">${after}</span>`}
    </button>
    ${isOpen && html`<div class="members">${members()}${length > shown &&
      html`<button class="more" onClick=${() => setShown(shown + 10 * STEP)}>${length - shown} more</button>`}</div>
      <span class="punctuation end">${after}</span>`}
  </div>`;
}
