// The life of a bot as a picture: a dot for each delivery, named where there is room, with silences and oddities marked.

import { html } from "./vendor/preact.js";
import { useWidth } from "./chart.js";
import { duration, outcomeOf, plain, time } from "./format.js";

/** Where the line is, how far apart lines of names are, and how many of those there are at most, in pixels. */
const [LINE, STEP, MOST_LANES] = [40, 16, 5];

/** How wide a letter is, about, and the least that a pause needs to be named, in pixels. */
const [LETTER, ROOM] = [7.1, 84];

/** What an entry is called: the code of a status change, or its event. */
export const labelOf = (entry) => entry.code ?? entry.event_type ?? "delivery";

/** What came of an entry, which has the newest attempt's status and error in it. */
export const outcome = (entry) => (entry.status === null && entry.error === null ? { kind: "idle", sign: "○", word: "not handed over" } : outcomeOf(entry));

/** @param {{ timeline: object, open: (number: number) => void }} props */
export function Axis({ timeline: { entries, oddities }, open }) {
  const [box, width] = useWidth();
  const times = entries.map((entry) => Date.parse(entry.at));
  const [first, last] = [Math.min(...times), Math.max(...times)];
  const margin = 14;
  const x = (at) => (last > first ? margin + ((at - first) / (last - first)) * (width - 2 * margin) : width / 2);
  const gaps = new Set(oddities.filter((one) => one.kind === "gap").map((one) => one.numbers.join()));
  const odd = new Set(oddities.filter((one) => !["gap", "not_acknowledged"].includes(one.kind)).flatMap((one) => one.numbers));
  // Where many stand in one place, one mark is enough.
  let marked = -Infinity;
  const marks = entries.map((entry, at) => odd.has(entry.number) && x(times[at]) - marked > 8 && (marked = x(times[at])));
  const names = placed(entries.map((entry, at) => ({ at: x(times[at]), text: plain(labelOf(entry)) })), width);
  const lanes = 1 + Math.max(0, ...names.map((name) => name?.lane ?? 0));
  const foot = LINE + 18 + lanes * STEP;
  return html`<div ref=${box}><svg class="chart axis-of-bot" viewBox=${`0 0 ${width} ${foot + 22}`} role="img"
      aria-label=${`${entries.length} deliveries in ${duration(last - first)}; the list below has each of them`}>
    <g aria-hidden="true">
    ${entries.slice(1).map((entry, at) => {
      const [from, to] = [x(times[at]), x(times[at + 1])];
      const isGap = gaps.has(`${entries[at].number},${entry.number}`);
      return html`<g><line x1=${from} y1=${LINE} x2=${to} y2=${LINE} class=${isGap ? "silence" : "axis"} />
        ${(isGap || to - from > ROOM) && html`<text x=${(from + to) / 2} y=${LINE - 9} text-anchor="middle" class=${isGap ? "label named" : "label"}>${duration(times[at + 1] - times[at])}${isGap ? " of silence" : ""}</text>`}</g>`;
    })}
    ${names.map((name) => name && html`<line x1=${name.at} y1=${LINE} x2=${name.at} y2=${LINE + 10 + name.lane * STEP} class="axis" />`)}
    ${names.map((name) => name && html`<text x=${name.start} y=${LINE + 22 + name.lane * STEP} class="label name">${name.text}</text>`)}
    ${entries.map((entry, at) => {
      const came = outcome(entry);
      const isBad = came.kind === "bad";
      return html`<g class="dot" onClick=${() => open(entry.number)}><title>#${entry.number} ${plain(labelOf(entry))}, ${came.word}, ${time(entry.at)}</title>
        <circle cx=${x(times[at])} cy=${LINE} r=${isBad ? 8 : 6} class=${`fill-${came.kind}`} />
        ${isBad && html`<text x=${x(times[at])} y=${LINE + 4} text-anchor="middle" class="cross">✗</text>`}
        ${marks[at] !== false && html`<text x=${marks[at]} y=${LINE - 11} text-anchor="middle" class="label named">!</text>`}</g>`;
    })}
    <text x=${margin} y=${foot + 14} class="label">${time(first)}</text>
    ${last > first && html`<text x=${width - margin} y=${foot + 14} class="label" text-anchor="end">${time(last)}</text>`}
  </g></svg></div>`;
}

/** Names below their dots, each in the first line that has room for it; none where no line has. */
function placed(names, width) {
  const ends = [];
  return names.map(({ at, text }) => {
    const long = text.length * LETTER;
    const start = Math.max(2, Math.min(at - 4, width - long - 2));
    let lane = 0;
    while (lane < ends.length && ends[lane] > start - 8) lane++;
    if (lane >= MOST_LANES) return null;
    ends[lane] = start + long;
    return { at, start, text, lane };
  });
}
