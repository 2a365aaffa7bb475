// The page: a list, the chosen delivery beside it, and what can be opened over them.

import { html, render, useCallback, useEffect, useMemo, useRef, useState } from "./vendor/preact.js";
import * as address from "./address.js";
import { get, replay } from "./api.js";
import { Failures } from "./failures.js";
import { Deliveries } from "./deliveries.js";
import { Filters } from "./filters.js";
import { plain, title } from "./format.js";
import { onKeys } from "./keys.js";
import { List } from "./list.js";
import { Live } from "./live.js";
import { fetchAll, part } from "./part.js";
import * as pinned from "./pins.js";
import { State } from "./state.js";

const Comparison = part("Comparison", () => import("./comparing.js"));
const DeliveryView = part("DeliveryView", () => import("./delivery.js"));
const EditDialog = part("EditDialog", () => import("./replaying.js"));
const Help = part("Help", () => import("./help.js"));
const Timeline = part("Timeline", () => import("./timeline.js"));
const Traffic = part("Traffic", () => import("./traffic.js"));
const TriggerDialog = part("TriggerDialog", () => import("./triggering.js"));

/** How long something is said, in milliseconds. */
const SAID = 6000;

/** How often a picture of the record is drawn anew while deliveries come in, in milliseconds. */
const REDRAW = 2000;

/** How often it is asked what runs, in milliseconds. */
const STATUS = 5000;

/** What tells that something else runs than before, or not as before. */
const OF_STATE = new Set(["target_down", "target_up", "reconnecting", "tunnel", "error"]);

