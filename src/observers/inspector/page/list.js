// The list: only the rows that can be seen are there, however many deliveries there are.

import { html, useEffect, useLayoutEffect, useRef, useState } from "./vendor/preact.js";
import { cut, duration, fullTime, last, outcome, plain, shortTime, size, title, verdict } from "./format.js";

/** Rows beyond what browsers can lay out are reached by filters. */
const MOST_PIXELS = 30_000_000;

/** How many rows are drawn above and below what can be seen. */
const MARGIN = 8;

/** How high a row is, in pixels: as the style sheet has it. */
const rowHeight = () => (matchMedia("(max-width: 640px)").matches ? 56 : 34);

/**
 * @param {{ deliveries: import("./deliveries.js").Deliveries, chosen: number | null, marked: number | null,
 *   choose: (number: number) => void, version: number }} props
 */
export function List({ deliveries, chosen, marked, choose }) {
  const box = useRef(null);
  const [view, setView] = useState({ top: 0, height: 600, row: rowHeight() });
  const seen = useRef({ fresh: 0, list: null });
  const [held, setHeld] = useState(0);
  const row = view.row;
  const length = Math.min(deliveries.length - held, Math.floor(MOST_PIXELS / row));

  const measure = () => {
    if (box.current) setView({ top: box.current.scrollTop, height: box.current.clientHeight, row: rowHeight() });
  };
  useEffect(() => {
    const watcher = new ResizeObserver(measure);
    watcher.observe(box.current);
    return () => watcher.disconnect();
  }, []);

  // What comes in at the top moves nothing that is being looked at or pointed to: it is held back, or scrolled past.
  useLayoutEffect(() => {
    const before = seen.current;
    seen.current = { fresh: deliveries.fresh.length, list: deliveries.opening };
    if (before.list !== deliveries.opening) return setHeld(0);
    const added = deliveries.fresh.length - before.fresh;
    if (added <= 0) return;
    if (box.current.scrollTop > 0) box.current.scrollTop += added * row;
    else if (held > 0 || box.current.matches(":hover")) setHeld(held + added);
  });
  const letIn = () => {
    setHeld(0);
    box.current.scrollTop = 0;
  };

  // The chosen one is kept in sight when the keyboard moves, and looked for when an address leads to it.
  const [goal, setGoal] = useState(null);
  useEffect(() => {
    setGoal(null);
    if (chosen === null || !deliveries.isOpen) return;
    let isWanted = true;
    deliveries.find(chosen).then((index) => isWanted && index >= 0 && setGoal(index - held));
    return () => (isWanted = false);
  }, [chosen, deliveries.isOpen]);
  useLayoutEffect(() => {
    // The list is as long as it is known to be.
    if (goal === null || goal < 0 || goal >= length) return;
    setGoal(null);
    const [top, bottom] = [goal * row, (goal + 1) * row];
    if (top < box.current.scrollTop) box.current.scrollTop = top;
    else if (bottom > box.current.scrollTop + box.current.clientHeight) box.current.scrollTop = bottom - box.current.clientHeight;
  });

  const first = Math.max(0, Math.floor(view.top / row) - MARGIN);
  const end = Math.min(length, Math.ceil((view.top + view.height) / row) + MARGIN);
  useEffect(() => deliveries.want(first + held, end + held));

  const rows = [];
  for (let index = first; index < end; index++) {
    const delivery = deliveries.at(index + held);
    rows.push(html`<${Row} key=${delivery?.number ?? `empty-${index}`} index=${index} row=${row} length=${length}
      delivery=${delivery} isChosen=${delivery?.number === chosen} isMarked=${delivery?.number === marked} choose=${choose} />`);
  }
  const isHere = chosen !== null && rows.some((one) => one.props.isChosen);
  return html`
    <div class="columns" aria-hidden="true">
      <span>No.</span><span>Time</span><span>Event</span><span>Contract</span><span>Origin</span><span>Status</span><span>Latency</span>
      <span>Signature</span><span>Size</span>
    </div>
    ${held > 0 && html`<button class="missed" onClick=${letIn}>↑ ${held} new</button>`}
    <div class="list" ref=${box} onScroll=${measure} onMouseLeave=${held > 0 ? letIn : undefined} role="listbox" aria-label="Deliveries, newest first" tabindex="0"
      aria-activedescendant=${isHere ? `row-${chosen}` : undefined}>
      <div class="rows" role="presentation" style=${{ height: `${length * row}px` }}>${rows}</div>
    </div>
    ${deliveries.isOpen && length === 0 && html`<${Nothing} isFiltered=${deliveries.isFiltered} />`}`;
}

function Nothing({ isFiltered }) {
  if (isFiltered) return html`<p class="nothing">Nothing fits these filters.</p>`;
  return html`<div class="nothing"><p>Nothing has come in yet.</p>
    <p>Press <kbd>t</kbd> to send an event, or run <code>mbaas-dev trigger meeting.completed</code>.</p></div>`;
}

function Row({ delivery, index, row, length, isChosen, isMarked, choose }) {
  const style = { transform: `translateY(${index * row}px)` };
  if (!delivery) return html`<div class="row empty" style=${style} role="presentation">…</div>`;
  const [came, signed] = [outcome(delivery), verdict(delivery.signature)];
  return html`<div id=${`row-${delivery.number}`} class=${`row ${came.kind} ${isMarked ? "marked" : ""}`} style=${style} role="option"
    aria-selected=${isChosen ? "true" : "false"} aria-setsize=${length} aria-posinset=${index + 1}
    onClick=${() => choose(delivery.number)}>
    <span class="number">#${delivery.number}</span>
    <span class="time" title=${fullTime(delivery.received_at)}>${shortTime(delivery.received_at)}</span>
    <span class="name">${plain(cut(title(delivery), 200))}</span>
    <span class="contract">${delivery.contract ?? "–"}</span>
    <span class="origin">${delivery.origin}</span>
    <span class=${`status ${came.kind}`}><i aria-hidden="true">${came.sign}</i> ${came.kind === "bad" && html`<b class="hidden">failed: </b>`}${came.word}</span>
    <span class="latency">${duration(last(delivery)?.duration_ms)}</span>
    <span class=${`signature ${signed.kind}`}><i aria-hidden="true">${signed.sign}</i> <b class="hidden">signature </b>${signed.word}</span>
    <span class="size">${size(delivery.body_bytes)}</span>
  </div>`;
}
