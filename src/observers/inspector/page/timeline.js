// One bot's life on an axis of time: its status changes, how it ended, and what is odd about it.

import { html, useEffect, useState } from "./vendor/preact.js";
import { get } from "./api.js";
import { duration, outcomeOf, plain, time } from "./format.js";

/** @param {{ bot: string, change: number, go: (place: object) => void, open: (number: number) => void, close: () => void }} props */
export function Timeline({ bot, change, go, open, close }) {
  const [asked, setAsked] = useState(bot);
  const [state, setState] = useState({ timeline: null, fault: null });
  useEffect(() => {
    setAsked(bot);
    if (!bot) return setState({ timeline: null, fault: null });
    let isWanted = true;
    get(`/api/timeline/${encodeURIComponent(bot)}`).then(
      (timeline) => isWanted && setState({ timeline, fault: null }),
      (fault) => isWanted && setState({ timeline: null, fault }),
    );
    return () => (isWanted = false);
  }, [bot, change]);
  const submit = (event) => {
    event.preventDefault();
    go({ bot: asked.trim() });
  };
  const { timeline, fault } = state;
  return html`<section class="page" aria-label="Timeline of a bot">
    <header class="heading"><button class="back" onClick=${close} aria-label="Back to the list">←</button><h2>Timeline</h2>
      <form class="ask" onSubmit=${submit}><label>Bot <input value=${asked} placeholder="bot id" onInput=${(event) => setAsked(event.target.value)} /></label>
      <button>Show</button></form></header>
    ${fault && html`<p class="fault">${fault.message} ${fault.hint}</p>`}
    ${timeline && html`<${Axis} entries=${timeline.entries} open=${open} />${timeline.entries.length > 0 && html`<${Oddities} oddities=${timeline.oddities} open=${open} />`}
      <${Steps} entries=${timeline.entries} open=${open} />`}
  </section>`;
}

function Axis({ entries, open }) {
  if (!entries?.length) return html`<p class="quiet">Nothing is recorded of this bot.</p>`;
  const times = entries.map((entry) => Date.parse(entry.at));
  const [first, last] = [Math.min(...times), Math.max(...times)];
  const [width, left] = [960, 12];
  const x = (at) => left + (last > first ? ((at - first) / (last - first)) * (width - 2 * left) : 0);
  return html`<svg class="chart axis-of-bot" viewBox=${`0 0 ${width} 70`} role="img" aria-label=${`${entries.length} deliveries in ${duration(last - first)}`}>
    <line x1=${left} y1="34" x2=${width - left} y2="34" class="axis" />
    ${entries.map((entry, at) => {
      const came = outcome(entry);
      return html`<g class="dot" onClick=${() => open(entry.number)}><title>${plain(labelOf(entry))}, ${came.word}, ${time(entry.at)}</title>
        <circle cx=${x(times[at])} cy="34" r=${came.kind === "bad" ? 8 : 6} class=${`fill-${came.kind}`} />
        ${came.kind === "bad" && html`<text x=${x(times[at])} y="38" text-anchor="middle" class="cross">✗</text>`}</g>`;
    })}
    <text x=${left} y="62" class="label">${time(first)}</text><text x=${width - left} y="62" class="label" text-anchor="end">${time(last)}</text>
  </svg>`;
}

const labelOf = (entry) => entry.code ?? entry.end ?? entry.event_type ?? "delivery";

/** What came of an entry, which has the newest attempt's status and error in it. */
const outcome = (entry) => (entry.status === null && entry.error === null ? { kind: "idle", sign: "○", word: "not handed over" } : outcomeOf(entry));

function Oddities({ oddities, open }) {
  if (!oddities?.length) return html`<p class="verdict good"><i aria-hidden="true">✓</i> Nothing odd: the order and the end are as they should be.</p>`;
  return html`<h3>What is odd</h3><ul class="oddities">${oddities.map((one) => html`<li><i aria-hidden="true">!</i> ${plain(one.message)}${one.numbers.slice(0, 5).map((number) => html` <button class="link" onClick=${() => open(number)}>#${number}</button>`)}</li>`)}</ul>`;
}

function Steps({ entries, open }) {
  let before = null;
  return html`<ol class="steps">${(entries ?? []).map((entry) => {
    const at = Date.parse(entry.at);
    const pause = before === null ? null : at - before;
    before = at;
    const came = outcome(entry);
    return html`<li key=${entry.number}><span class="pause">${pause === null ? "" : `+${duration(Math.max(0, pause))}`}</span>
      <span class=${`status ${came.kind}`}><i aria-hidden="true">${came.sign}</i> ${came.word}</span>
      <button class="link" onClick=${() => open(entry.number)}>#${entry.number}</button> ${plain(labelOf(entry))}
      <span class="quiet">${labelOf(entry) === entry.event_type ? "" : plain(entry.event_type ?? "")} ${time(at)}</span></li>`;
  })}</ol>`;
}
