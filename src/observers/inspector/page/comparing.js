// Two deliveries, or what the handler answered to them, side by side: only what is different.

import { html, useEffect, useState } from "./vendor/preact.js";
import { get } from "./api.js";
import { duration, headerText, plain, size } from "./format.js";

const MOST = 500;

/** @param {{ pair: number[], answers: boolean, go: (place: object) => void, open: (number: number) => void }} props */
export function Comparison({ pair, answers, go, open, close }) {
  const [state, setState] = useState({ difference: null, fault: null });
  const [a, b] = pair;
  useEffect(() => {
    setState({ difference: null, fault: null });
    if (a === undefined || b === undefined) return;
    get("/api/deliveries/diff", { a, b, answers: answers || undefined }).then(
      (difference) => setState({ difference, fault: null }),
      (fault) => setState({ difference: null, fault }),
    );
  }, [a, b, answers]);
  if (b === undefined) return html`<section class="page"><h2>Compare</h2><p>Choose a delivery, press <kbd>d</kbd>, choose another and press <kbd>d</kbd> again.</p>
    <button onClick=${close}>Back</button></section>`;
  const link = (number) => html`<button class="link" onClick=${() => open(number)}>#${number}</button>`;
  const { difference, fault } = state;
  return html`<section class="page" aria-label="Comparison">
    <header class="heading"><button class="back" onClick=${close} aria-label="Back to the list">←</button>
      <h2>${link(a)} and ${link(b)}</h2>
      <div class="ways" role="group" aria-label="What is compared">
        <button aria-pressed=${answers ? "false" : "true"} onClick=${() => go({ answers: false })}>Requests</button>
        <button aria-pressed=${answers ? "true" : "false"} onClick=${() => go({ answers: true })}>Answers</button>
        <button onClick=${() => go({ pair: [b, a] })}>Swap</button>
      </div></header>
    ${fault && html`<p class="fault">${fault.message} ${fault.hint}</p>`}
    ${difference?.same && html`<p class="quiet">They are the same.</p>`}
    ${difference && (!difference.same || answers) && html`<${Changes} difference=${difference} pair=${pair} />`}
  </section>`;
}

function Changes({ difference, pair: [a, b] }) {
  const rows = [];
  for (const name of ["method", "path", "status", "error"]) {
    const sides = difference[name];
    if (sides && sides.from !== sides.to) rows.push([name, sides.from, sides.to]);
  }
  const latency = difference.latency_ms;
  if (latency) rows.push(["latency", duration(latency.from), duration(latency.to)]);
  return html`
    <table class="changes"><thead><tr><th scope="col">What</th><th scope="col">#${a}</th><th scope="col">#${b}</th></tr></thead><tbody>
      ${rows.map(([name, from, to]) => html`<tr><th scope="row">${name}</th><${Side} value=${from} kind="from" /><${Side} value=${to} kind="to" /></tr>`)}
      ${(difference.headers ?? []).map(({ name, from, to }) => html`<tr><th scope="row">${headerText(name)}</th>
        <${Side} value=${lines(from)} kind="from" /><${Side} value=${lines(to)} kind="to" /></tr>`)}
      <${BodyRows} body=${difference.body} />
    </tbody></table>`;
}

/** The values of a header, one to a line; none where it is not there. */
const lines = (values) => (values?.length ? values.map(headerText).join("\n") : undefined);

/** A value as JSON writes it, so that null, an empty text and nothing are three things. */
const literal = (value) => JSON.stringify(value, null, 1);

function BodyRows({ body }) {
  if (!body || body.kind === "same") return null;
  if (body.kind === "json") {
    if (body.changes.length === 0) return html`<tr><th scope="row">body</th><td colspan="2" class="quiet">the same values, written differently</td></tr>`;
    const shown = body.changes.slice(0, MOST);
    return html`${shown.map((change) => html`<tr><th scope="row">${plain(change.path || "the whole body")}</th>
      <${Side} value=${change.change === "added" ? undefined : literal(change.change === "removed" ? change.value : change.from)} kind="from" />
      <${Side} value=${change.change === "removed" ? undefined : literal(change.change === "added" ? change.value : change.to)} kind="to" /></tr>`)}
      ${body.changes.length > MOST && html`<tr><td colspan="3" class="quiet">${body.changes.length - MOST} more differences</td></tr>`}`;
  }
  if (body.kind === "binary") {
    return html`<tr><th scope="row">body</th><${Side} value=${size(body.bytes.from)} kind="from" /><${Side} value=${size(body.bytes.to)} kind="to" /></tr>`;
  }
  return html`<tr><th scope="row">body</th><td colspan="2"><pre class="raw" tabindex="0">${plain(body.diff)}</pre></td></tr>`;
}

function Side({ value, kind }) {
  if (value === undefined || value === null) return html`<td class="none">–</td>`;
  const text = String(value);
  return html`<td class=${kind}><pre>${plain(text.length > 2000 ? `${text.slice(0, 2000)}…` : text)}</pre></td>`;
}
