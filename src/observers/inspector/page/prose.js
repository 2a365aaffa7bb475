// Sentences of ours, in which what stands between backticks is to be typed or read as it is.

import { html } from "./vendor/preact.js";
import { plain } from "./format.js";

/** A sentence as it is shown. */
export const prose = (text) => plain(text).split("`").map((part, at) => (at % 2 ? html`<code>${part}</code>` : part));
