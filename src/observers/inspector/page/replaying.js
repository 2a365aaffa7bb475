// Edit and replay: another body, other headers, another target, and a signature that fits.

import { html, useMemo, useState } from "./vendor/preact.js";
import { replay } from "./api.js";
import { Checked } from "./checking.js";
import { Dialog } from "./dialog.js";
import { isMade } from "./format.js";
import { HeadersField, JsonField, SendRow, TargetField, parseHeaders, pretty, wrong } from "./editor.js";

export function EditDialog({ shown, status, close, sent }) {
  const before = useMemo(() => pretty(shown.body ?? ""), [shown]);
  const beforeHeaders = useMemo(() => {
    const own = shown.headers.filter(([name, value]) => typeof name === "string" && typeof value === "string" && !isMade(name));
    return own.map(([name, value]) => `${name}: ${value}`).join("\n");
  }, [shown]);
  const [body, setBody] = useState(before);
  const [headers, setHeaders] = useState(beforeHeaders);
  const [to, setTo] = useState("");
  const [keepId, setKeepId] = useState(false);
  const isJson = wrong(before) === null;
  const send = async () => {
    const order = {};
    if (body !== before) order.body = body;
    if (headers !== beforeHeaders) {
      const parsed = parseHeaders(headers);
      if (typeof parsed === "string") throw new Error(parsed);
      order.headers = parsed;
    }
    if (to) order.to = to;
    if (keepId) order.keep_id = true;
    sent(await replay(shown.number, order));
  };
  return html`<${Dialog} title=${`Edit and replay #${shown.number}`} close=${close}>
    ${isJson ? html`<${JsonField} label="Body" value=${body} change=${setBody} />
      <${Checked} contract=${shown.contract} event=${shown.event_type} body=${body} />`
      : html`<p class="quiet">The body is not JSON: it is sent as it is.</p>`}
    <${HeadersField} value=${headers} change=${setHeaders} />
    <${TargetField} status=${status} value=${to} change=${setTo} />
    <label class="check"><input type="checkbox" checked=${keepId} onChange=${(event) => setKeepId(event.target.checked)} />
      Keep the message's id, as another attempt of the sender</label>
    <${SendRow} send=${send} label="Sign and send" isReady=${!isJson || wrong(body) === null} />
  </${Dialog}>`;
}
