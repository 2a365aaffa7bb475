// What the connection and the handlers are like, in one line that tells the truth.

import { html } from "./vendor/preact.js";
import { plain } from "./format.js";

/** @param {{ link: "live" | "connecting" | "offline" | "ended", status: object | null, down: Map<string, string>, tunnel: string | null }} props */
export function State({ link, status, down, tunnel }) {
  const { kind, sign, word } = saying(link, status, down, tunnel);
  return html`<p class=${`state ${kind}`} role="status"><i aria-hidden="true">${sign}</i> ${word}</p>`;
}

function saying(link, status, down, tunnel) {
  if (link === "offline") return { kind: "bad", sign: "✗", word: "offline: mbaas-dev does not answer; trying again" };
  if (link === "ended") return { kind: "bad", sign: "✗", word: "this page belongs to a listen that ended: open the address that the new one prints" };
  if (link === "connecting" || !status) return { kind: "odd", sign: "…", word: "connecting" };
  if (down.size) {
    const [[target]] = down;
    return { kind: "bad", sign: "✗", word: `handler down: ${plain(target)}` };
  }
  if (tunnel !== null) return { kind: "odd", sign: "↻", word: `tunnel reconnecting: ${plain(tunnel)}` };
  if (!status.ingress) return { kind: "idle", sign: "○", word: "no listen is running: this is the record alone" };
  const targets = [...new Set(status.targets.map((one) => one.target))];
  const to = targets.length === 0 ? "recording only" : targets.length === 1 ? `forwarding to ${plain(targets[0])}` : `forwarding to ${targets.length} targets`;
  return { kind: "good", sign: "●", word: `listening at ${plain(status.ingress)}, ${to}` };
}