function App() {
  const [place, setPlace] = useState(address.read);
  const [version, setVersion] = useState(0);
  const deliveries = useMemo(() => new Deliveries(() => setVersion((number) => number + 1)), []);
  const [link, setLink] = useState("connecting");
  const [status, setStatus] = useState(null);
  const [news, setNews] = useState("");
  const [changes, setChanges] = useState({ number: null, count: 0 });
  const [epoch, setEpoch] = useState(0);
  const [dialog, setDialog] = useState(null);
  const [said, setSaid] = useState(null);
  const [pins, setPins] = useState(pinned.load);
  const [marked, setMarked] = useState(null);
  const here = useRef(null);
  here.current = { place, marked, deliveries, dialog };

  const go = useCallback((next, step = true) => {
    setPlace((before) => {
      const after = { ...before, ...next };
      address.write(after, step);
      return after;
    });
  }, []);
  const say = useCallback((message, hint) => setSaid({ message, hint, at: Date.now() }), []);
  const fail = useCallback((fault) => say(fault.message, fault.hint), []);

  useEffect(() => {
    const back = () => setPlace(address.read());
    addEventListener("popstate", back);
    return () => removeEventListener("popstate", back);
  }, []);
  useEffect(() => {
    if (!said) return;
    const timer = setTimeout(() => setSaid(null), SAID);
    return () => clearTimeout(timer);
  }, [said]);
  // While it is drawn for the first time, not after: the rows are what is waited for.
  useMemo(() => void deliveries.open(place.filters), [JSON.stringify(place.filters)]);
  useEffect(() => void (deliveries.isOpen && fetchAll()), [deliveries.isOpen]);

  // What happens.
  useEffect(() => {
    let redraw = 0;
    const gone = (line) => {
      const named = line.deleted ?? [];
      const is = (number) => named.includes(number) || (line.ranges ?? []).some(([first, last]) => first <= number && number <= last);
      if (named.length && named.length <= 5) say(`${named.map((number) => `#${number}`).join(", ")} ${named.length > 1 ? "are" : "is"} deleted`);
      else say("Older deliveries are deleted");
      setPins((before) => pinned.drop(before, is));
      if (is(here.current.place.chosen)) go({ chosen: null });
      if (is(here.current.marked)) setMarked(null);
    };
    const failures = new Failures(setNews);
    const ask = () => get("/api/status").then(setStatus, () => {});
    const live = new Live((lines) => {
      deliveries.hear(lines);
      for (const line of lines) {
        if (line.type === "attempt") failures.hear(line);
        if (OF_STATE.has(line.type)) ask();
        if (line.type === "deleted") gone(line);
        if (line.type === "error") say(line.message, line.hint);
        if (line.number === here.current.place.chosen) setChanges(({ count }) => ({ number: line.number, count: count + 1 }));
      }
      redraw ||= setTimeout(() => {
        redraw = 0;
        setEpoch((count) => count + 1);
      }, REDRAW);
    }, setLink);
    const asked = get("/api/status").then((found) => {
      setStatus(found);
      return found.last;
    }, fail);
    // The two are answered in any order, and deliveries come in between.
    Promise.all([asked, deliveries.answered]).then(([last]) => live.start(deliveries.begin(last)));
  }, []);
  // What is not told, and what was told while the page slept, is asked for.
  useEffect(() => {
    if (link !== "live") return;
    const ask = () => document.hidden || get("/api/status").then(setStatus, () => {});
    ask();
    const timer = setInterval(ask, STATUS);
    return () => clearInterval(timer);
  }, [link]);

  const act = useMemo(() => {
    const open = async (which) => {
      if (typeof which === "number") return go({ chosen: which, view: "list" });
      await get(`/api/deliveries/${which}`, { most: 0 }).then((shown) => go({ chosen: shown.number, view: "list" }), fail);
    };
    const shownNow = () => get(`/api/deliveries/${here.current.place.chosen}`);
    const withChosen = (run) => () => here.current.place.chosen !== null && shownNow().then(run, fail);
    // What was too large to be shown at once is fetched before it is edited.
    const edit = async (shown) => {
      const whole = shown.body_omitted ? await get(`/api/deliveries/${shown.number}`) : shown;
      setDialog({ kind: "edit", shown: whole });
    };
    const sent = (delivery) => {
      setDialog(null);
      say(`Sent as #${delivery.number}: ${delivery.attempts?.at(-1)?.status ?? delivery.attempts?.at(-1)?.error ?? "recorded"}`);
      go({ chosen: delivery.number, view: "list", tab: "attempts" });
    };
    const again = (shown) => replay(shown.number).then(sent, fail);
    const compare = (number) => {
      const first = here.current.marked;
      if (first === null) {
        setMarked(number);
        say(`#${number} is the first to compare: choose another and press d`);
      } else if (first === number) setMarked(null);
      else {
        setMarked(null);
        go({ view: "compare", pair: [first, number], answers: false });
      }
    };
    const pin = (shown) => setPins((before) => pinned.toggle(before, shown, title(shown)));
    return {
      open, sent, say, compare, pin,
      close: () => go({ chosen: null, view: "list" }),
      back: () => go({ view: "list" }),
      tab: (tab) => go({ tab }, false),
      timeline: (bot) => go({ view: "timeline", bot }),
      replay: again,
      edit: (shown) => edit(shown).catch(fail),
      only: (bot) => go({ filters: { bot }, view: "list" }),
      chosen: {
        replay: withChosen(again),
        edit: withChosen(edit),
        copy: withChosen(async (shown) => (await import("./copying.js")).copy("curl", shown, say)),
        pin: withChosen(pin),
        compare: () => here.current.place.chosen !== null && compare(here.current.place.chosen),
      },
    };
  }, []);

  useEffect(() => onKeys({
    step: (by) => {
      const { deliveries, place } = here.current;
      const at = place.chosen === null ? -1 : deliveries.indexOf(place.chosen);
      const next = at < 0 ? 0 : Math.min(deliveries.length - 1, Math.max(0, at + by));
      const delivery = deliveries.at(next);
      if (delivery) go({ chosen: delivery.number, view: "list" }, false);
    },
    enter: () => document.getElementById("panel")?.focus(),
    search: () => document.getElementById("search")?.focus(),
    trigger: () => setDialog({ kind: "trigger" }),
    help: () => setDialog({ kind: "help" }),
    close: () => (here.current.place.view === "list" ? act.close() : act.back()),
    isBusy: () => here.current.dialog !== null,
    ...act.chosen,
  }), []);

  const closeDialog = () => setDialog(null);
  const numbers = new Set(pins.map((pin) => pin.number));
  const chosenChange = changes.number === place.chosen ? changes.count : 0;
  return html`
    <header class="top">
      <h1><img src="/page/icon.svg" alt="" width="22" height="22" /> mbaas-dev</h1>
      <${State} link=${link} status=${status} />
      <nav aria-label="Views">
        <button class="main" onClick=${() => setDialog({ kind: "trigger" })}>Trigger <kbd>t</kbd></button>
        <button aria-pressed=${place.view === "traffic" ? "true" : "false"} onClick=${() => go({ view: place.view === "traffic" ? "list" : "traffic" })}>Traffic</button>
        <button aria-pressed=${place.view === "timeline" ? "true" : "false"} onClick=${() => go({ view: place.view === "timeline" ? "list" : "timeline" })}>Timeline</button>
        <button onClick=${() => setDialog({ kind: "help" })} aria-label="Keys">?</button>
      </nav>
    </header>
    <main class=${`${place.view === "list" ? "listing" : "viewing"} ${place.chosen !== null ? "with-delivery" : ""}`}>
      ${place.view === "list" && html`
        <section class="deliveries" aria-label="Deliveries">
          <${Filters} filters=${place.filters} change=${(filters) => go({ filters }, false)} say=${say} />
          ${pins.length > 0 && html`<p class="pins"><span>Pinned:</span> ${pins.map((pin) => html`<button key=${pin.id} class="link"
            onClick=${() => act.open(pin.id)}>#${pin.number} ${plain(pin.title ?? "")}</button>`)}</p>`}
          ${deliveries.fault && html`<p class="fault" role="alert">${deliveries.fault.message} ${deliveries.fault.hint}</p>`}
          <${List} deliveries=${deliveries} version=${version} chosen=${place.chosen} marked=${marked} choose=${(number) => go({ chosen: number })} />
        </section>
        ${place.chosen !== null && html`<${DeliveryView} number=${place.chosen} change=${chosenChange} tab=${place.tab} pins=${numbers}
          marked=${marked} act=${act} />`}`}
      ${place.view === "traffic" && html`<${Traffic} change=${epoch} open=${act.open} close=${act.back} />`}
      ${place.view === "timeline" && html`<${Timeline} bot=${place.bot} change=${epoch} go=${go} open=${act.open} close=${act.back} />`}
      ${place.view === "compare" && html`<${Comparison} pair=${place.pair} answers=${place.answers} go=${go} open=${act.open} close=${act.back} />`}
    </main>
    <div class="said" role="status" aria-live="polite">${said && html`<p>${said.message}${said.hint && html` <span class="quiet">${said.hint}</span>`}</p>`}</div>
    <p class="hidden" role="status">${news}</p>
    ${dialog?.kind === "help" && html`<${Help} close=${closeDialog} />`}
    ${dialog?.kind === "trigger" && html`<${TriggerDialog} status=${status} close=${closeDialog} sent=${act.sent} />`}
    ${dialog?.kind === "edit" && html`<${EditDialog} shown=${dialog.shown} status=${status} close=${closeDialog} sent=${act.sent} />`}`;
}

const root = document.getElementById("app");
root.textContent = "";
render(html`<${App} />`, root);
