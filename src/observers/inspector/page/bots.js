// The bots that the newest deliveries are about, to choose one whose timeline is wanted.

import { html, useEffect, useState } from "./vendor/preact.js";
import { get } from "./api.js";
import { count, fullTime, plain, time } from "./format.js";

/** How many pages without a bot are passed over at a time. */
const EMPTY_PAGES = 8;

/** @param {{ change: number, choose: (bot: string) => void }} props */
export function Bots({ change, choose }) {
  const [state, setState] = useState({ bots: [], next: null, isFirst: true, looked: false, fault: null });
  const look = async (before) => {
    const known = before === null ? [] : state.bots;
    let next = before;
    try {
      for (let page = 0; page < EMPTY_PAGES; page++) {
        const answer = await get("/api/timeline", { before: next });
        next = answer.next;
        if (answer.bots.length || next === null) return setState({ bots: merged(known, answer.bots), next, isFirst: before === null, looked: true, fault: null });
      }
      setState({ bots: known, next, isFirst: before === null, looked: true, fault: null });
    } catch (fault) {
      setState({ ...state, fault });
    }
  };
  // Whoever looked further back keeps what was found.
  useEffect(() => void (state.isFirst && look(null)), [change]);
  const { bots, next, looked, fault } = state;
  return html`
    ${fault && html`<p class="fault">${fault.message} ${fault.hint}</p>`}
    ${!looked && !fault && html`<p class="quiet">Looking through the newest deliveries…</p>`}
    ${looked && bots.length === 0 && html`<p class="quiet">${next === null ? "No delivery is about a bot so far." : "The newest deliveries are about no bot."}</p>`}
    ${bots.length > 0 && html`<h3>Bots, the one that was heard of last first</h3>
      <table class="bots" aria-label="Bots"><thead><tr><th scope="col">Bot</th><th scope="col">Last heard of</th><th scope="col">Last event</th>
        <th scope="col">Deliveries</th><th scope="col">Failed</th></tr></thead>
      <tbody>${bots.map((bot) => html`<tr key=${bot.bot_id}><th scope="row"><button class="link" onClick=${() => choose(bot.bot_id)}>${plain(bot.bot_id)}</button></th>
        <td title=${fullTime(bot.received_at)}>${time(bot.received_at)}</td><td>${plain(bot.event_type ?? "–")}</td><td>${count(bot.deliveries)}</td>
        <td class=${bot.failed ? "bad" : "quiet"}>${bot.failed ? html`<i aria-hidden="true">✗</i> ${count(bot.failed)}` : "none"}</td></tr>`)}</tbody></table>`}
    ${next !== null && html`<button class="more" onClick=${() => look(next)}>Look further back</button>`}`;
}

/** What is known, and what older deliveries have of the same bots and of others. */
function merged(known, older) {
  const bots = new Map(known.map((bot) => [bot.bot_id, bot]));
  for (const bot of older) {
    const here = bots.get(bot.bot_id);
    bots.set(bot.bot_id, here ? { ...here, deliveries: here.deliveries + bot.deliveries, failed: here.failed + bot.failed } : bot);
  }
  return [...bots.values()];
}
