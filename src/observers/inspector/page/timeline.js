// One bot's life on an axis of time: its status changes, how it ended, and what is odd about it.

import { html, useEffect, useState } from "./vendor/preact.js";
import { get } from "./api.js";
import { Axis, labelOf, outcome } from "./axis.js";
import { Bots } from "./bots.js";
import { duration, plain, time } from "./format.js";
import { prose } from "./prose.js";

/** @param {{ bot: string, change: number, go: (place: object) => void, open: (number: number) => void, close: () => void }} props */
export function Timeline({ bot, change, go, open, close }) {
  const [asked, setAsked] = useState(bot);
  const [state, setState] = useState({ timeline: null, fault: null });
  useEffect(() => setAsked(bot), [bot]);
  useEffect(() => {
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
      <form class="ask" onSubmit=${submit}><label>Bot <input value=${asked} placeholder="bot id" spellcheck="false" onInput=${(event) => setAsked(event.target.value)} /></label>
      <button>Show</button>${bot && html`<button type="button" onClick=${() => go({ bot: "" })}>All bots</button>`}</form></header>
    ${fault && html`<p class="fault">${fault.message} ${fault.hint}</p>`}
    ${!bot && html`<${Bots} change=${change} choose=${(chosen) => go({ bot: chosen })} />`}
    ${timeline?.entries.length === 0 && html`<p class="quiet">Nothing is recorded of this bot.</p>`}
    ${timeline && !timeline.whole && html`<p class="quiet">Of the newest 1,000 deliveries that name it only.</p>`}
    ${timeline?.entries.length > 0 && html`<${Axis} timeline=${timeline} open=${open} /><${Oddities} oddities=${timeline.oddities} open=${open} />
      <${Steps} entries=${timeline.entries} open=${open} />`}
  </section>`;
}

function Oddities({ oddities, open }) {
  if (!oddities?.length) return html`<p class="verdict good"><i aria-hidden="true">✓</i> Nothing odd: the order and the end are as they should be.</p>`;
  return html`<h3>What is odd</h3><ul class="oddities" aria-label="What is odd">${oddities.map((one) => html`<li><i aria-hidden="true">!</i> ${prose(one.message)}${one.numbers.slice(0, 5).map((number) => html` <button class="link" onClick=${() => open(number)}>#${number}</button>`)}</li>`)}</ul>`;
}

function Steps({ entries, open }) {
  let before = null;
  return html`<ol class="steps" aria-label="Each delivery, in the order of the life">${entries.map((entry) => {
    const at = Date.parse(entry.at);
    const pause = before === null ? null : at - before;
    before = at;
    const came = outcome(entry);
    const label = labelOf(entry);
    return html`<li key=${entry.number}><span class="at quiet">${time(at)}</span><span class="pause">${pause === null ? "" : `+${duration(Math.max(0, pause))}`}</span>
      <button class="link" onClick=${() => open(entry.number)}>#${entry.number}</button>
      <span class=${`status ${came.kind}`}><i aria-hidden="true">${came.sign}</i> ${came.word}</span> <span class="what">${plain(label)}</span>
      <span class="kind quiet">${label === entry.event_type ? "" : plain(entry.event_type ?? "")}</span></li>`;
  })}</ol>`;
}
