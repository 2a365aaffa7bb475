// Which deliveries are listed: what is chosen here stands in the address.

import { html, useEffect, useRef, useState } from "./vendor/preact.js";
import { ExportMenu } from "./exporting.js";

const CHOICES = [
  ["status", "Status", [["failed", "failed"], ["acknowledged", "acknowledged"], ["2xx", "2xx"], ["3xx", "3xx"], ["4xx", "4xx"], ["5xx", "5xx"],
    ["error", "no answer"], ["none", "not handed over"]]],
  ["contract", "Contract", ["preview", "v2", "v1", "callback", "alert"].map((one) => [one, one])],
  ["origin", "Origin", ["ingress", "tunnel", "trigger", "watch", "replay", "scenario", "api"].map((one) => [one, one])],
  ["signature", "Signature", ["valid", "invalid", "missing", "unchecked"].map((one) => [one, one])],
  ["since", "Since", [["10m", "10 minutes"], ["1h", "an hour"], ["24h", "a day"], ["168h", "a week"]]],
];

/** How long to wait with a search while somebody types, in milliseconds. */
const TYPING = 180;

/** @param {{ filters: object, change: (filters: object) => void, say: (message: string, hint?: string) => void }} props */
export function Filters({ filters, change, say }) {
  const isAny = Object.values(filters).some(Boolean);
  const set = (name, value) => change({ ...filters, [name]: value || undefined });
  return html`<form class="filters" role="search" aria-label="Deliveries" onSubmit=${(event) => event.preventDefault()}>
    <${Typed} id="search" label="Search" placeholder="Search any text" value=${filters.search} change=${(value) => set("search", value)} />
    <${Typed} id="event" label="Event" placeholder="Event: bot.*, *.failed" value=${filters.event} change=${(value) => set("event", value)} />
    <${Typed} id="bot" label="Bot" placeholder="Bot id" value=${filters.bot} change=${(value) => set("bot", value)} />
    ${CHOICES.map(([name, label, values]) => html`<label key=${name} class=${filters[name] ? "set" : ""}><span class="hidden">${label}</span>
      <select value=${filters[name] ?? ""} onChange=${(event) => set(name, event.target.value)}>
        <option value="">${label}</option>${values.map(([value, word]) => html`<option key=${value} value=${value}>${word}</option>`)}
      </select></label>`)}
    ${isAny && html`<button type="button" onClick=${() => change({})}>Clear</button>`}
    <${ExportMenu} filters=${filters} say=${say} />
  </form>`;
}

function Typed({ id, label, placeholder, value, change }) {
  const [text, setText] = useState(value ?? "");
  const timer = useRef(0);
  useEffect(() => setText(value ?? ""), [value]);
  const typed = (event) => {
    const next = event.target.value;
    setText(next);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => change(next.trim()), TYPING);
  };
  return html`<label class=${`typed ${id}`}><span class="hidden">${label}</span>
    <input id=${id} type="search" placeholder=${placeholder} value=${text} spellcheck="false" autocomplete="off" onInput=${typed} /></label>`;
}
