// Trigger: any event of any contract, with its variants, and its body to be changed.

import { html, useEffect, useMemo, useState } from "./vendor/preact.js";
import { get, post } from "./api.js";
import { Checked } from "./checking.js";
import { Dialog } from "./dialog.js";
import { JsonField, SendRow, TargetField, pretty, wrong } from "./editor.js";

const SIGNS = [
  ["", "correctly"], ["wrong-secret", "with another secret"], ["tampered", "and then changed"], ["missing", "not at all"],
  ["malformed", "in a wrong form"], ["stale", "too long ago"],
];

const nameOf = (event) => event.event_type ?? event.event;

export function TriggerDialog({ status, close, sent }) {
  const [events, setEvents] = useState([]);
  const [fault, setFault] = useState(null);
  const [contract, setContract] = useState("preview");
  const [event, setEvent] = useState("meeting.completed");
  const [variant, setVariant] = useState("");
  const [sample, setSample] = useState("");
  const [body, setBody] = useState("");
  const [sign, setSign] = useState("");
  const [to, setTo] = useState("");
  useEffect(() => {
    get("/api/events").then((answer) => setEvents(answer.events), setFault);
  }, []);
  const contracts = useMemo(() => [...new Set(events.map((one) => one.contract))], [events]);
  const ofContract = events.filter((one) => one.contract === contract);
  const chosen = ofContract.find((one) => nameOf(one) === event) ?? ofContract[0];
  const variants = (chosen?.variants ?? []).map((one) => (typeof one === "string" ? one : one.name ?? one.variant));
  const name = chosen ? nameOf(chosen) + (variants.includes(variant) ? `@${variant}` : "") : "";
  useEffect(() => {
    if (!name) return;
    let isWanted = true;
    get(`/api/events/${contract}/${encodeURIComponent(name)}`).then((answer) => {
      if (!isWanted) return;
      const text = pretty(typeof answer.sample === "string" ? answer.sample : JSON.stringify(answer.sample));
      setSample(text);
      setBody(text);
    }, (error) => isWanted && setFault(error));
    return () => (isWanted = false);
  }, [contract, name]);
  const send = async () => {
    const order = { event: name, contract };
    if (body !== sample) order.body = body;
    if (sign) order.sign = sign;
    if (to) order.to = to;
    sent(await post("/api/trigger", order));
  };
  const pick = (set) => (happening) => set(happening.target.value);
  return html`<${Dialog} title="Trigger an event" close=${close}>
    ${fault && html`<p class="fault">${fault.message}</p>`}
    <div class="fields of-event">
      <label class="field">Contract<select value=${contract} onChange=${pick(setContract)}>
        ${contracts.map((one) => html`<option key=${one} value=${one}>${one}</option>`)}</select></label>
      <label class="field">Event<select value=${chosen ? nameOf(chosen) : ""} onChange=${pick(setEvent)}>
        ${ofContract.map((one) => html`<option key=${nameOf(one)} value=${nameOf(one)}>${nameOf(one)}</option>`)}</select></label>
      <label class="field">Variant<select value=${variants.includes(variant) ? variant : ""} onChange=${pick(setVariant)} disabled=${variants.length === 0}>
        <option value="">${variants.length ? "the usual" : "there is one only"}</option>
        ${variants.map((one) => html`<option key=${one} value=${one}>${one}</option>`)}</select></label>
      <label class="field">Signed<select value=${sign} onChange=${pick(setSign)}>
        ${SIGNS.map(([value, label]) => html`<option key=${value} value=${value}>${label}</option>`)}</select></label>
    </div>
    ${chosen?.meaning && html`<p class="quiet">${chosen.meaning}</p>`}
    <${JsonField} label="Body" value=${body} change=${setBody} />
    <${Checked} contract=${contract} event=${chosen ? nameOf(chosen) : null} body=${body} />
    <${TargetField} status=${status} value=${to} change=${setTo} />
    <${SendRow} send=${send} label="Sign and send" isReady=${name !== "" && wrong(body) === null} />
  </${Dialog}>`;
}
