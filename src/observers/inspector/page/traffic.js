// A picture of the traffic: how many deliveries came and what became of them, and how long the handler took.

import { html, useEffect, useState } from "./vendor/preact.js";
import { get } from "./api.js";
import { useWidth } from "./chart.js";
import { count, duration, minutes, plain, time } from "./format.js";

const SPANS = [["15m", "15 minutes"], ["1h", "hour"], ["24h", "day"], ["168h", "week"]];
const KINDS = [["acknowledged", "good", "acknowledged"], ["rejected", "bad", "refused by the handler"], ["unanswered", "odd", "without an answer"],
  ["untried", "idle", "not handed over"]];

/** @param {{ change: number, open: (number: number) => void, close: () => void }} props */
export function Traffic({ change, open, close }) {
  const [span, setSpan] = useState("1h");
  const [state, setState] = useState({ stats: null, fault: null });
  useEffect(() => {
    let isWanted = true;
    get("/api/stats", { since: span }).then(
      (stats) => isWanted && setState({ stats, fault: null }),
      (fault) => isWanted && setState({ stats: null, fault }),
    );
    return () => (isWanted = false);
  }, [span, change]);
  const { stats, fault } = state;
  return html`<section class="page" aria-label="Traffic">
    <header class="heading"><button class="back" onClick=${close} aria-label="Back to the list">←</button><h2>Traffic of the last</h2>
      <div class="ways" role="group" aria-label="How far back">${SPANS.map(([value, label]) => html`<button key=${value}
        aria-pressed=${value === span ? "true" : "false"} onClick=${() => setSpan(value)}>${label}</button>`)}</div></header>
    ${fault && html`<p class="fault">${fault.message} ${fault.hint}</p>`}
    ${stats && !stats.whole && html`<p class="quiet">Of the newest 100,000 deliveries only.</p>`}
    ${stats && html`<${Buckets} buckets=${stats.buckets} /><${Latencies} events=${stats.events} more=${stats.more_events} /><${Slowest} slowest=${stats.slowest} open=${open} />`}
  </section>`;
}

function Buckets({ buckets }) {
  const [box, width] = useWidth();
  const highest = Math.max(1, ...buckets.map((bucket) => bucket.deliveries));
  const sum = buckets.reduce((all, bucket) => all + bucket.deliveries, 0);
  if (sum === 0) return html`<p class="quiet" ref=${box}>Nothing came in that time.</p>`;
  const height = 180;
  const step = width / buckets.length;
  const failed = buckets.reduce((all, bucket) => all + bucket.rejected + bucket.unanswered, 0);
  return html`<h3>Deliveries: ${count(sum)}, of which ${count(failed)} failed</h3>
    <div ref=${box}><svg class="chart" viewBox=${`0 0 ${width} ${height + 24}`} role="img"
      aria-label=${`${sum} deliveries in ${buckets.length} steps of time, ${failed} failed; at most ${highest} in one step`}>
      <defs><pattern id="stripes" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
        <rect width="6" height="6" class="fill-bad" /><line x1="0" y1="0" x2="0" y2="6" class="stripe" /></pattern>
        <pattern id="dots" width="6" height="6" patternUnits="userSpaceOnUse"><rect width="6" height="6" class="fill-odd" /><circle cx="3" cy="3" r="1.3" class="dot-in" /></pattern></defs>
      <g aria-hidden="true"><line x1="0" y1=${height} x2=${width} y2=${height} class="axis" /><text x="6" y="16" class="label">${highest}</text>
      ${buckets.map((bucket, at) => {
        let bottom = height;
        return html`<g><title>${time(bucket.at)}: ${KINDS.map(([name, , word]) => `${bucket[name]} ${word}`).join(", ")}</title>
          <rect x=${at * step} y="0" width=${step} height=${height} class="hover" />
          ${KINDS.map(([name, kind]) => {
            const high = (bucket[name] / highest) * (height - 16);
            bottom -= high;
            return high > 0 && html`<rect x=${at * step + 1} y=${bottom} width=${Math.max(1, step - 2)} height=${high} class=${`part-${kind}`} />`;
          })}</g>`;
      })}
      <text x="6" y=${height + 17} class="label">${minutes(buckets[0].at)}</text>
      <text x=${width - 6} y=${height + 17} class="label" text-anchor="end">${minutes(buckets.at(-1).at)}</text>
    </g></svg></div>
    <p class="legend">${KINDS.map(([name, kind, word]) => html`<span key=${name}><i class=${`swatch ${kind}`} aria-hidden="true"></i> ${word}</span>`)}</p>`;
}

function Latencies({ events, more }) {
  if (!events?.length) return null;
  const answered = events.filter((event) => event.p50_ms !== null);
  if (!answered.length) return null;
  const longest = Math.max(...answered.map((event) => event.p99_ms), 1);
  return html`<h3>How long the handler took</h3>
    <table class="latencies"><thead><tr><th scope="col">Event</th><th scope="col">Deliveries</th><th scope="col">Half within</th>
      <th scope="col" class="spare">90 of 100</th><th scope="col">99 of 100</th><th scope="col" class="wide"><span class="hidden">Picture</span></th></tr></thead>
    <tbody>${answered.map((event) => html`<tr><th scope="row">${plain(event.event_type ?? "no event type")}</th><td>${count(event.deliveries)}</td>
      <td>${duration(event.p50_ms)}</td><td class="spare">${duration(event.p90_ms)}</td><td>${duration(event.p99_ms)}</td>
      <td class="wide"><svg viewBox="0 0 200 12" class="bar" aria-hidden="true" preserveAspectRatio="none">
        <rect x="0" y="4" width=${(200 * event.p99_ms) / longest} height="4" class="fill-faint" />
        <rect x="0" y="2" width=${(200 * event.p90_ms) / longest} height="8" class="fill-middle" />
        <rect x="0" y="0" width=${(200 * event.p50_ms) / longest} height="12" class="fill-accent" /></svg></td></tr>`)}</tbody></table>
    ${more > 0 && html`<p class="quiet">${count(more)} more event types, of which fewer came, are left out.</p>`}`;
}

function Slowest({ slowest, open }) {
  if (!slowest?.length) return null;
  return html`<h3>The slowest answers</h3><ol class="slowest">${slowest.map((one) => html`<li key=${one.number}>
    <button class="link" onClick=${() => open(one.number)}>#${one.number}</button> ${plain(one.event_type ?? "no event type")}: ${duration(one.duration_ms)}${one.status ? `, ${one.status}` : ""}</li>`)}</ol>`;
}
