// What the connection, the handlers and the tunnel are like, in one line that tells the truth.

import { html } from "./vendor/preact.js";
import { plain } from "./format.js";

/** @param {{ link: "live" | "connecting" | "offline" | "ended", status: object | null }} props */
export function State({ link, status }) {
  const { kind, sign, word } = saying(link, status);
  return html`<p class=${`state ${kind}`} role="status" title=${word}><i aria-hidden="true">${sign}</i> ${word}</p>`;
}

function saying(link, status) {
  if (link === "offline") return { kind: "bad", sign: "✗", word: "offline: mbaas-dev does not answer; trying again" };
  if (link === "ended") return { kind: "bad", sign: "✗", word: "this page belongs to a listen that ended: open the address that the new one prints" };
  if (link === "connecting" || !status) return { kind: "odd", sign: "…", word: "connecting" };
  const down = status.targets.filter((one) => one.down).map((one) => `handler down: ${plain(one.target)}`);
  const { state, message } = status.tunnel ?? {};
  if (state === "closed") down.push(plain(message));
  const lost = state === "reconnecting" ? [`tunnel reconnecting${message ? `: ${plain(message)}` : ""}`] : [];
  if (down.length) return { kind: "bad", sign: "✗", word: [...new Set(down), ...lost].join("; ") };
  if (lost.length) return { kind: "odd", sign: "↻", word: lost[0] };
  if (!status.ingress) return { kind: "idle", sign: "○", word: "no listen is running: this is the record alone" };
  if (status.paused) return { kind: "odd", sign: "‖", word: "forwarding is paused: deliveries wait" };
  const targets = [...new Set(status.targets.map((one) => one.target))];
  const to = targets.length === 0 ? "recording only" : targets.length === 1 ? `forwarding to ${plain(targets[0])}` : `forwarding to ${targets.length} targets`;
  const at = status.public ? `${plain(status.public)} and ${plain(status.ingress)}` : plain(status.ingress);
  return { kind: "good", sign: "●", word: `listening at ${at}, ${to}` };
}
