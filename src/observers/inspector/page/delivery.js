// One delivery: what came, whether it is genuine, what the handler said, and what can be done with it.

import { html, useEffect, useState } from "./vendor/preact.js";
import { get, remove } from "./api.js";
import { Body, MOST } from "./bytes.js";
import { sayFinding } from "./checking.js";
import { CopyMenu } from "./copying.js";
import { prose } from "./prose.js";
import { count, cut, duration, fullTime, headerText, outcome, outcomeOf, plain, size, time, title, verdict } from "./format.js";

const TABS = [["body", "Body"], ["headers", "Headers"], ["signature", "Signature"], ["attempts", "Attempts"]];

/** How much of a name or a path stands above everything; the headers have it whole. */
const LONG = 120;

/** How much of a refusal stands there; the attempt has it whole. */
const SAID_MOST = 300;

/** The id of the bot that a body is about, wherever its contract puts it. */
export function botOf(shown) {
  try {
    const body = JSON.parse(shown.body);
    const found = body?.data?.bot_id ?? body?.bot_id ?? body?.data?.bot?.id;
    return typeof found === "string" ? found : null;
  } catch {
    return null;
  }
}

/** Fetches a delivery, again whenever it changed; what is shown stays until the next one is there. */
function useDelivery(number, change) {
  const [state, setState] = useState({ shown: null, fault: null });
  useEffect(() => {
    let isWanted = true;
    get(`/api/deliveries/${number}`, { most: MOST }).then(
      (shown) => isWanted && setState({ shown, fault: null }),
      (fault) => isWanted && setState({ shown: null, fault }),
    );
    return () => (isWanted = false);
  }, [number, change]);
  return state;
}

/**
 * @param {{ number: number, change: number, tab: string, pins: Set<number>, act: object }} props `change` is another one
 *   whenever the delivery has changed
 */
