// Says aloud what failed, to whoever does not see the list: one sentence for all that failed in a while, and not a word for
// each row.

import { outcome, plain, title } from "./format.js";

/** How long failures are gathered, in milliseconds. */
const GATHER = 1500;

export class Failures {
  /** @param {(sentence: string) => void} say */
  constructor(say) {
    this.say = say;
    this.failed = new Map();
    this.timer = null;
  }

  /** Takes note of an attempt. */
  hear(delivery) {
    if (outcome(delivery).kind === "bad") this.failed.set(delivery.number, delivery);
    else this.failed.delete(delivery.number);
    this.timer ??= setTimeout(() => this.tell(), GATHER);
  }

  tell() {
    this.timer = null;
    const failed = [...this.failed.values()];
    this.failed.clear();
    if (failed.length === 0) return;
    const newest = failed.at(-1);
    const one = `#${newest.number} ${plain(title(newest))}: ${outcome(newest).word}`;
    this.say(failed.length === 1 ? `Delivery failed: ${one}` : `${failed.length} deliveries failed, the newest ${one}`);
  }
}
