// A body, headers and a target, to be changed before they are sent: what edit-and-replay and trigger have in common.

import { html, useState } from "./vendor/preact.js";

/** JSON for a person to edit; text that is no JSON stays as it is. */
export function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

/** What is wrong with a text as JSON, with its line; null when nothing is. */
export function wrong(text) {
  try {
    JSON.parse(text);
    return null;
  } catch (error) {
    const at = /position (\d+)/.exec(error.message)?.[1];
    if (at === undefined) return error.message;
    const before = text.slice(0, Number(at)).split("\n");
    return `line ${before.length}, column ${before.at(-1).length + 1}: ${error.message.replace(/ in JSON at position.*| at position.*/, "")}`;
  }
}

/** Leads to a value in the field: it is chosen, so that what is typed takes its place. */
export function leadTo(field, { line, column }) {
  const lines = field.value.split("\n");
  const start = lines.slice(0, line - 1).reduce((sum, one) => sum + one.length + 1, 0) + [...(lines[line - 1] ?? "")].slice(0, column - 1).join("").length;
  const value = /^("(?:[^"\\\n]|\\.)*"|[^\s,\]}]+)?/.exec(field.value.slice(start))[0];
  field.setSelectionRange(start, start + value.length);
  // Browsers scroll to what is chosen when the field gets the focus.
  field.blur();
  field.focus();
}

/** A text field for JSON: two spaces for a tab, a line that says what is wrong. */
export function JsonField({ label, value, change }) {
  const fault = wrong(value);
  const indent = (event) => {
    if (event.key !== "Tab" || event.shiftKey || event.target.selectionStart !== event.target.selectionEnd) return;
    event.preventDefault();
    event.target.setRangeText("  ", event.target.selectionStart, event.target.selectionEnd, "end");
    change(event.target.value);
  };
  return html`<label class="field">${label}
      <textarea spellcheck="false" autocomplete="off" rows="14" value=${value} aria-invalid=${fault ? "true" : "false"}
        aria-describedby="json-fault" onKeyDown=${indent} onInput=${(event) => change(event.target.value)}></textarea></label>
    <p id="json-fault" class=${fault ? "fault" : "quiet"} aria-live="polite">${fault ?? "This is JSON. Esc, then Tab, leads out of the field."}</p>`;
}

/** Headers, one to a line: they are written as HTTP writes them. */
export function HeadersField({ value, change }) {
  return html`<label class="field">Headers, one to a line; the signature is made afresh
    <textarea spellcheck="false" autocomplete="off" rows="5" value=${value} onInput=${(event) => change(event.target.value)}></textarea></label>`;
}

/** The headers of such a text; a string says what is wrong with it. */
export function parseHeaders(text) {
  const headers = [];
  for (const [at, line] of text.split("\n").entries()) {
    if (!line.trim()) continue;
    const colon = line.indexOf(":");
    if (colon <= 0) return `line ${at + 1} of the headers is not \`Name: value\``;
    headers.push([line.slice(0, colon).trim(), line.slice(colon + 1).trim()]);
  }
  return headers;
}

/** Where it is sent to, of the targets that listen has; any, where that is allowed. */
export function TargetField({ status, value, change }) {
  const targets = [...new Set((status?.targets ?? []).map((one) => one.target))];
  const usual = status?.ingress ? "where listen forwards it" : "the usual one";
  if (status?.any_target) {
    return html`<label class="field">Target
      <input list="targets" placeholder=${usual} value=${value} onInput=${(event) => change(event.target.value)} />
      <datalist id="targets">${targets.map((target) => html`<option value=${target} />`)}</datalist></label>`;
  }
  return html`<label class="field">Target
    <select value=${value} onChange=${(event) => change(event.target.value)}>
      <option value="">${usual}</option>${targets.map((target) => html`<option key=${target} value=${target}>${target}</option>`)}
    </select></label>`;
}

/** A button that sends, and what came of it when it failed. */
export function SendRow({ send, label, isReady }) {
  const [state, setState] = useState({ busy: false, fault: null });
  const go = async () => {
    setState({ busy: true, fault: null });
    const fault = await send().then(() => null, (error) => error);
    setState({ busy: false, fault });
  };
  return html`${state.fault && html`<p class="fault" role="alert">${state.fault.message} ${state.fault.hint ?? ""}</p>`}
    <div class="send"><button class="main" disabled=${state.busy || !isReady} onClick=${go}>${state.busy ? "Sending…" : label}</button></div>`;
}