export function DeliveryView({ number, change, tab, pins, marked, act }) {
  const { shown, fault } = useDelivery(number, change);
  if (fault) {
    return html`<section class="delivery" aria-label="Delivery"><header>
      <div class="heading"><button class="back" onClick=${act.close} aria-label="Close this delivery">←</button><h2>Delivery #${number}</h2></div>
      <p class="fault" role="alert">${fault.message} <span class="quiet">${fault.hint}</span></p>
      <div class="actions"><button onClick=${act.close}>Back to the list</button></div></header></section>`;
  }
  if (!shown || shown.number !== number) return html`<section class="delivery" aria-label="Delivery" aria-busy="true"><p class="coming quiet">Fetching #${number}…</p></section>`;
  const [came, signed] = [outcome(shown), verdict(shown.signature)];
  const last = shown.attempts.at(-1);
  const bot = botOf(shown);
  const todo = adviceOf(shown.hint, last);
  const panel = { body: BodyTab, headers: HeadersTab, signature: SignatureTab, attempts: AttemptsTab }[tab] ?? BodyTab;
  const known = TABS.some(([name]) => name === tab) ? tab : "body";
  return html`<section class="delivery" aria-label=${`Delivery ${number}`}>
    <header>
      <div class="heading">
        <button class="back" onClick=${act.close} aria-label="Close this delivery">←</button>
        <h2>${plain(cut(title(shown), LONG))}</h2>
        <span class=${`badge ${came.kind}`}><i aria-hidden="true">${came.sign}</i> ${came.word}</span>
        <span class=${`badge ${signed.kind}`}><i aria-hidden="true">${signed.sign}</i> signature ${signed.word}</span>
      </div>
      <p class="facts">
        <span>#${number}</span><span title=${fullTime(shown.received_at)}>${time(shown.received_at)}</span>
        <span>${plain(shown.method)} ${plain(cut(shown.path, LONG))}</span><span>${size(shown.body_bytes)}</span>
        ${last && html`<span>${last.error ? "no answer after" : "answered in"} ${duration(last.duration_ms)}</span>`}
        <${Origin} shown=${shown} open=${act.open} />
        ${shown.late_since && html`<span class="odd" title=${`it reached the relay ${fullTime(shown.late_since)}`}>waited ${
          duration(Date.parse(shown.received_at) - Date.parse(shown.late_since))} at the relay</span>`}
        ${bot && html`<button class="link" onClick=${() => act.timeline(bot)}>timeline of this bot</button>
          <button class="link" onClick=${() => act.only(bot)}>only this bot</button>`}
      </p>
      <${Refusal} attempt=${last} />
      ${todo && html`<p class="hint"><strong>What to do:</strong> ${prose(todo)}</p>`}
      ${tab !== "signature" && shown.signature === "invalid" && shown.signature_note && html`<p class="hint"><strong>Why the signature is invalid:</strong> ${prose(shown.signature_note)}</p>`}
      <div class="actions" role="toolbar" aria-label="What to do with it">
        <button class="main" onClick=${() => act.replay(shown)}>Replay <kbd>r</kbd></button>
        <button onClick=${() => act.edit(shown)}>Edit and replay <kbd>e</kbd></button>
        <${CopyMenu} shown=${shown} say=${act.say} />
        <button aria-pressed=${marked === number ? "true" : "false"} onClick=${() => act.compare(number)}>
          ${marked !== null && marked !== number ? `Compare with #${marked}` : marked === number ? "Chosen to compare" : "Compare"} <kbd>d</kbd></button>
        <button aria-pressed=${pins.has(number) ? "true" : "false"} onClick=${() => act.pin(shown)}>${pins.has(number) ? "Pinned" : "Pin"}</button>
        <${Delete} number=${number} act=${act} />
      </div>
    </header>
    <div class="tabs" role="tablist" aria-label="Parts of the delivery">
      ${TABS.map(([name, label]) => html`<button key=${name} role="tab" id=${`tab-${name}`} aria-controls="panel"
        aria-selected=${name === known ? "true" : "false"} tabindex=${name === known ? 0 : -1}
        onKeyDown=${(event) => turn(event, known, act.tab)} onClick=${() => act.tab(name)}>
        ${label}${name === "attempts" ? ` (${shown.attempts.length})` : name === "headers" ? ` (${shown.headers.length})` : ""}</button>`)}
    </div>
    <div class="panel" id="panel" role="tabpanel" aria-labelledby=${`tab-${known}`} tabindex="0">
      <${panel} shown=${shown} />
    </div>
  </section>`;
}

/** What the handler said when it did not acknowledge, or why it said nothing: the first thing that one wants to know. */
function Refusal({ attempt }) {
  if (!attempt || outcomeOf(attempt).kind !== "bad") return null;
  const said = attempt.error ? (attempt.detail ?? attempt.error) : (attempt.body ?? "").trim();
  if (!said) return null;
  return html`<p class="fault"><strong>${attempt.error ? "No answer:" : `The handler answered ${attempt.status}:`}</strong> ${plain(cut(said, SAID_MOST))}</p>`;
}

/** What to do about it; what happened stands above it already. */
function adviceOf(hint, attempt) {
  const said = attempt?.detail;
  return said && hint?.startsWith(said) ? hint.slice(said.length).replace(/^: /, "") : hint;
}

/** The arrow keys lead from tab to tab. */
function turn(event, tab, go) {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  const at = TABS.findIndex(([name]) => name === tab);
  const [next] = TABS[(at + step + TABS.length) % TABS.length];
  go(next);
  document.getElementById(`tab-${next}`)?.focus();
  event.preventDefault();
}

function Origin({ shown, open }) {
  const [before, setBefore] = useState(null);
  useEffect(() => {
    setBefore(null);
    if (!shown.replay_of) return;
    let isWanted = true;
    get(`/api/deliveries/${shown.replay_of}`, { most: 0 }).then(
      ({ number }) => isWanted && setBefore(number),
      (fault) => isWanted && fault.status === 404 && setBefore("gone"),
    );
    return () => (isWanted = false);
  }, [shown.replay_of]);
  if (shown.replay_of) {
    if (typeof before !== "number") return html`<span>replay of ${before === "gone" ? "a delivery that is deleted" : "an earlier delivery"}</span>`;
    return html`<span>replay of <button class="link" onClick=${() => open(before)}>#${before}</button></span>`;
  }
  const words = {
    ingress: "from outside", tunnel: "through the tunnel", trigger: "made by trigger", watch: "a fixture was saved",
    scenario: "a step of a scenario", api: "from the simulated API", replay: "replayed",
  };
  return html`<span>${words[shown.origin] ?? shown.origin}</span>`;
}

