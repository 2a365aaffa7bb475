// Whether a body is as the documentation has it, asked while somebody edits it.

import { html, useEffect, useState } from "./vendor/preact.js";
import { post } from "./api.js";
import { cut, plain } from "./format.js";
import { leadTo, wrong } from "./editor.js";

/** How long to wait while somebody types, in milliseconds. */
const TYPING = 300;

/** A difference to what is documented, in a line. */
export function sayFinding({ path, problem, expected, found }) {
  // Some problems name both sides themselves.
  const isSaid = problem.includes("expected");
  const sides = isSaid ? "" : [expected && `expected ${expected}`, found && `found ${found}`].filter(Boolean).join(", ");
  return plain(cut(`${path || "the whole body"}: ${problem}${sides ? ` (${sides})` : ""}`, 400));
}

/** What the schema of the event says about a body. @param {{ contract: string | null, event: string | null, body: string }} props */
export function Checked({ contract, event, body }) {
  const [findings, setFindings] = useState([]);
  useEffect(() => {
    if (!contract || wrong(body) !== null) return setFindings([]);
    let isWanted = true;
    const timer = setTimeout(() => {
      post("/api/check", { contract, event: event ?? undefined, body }).then((answer) => isWanted && setFindings(answer.findings), () => {});
    }, TYPING);
    return () => {
      isWanted = false;
      clearTimeout(timer);
    };
  }, [contract, event, body]);
  const lead = (finding) => (event) => leadTo(event.target.closest("dialog").querySelector("textarea"), finding);
  return html`<div aria-live="polite">${findings.length > 0 && html`<div class="hint"><strong>Not as documented</strong>; it can be sent all the same.
    <ul class="checked">${findings.slice(0, 5).map((finding) => html`<li><button type="button" class="link" onClick=${lead(finding)}>${sayFinding(finding)}</button></li>`)}</ul>
    ${findings.length > 5 && html`<span class="quiet">${findings.length - 5} more</span>`}</div>`}</div>`;
}
