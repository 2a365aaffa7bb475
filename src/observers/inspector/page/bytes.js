// A body, in the ways in which it can be looked at: as a tree, as text, as bytes. Never as anything that runs.

import { html, useEffect, useMemo, useState } from "./vendor/preact.js";
import { bytes as fetchBytes } from "./api.js";
import { plain, size } from "./format.js";
import { Tree, Written } from "./tree.js";

/** Larger bodies are fetched when they are asked for, in bytes. */
export const MOST = 2_000_000;

/** How much of a text or of bytes is shown before the rest is asked for. */
const TEXT_STEP = 200_000;
const HEX_STEP = 8192;

/** The bytes that the interface gives as text or in base64; null when it left them out. */
export function bytesOf(object) {
  if (object.body_omitted) return null;
  if (typeof object.body === "string") return new TextEncoder().encode(object.body);
  const coded = object.body_b64 ?? object.body?.b64 ?? "";
  return Uint8Array.from(atob(coded), (character) => character.charCodeAt(0));
}

/** @param {{ object: object, path: string, label: string }} props what was received, where its bytes are, what it is called */
export function Body({ object, path, label }) {
  const [fetched, setFetched] = useState(null);
  const [way, setWay] = useState(null);
  useEffect(() => {
    setFetched(null);
    setWay(null);
  }, [path]);
  const bytes = useMemo(() => fetched ?? bytesOf(object), [fetched, object]);
  const read = useMemo(() => (bytes ? interpret(bytes) : null), [bytes]);
  if (!bytes) {
    const load = async () => setFetched(await fetchBytes(path));
    return html`<p class="quiet">${label} of ${size(object.body_bytes ?? 0)}. <button onClick=${load}>Show it</button></p>`;
  }
  if (bytes.length === 0) return html`<p class="quiet">No body.</p>`;
  const ways = [read.isJson && "tree", read.text !== null && "text", "hex"].filter(Boolean);
  const shown = ways.includes(way) ? way : ways[0];
  return html`<div class="body">
    <div class="ways" role="group" aria-label=${`How the ${label.toLowerCase()} is shown`}>
      ${ways.map((one) => html`<button key=${one} aria-pressed=${one === shown ? "true" : "false"} onClick=${() => setWay(one)}>
        ${{ tree: "Tree", text: "Raw", hex: "Hex" }[one]}</button>`)}
      <span class="quiet">${size(bytes.length)}</span>
      <a class="button" href=${path} download>Save</a>
    </div>
    ${shown === "tree" && html`<${Tree} value=${read.value} />`}
    ${shown === "text" && html`<${Text} text=${read.text} />`}
    ${shown === "hex" && html`<${Hex} bytes=${bytes} />`}
  </div>`;
}

/** Where a number may be another one than is written, when it is read as JavaScript has them. */
const LONG_NUMBER = /[[:,]\s*-?(?:[\d.]{16}|[\d.]+[eE])|[[:,]\s*-0/;

/** The value of a JSON text, in which a number that JavaScript would write differently stands as it is written. */
function parsed(text) {
  const value = JSON.parse(text);
  if (!LONG_NUMBER.test(text)) return value;
  try {
    return JSON.parse(text, (_key, value, context) => (typeof value === "number" && context?.source && String(value) !== context.source ? new Written(context.source) : value));
  } catch {
    // It is too deep to be gone through.
    return value;
  }
}

/** What the bytes are: JSON, text, or neither. */
function interpret(bytes) {
  let text;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return { text: null, isJson: false };
  }
  try {
    const value = parsed(text);
    return { text, isJson: value !== null && typeof value === "object", value };
  } catch {
    return { text, isJson: false };
  }
}

function Text({ text }) {
  const [shown, setShown] = useState(TEXT_STEP);
  return html`<pre class="raw" tabindex="0">${plain(text.slice(0, shown))}</pre>
    ${text.length > shown && html`<button class="more" onClick=${() => setShown(shown * 4)}>${size(text.length - shown)} more</button>`}`;
}

function Hex({ bytes }) {
  const [shown, setShown] = useState(HEX_STEP);
  const lines = [];
  for (let at = 0; at < Math.min(shown, bytes.length); at += 16) {
    const line = [...bytes.subarray(at, at + 16)];
    const digits = line.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    const text = line.map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : "·")).join("");
    lines.push(`${at.toString(16).padStart(8, "0")}  ${digits.padEnd(47)}  ${text}`);
  }
  return html`<pre class="raw hex" tabindex="0">${lines.join("\n")}</pre>
    ${bytes.length > shown && html`<button class="more" onClick=${() => setShown(shown * 4)}>${size(bytes.length - shown)} more</button>`}`;
}
