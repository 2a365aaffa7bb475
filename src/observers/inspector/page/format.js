// How times, sizes and outcomes are written.

const clock = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3, hourCycle: "h23",
});
const minute = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat(undefined, { year: "numeric", month: "2-digit", day: "2-digit" });
const whole = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });

/** The time of day, with the date in front when it is another day. */
export function time(moment, now = new Date(), form = clock) {
  const date = new Date(moment);
  if (Number.isNaN(date.getTime())) return String(moment);
  const time = form.format(date);
  return date.toDateString() === now.toDateString() ? time : `${day.format(date)} ${time}`;
}

const earlier = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

/** The same in a column of the list, which has no room for more than a day and a time. */
export function shortTime(moment, now = new Date()) {
  const date = new Date(moment);
  if (date.toDateString() === now.toDateString()) return time(moment, now);
  return date.getFullYear() === now.getFullYear() ? earlier.format(date) : time(moment, now, minute);
}

/** The same to the minute, for axes. */
export const minutes = (moment) => time(moment, new Date(), minute);

/** Date and time in words. */
export const fullTime = (moment) => whole.format(new Date(moment));

const two = (large, unit, small, part) => (small ? `${large} ${unit} ${small} ${part}` : `${large} ${unit}`);

/** A duration in milliseconds, for people. */
export function duration(ms) {
  if (ms === null || ms === undefined) return "";
  if (ms < 1000) return `${ms.toFixed(ms < 10 ? 1 : 0)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)} s`;
  const [seconds, minutes] = [Math.round(ms / 1000), Math.round(ms / 60_000)];
  if (seconds < 3600) return two(Math.floor(seconds / 60), "min", seconds % 60, "s");
  return two(Math.floor(minutes / 60), "h", minutes % 60, "min");
}

/** A number of bytes, for people. */
export function size(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  if (bytes < 1_000_000) return `${(bytes / 1000).toFixed(1)} kB`;
  return `${(bytes / 1_000_000).toFixed(1)} MB`;
}

/** A number with its thousands apart. */
export const count = (number) => number.toLocaleString();

/** What a delivery is called: its event type, or else its method and path. */
export const title = (delivery) => delivery.event_type ?? `${delivery.method} ${delivery.path}`;

export const last = (delivery) => delivery.attempts?.[delivery.attempts.length - 1];

/** What came of a delivery: a kind for its colour, a sign and a word, so that colour alone never says it. */
export function outcome(delivery) {
  const attempt = last(delivery);
  if (delivery.not_forwarded) return { kind: "idle", sign: "○", word: words[delivery.not_forwarded] ?? "not forwarded" };
  if (delivery.held) return { kind: "odd", sign: "‖", word: "held" };
  if (!attempt) return { kind: "idle", sign: "…", word: "waiting" };
  return outcomeOf(attempt);
}

/** What came of one attempt. */
export function outcomeOf(attempt) {
  if (attempt.error) return { kind: "bad", sign: "✗", word: attempt.error };
  const good = attempt.status >= 200 && attempt.status < 300;
  return { kind: good ? "good" : "bad", sign: good ? "✓" : "✗", word: String(attempt.status) };
}

const words = {
  signature: "not verified", filtered: "filtered", disabled: "disabled", no_target: "no target", incomplete: "incomplete", too_large: "too large",
};

/** What is said of a signature. */
export function verdict(signature) {
  switch (signature) {
    case "valid": return { kind: "good", sign: "✓", word: "valid" };
    case "invalid": return { kind: "bad", sign: "✗", word: "invalid" };
    case "missing": return { kind: "odd", sign: "–", word: "missing" };
    default: return { kind: "idle", sign: "?", word: signature ?? "unchecked" };
  }
}

/** What text from the wire looks like when nothing in it may hide or reorder what is around it. */
export function plain(text) {
  return String(text).replace(hidden, (character) => `\\u{${character.codePointAt(0).toString(16)}}`);
}

// Controls, what reorders text, and what has no width: the same that a terminal is spared.
const hidden = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]/gu;

/** Headers that whoever sends a delivery again makes anew. */
export const isMade = (name) => /^(host|content-length|x-meetingbaas-signature|svix-.*|webhook-(id|timestamp|signature)|x-mb-secret|x-meeting-baas-api-key)$/i.test(name);

/** At most so many characters of a text, with an ellipsis where it was cut. */
export const cut = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

/** A header's name or value as the interface gives it: text, or an object with bytes in base64. */
export function headerText(value) {
  if (typeof value === "string") return plain(value);
  const bytes = Uint8Array.from(atob(value?.b64 ?? ""), (character) => character.charCodeAt(0));
  return plain([...bytes].map((byte) => (byte < 0x80 ? String.fromCharCode(byte) : `\\x${byte.toString(16)}`)).join(""));
}