function Delete({ number, act }) {
  const [isSure, setSure] = useState(false);
  useEffect(() => setSure(false), [number]);
  const go = async () => {
    if (!isSure) return setSure(true);
    try {
      // Every page hears of it, this one as well.
      await remove(`/api/deliveries/${number}`);
    } catch (fault) {
      act.say(fault.message, fault.hint);
    }
  };
  return html`<button class=${isSure ? "danger" : ""} onClick=${go} onBlur=${() => setSure(false)}>${isSure ? "Delete for good?" : "Delete"}</button>`;
}

const BodyTab = ({ shown }) => html`<${Findings} schema=${shown.schema} />
  <${Body} object=${shown} path=${`/api/deliveries/${shown.number}/body`} label="Body" />`;

/** Where the body and what is documented differ. */
function Findings({ schema }) {
  const findings = schema?.findings ?? [];
  if (findings.length === 0) return null;
  return html`<details class="findings" open><summary>${findings.length} ${findings.length === 1 ? "difference" : "differences"} to what is documented${
    schema.name ? ` (${schema.name})` : ""}</summary><ul>${findings.slice(0, 100).map((finding) => html`<li>${sayFinding(finding)}</li>`)}</ul></details>`;
}

const HeadersTab = ({ shown }) => html`<pre class="raw" tabindex="0">${plain(shown.method)} ${plain(shown.path)}</pre><${Headers} headers=${shown.headers} label="Headers, in the order in which they came" />
  ${shown.trailers && html`<h3>Trailers</h3><${Headers} headers=${shown.trailers} label="Trailers" />`}`;

function Headers({ headers, label }) {
  if (!headers?.length) return html`<p class="quiet">No headers.</p>`;
  return html`<table class="headers" aria-label=${label}>
    <tbody>${headers.map(([name, value]) => html`<tr><th scope="row">${headerText(name)}</th><td>${headerText(value)}</td></tr>`)}</tbody>
  </table>`;
}

const SAID = {
  valid: "The signature is that of the project's secret over these very bytes.",
  invalid: "It does not verify with the project's secret.",
  missing: "It carries no signature that a sender of Meeting BaaS would make.",
  unchecked: "Nothing was checked (--verify off).",
};

function SignatureTab({ shown }) {
  const signed = verdict(shown.signature);
  const isOfSignature = ([name]) => /signature|svix|webhook-|secret|api-key|authorization/i.test(typeof name === "string" ? name : "");
  const headers = shown.headers.filter(isOfSignature);
  return html`<p class=${`verdict ${signed.kind}`}><i aria-hidden="true">${signed.sign}</i> <strong>${signed.word}</strong> ${SAID[shown.signature] ?? ""}</p>
    ${shown.signature_note && html`<p class="hint">${prose(shown.signature_note)}</p>`}
    <h3>What it was checked by</h3>
    ${headers.length ? html`<${Headers} headers=${headers} label="Headers of the signature" />` : html`<p class="quiet">No header of a signature.</p>`}
    <p class="quiet"><code>mbaas-dev verify ${shown.id} --explain</code> says the same in a terminal.</p>`;
}

function AttemptsTab({ shown }) {
  if (shown.attempts.length === 0) return html`<p class="quiet">Nobody was asked yet.</p>`;
  return shown.attempts.map((attempt) => html`<${AttemptView} key=${attempt.number} attempt=${attempt} number=${shown.number} />`).reverse();
}

function AttemptView({ attempt, number }) {
  const came = outcomeOf(attempt);
  const length = attempt.headers?.find(([name]) => String(name).toLowerCase() === "content-length")?.[1];
  const object = { ...attempt, body_bytes: Number(length ?? 0) };
  return html`<article class="attempt" aria-label=${`Attempt ${attempt.number}`}>
    <h3><span class=${`badge ${came.kind}`}><i aria-hidden="true">${came.sign}</i> ${came.word}</span>
      Attempt ${count(attempt.number)} <span class="quiet">${duration(attempt.duration_ms)} · ${time(attempt.started_at)} · ${plain(attempt.target)}</span></h3>
    ${attempt.error
      ? html`<p class="fault">${plain(attempt.detail ?? attempt.error)}</p>`
      : html`<${Headers} headers=${attempt.headers} label=${`Headers of answer ${attempt.number}`} />
        <${Body} object=${object} path=${`/api/deliveries/${number}/attempts/${attempt.number}/body`} label="Answer" />
        ${attempt.body_cut && html`<p class="quiet">The answer was longer than what is kept.</p>`}`}
  </article>`;
}
