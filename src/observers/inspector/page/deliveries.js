// The list as it is scrolled through: what was there when it was opened, in pages that are fetched when they are looked at,
// and above it what has come since. So places in the list stay what they are while deliveries come in.

import { get } from "./api.js";

/** How many deliveries a page has: more than any screen shows, and no more, since the first page is waited for. */
const PAGE = 60;

/** How many pages are kept; those that were not looked at for longest go. */
const MOST_PAGES = 100;

/** How many may have come since before the list is opened anew, at the same place. */
const MOST_FRESH = 2000;

/** How long to wait with asking the record what came, in milliseconds: under load, once for many. */
const PATIENCE = 250;

export class Deliveries {
  /** @param {() => void} changed is called, once a frame at most, when there is something else to show */
  constructor(changed) {
    this.tell = changed;
    this.frame = 0;
    this.opening = 0;
    this.fault = null;
    this.filters = {};
    /** What was told while the list was being read: what is read may be older. */
    this.meanwhile = null;
    /** Is there when the record has answered for the first time, with a list or a fault. */
    this.answered = new Promise((resolve) => (this.answer = resolve));
    this.reset();
  }

  reset() {
    this.anchor = null;
    this.settled = 0;
    this.isCounted = true;
    this.pages = new Map();
    this.fresh = [];
    this.isOpen = false;
  }

  /** How many there are, as far as it is known. */
  get length() {
    return this.fresh.length + this.settled;
  }

  /** Whether anything is left out of the list. */
  get isFiltered() {
    return Object.values(this.filters).some(Boolean);
  }

  changed() {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.tell();
    });
  }

  /** Opens the list of those deliveries. */
  async open(filters) {
    this.filters = { ...filters };
    const turn = ++this.opening;
    this.meanwhile = [];
    let missed = [];
    try {
      const first = await get("/api/deliveries", { ...this.filters, limit: PAGE });
      if (turn !== this.opening) return;
      this.reset();
      this.fault = null;
      this.anchor = first.deliveries[0]?.number ?? 0;
      this.settle(0, first);
      this.isOpen = true;
      missed = this.meanwhile;
    } catch (fault) {
      if (turn !== this.opening) return;
      this.fault = fault;
    }
    this.meanwhile = null;
    this.answer();
    this.hear(missed);
    this.changed();
    this.counting = this.isCounted ? null : this.count(turn);
    await this.counting;
  }

  /** Counts them: of a million that takes longer than reading the newest. */
  async count(turn) {
    const question = { ...this.filters, before: this.anchor + 1, limit: 1, total: true };
    const answer = await get("/api/deliveries", question).catch(() => null);
    if (turn !== this.opening || answer === null || answer.total === null) return;
    this.settled = answer.total;
    this.isCounted = true;
    this.changed();
  }

  settle(page, answer) {
    this.pages.set(page, answer.deliveries);
    if (answer.total !== null && answer.total !== undefined) {
      this.settled = answer.total;
      this.isCounted = true;
    } else {
      // Of a text that is searched for nobody knows how often it occurs: there is at least one page more, or none.
      this.isCounted = answer.next === null;
      const known = page * PAGE + answer.deliveries.length + (this.isCounted ? 0 : 1);
      this.settled = this.isCounted ? known : Math.max(this.settled, known);
    }
    for (const oldest of this.pages.keys()) {
      if (this.pages.size <= MOST_PAGES) break;
      this.pages.delete(oldest);
    }
  }

  /** The delivery at that place of the list; undefined when it is not here yet. */
  at(index) {
    if (index < this.fresh.length) return this.fresh[index];
    const place = index - this.fresh.length;
    return this.pages.get(Math.floor(place / PAGE))?.[place % PAGE];
  }

  /** Where in the list a delivery is, if it is here. */
  indexOf(number) {
    const fresh = this.fresh.findIndex((delivery) => delivery.number === number);
    if (fresh >= 0) return fresh;
    for (const [page, deliveries] of this.pages) {
      const at = deliveries.findIndex((delivery) => delivery.number === number);
      if (at >= 0) return this.fresh.length + page * PAGE + at;
    }
    return -1;
  }

  /** The same of one that need not be here yet; -1 when it is not in the list, or when nobody can tell where. */
  async find(number) {
    const here = this.indexOf(number);
    if (here >= 0 || !this.isOpen || number > this.anchor) return here;
    const turn = this.opening;
    const question = { ...this.filters, after: number - 1, before: this.anchor + 1, limit: 1, total: true };
    const answer = await get("/api/deliveries", question).catch(() => null);
    if (!answer?.total || turn !== this.opening) return -1;
    await Promise.all([this.counting, this.fetch(Math.floor((answer.total - 1) / PAGE))]);
    return this.indexOf(number);
  }

  /** Fetches what is missing from one place to another. */
  want(from, to) {
    const first = Math.max(0, Math.floor((from - this.fresh.length) / PAGE));
    const last = Math.floor((Math.min(to, this.length) - 1 - this.fresh.length) / PAGE);
    for (let page = first; page <= last; page++) this.fetch(page);
  }

  async fetch(page) {
    const here = this.pages.get(page);
    if (here !== undefined) {
      // What is looked at goes to the end of those that may be dropped.
      this.pages.delete(page);
      this.pages.set(page, here);
      return;
    }
    const turn = this.opening;
    // Behind a page that is here it goes on, whereas passing over half a million takes a while.
    const above = this.pages.get(page - 1);
    const place = above?.length === PAGE ? { before: above.at(-1).number } : { before: this.anchor + 1, offset: page * PAGE };
    this.pages.set(page, []);
    try {
      const answer = await get("/api/deliveries", { ...this.filters, ...place, limit: PAGE });
      if (turn !== this.opening) return;
      this.settle(page, { ...answer, total: this.isCounted ? this.settled : null });
    } catch (fault) {
      if (turn === this.opening) this.pages.delete(page);
      this.fault = fault;
    }
    this.changed();
  }

  /** Behind which delivery to begin to listen, so that nothing is missed; `last` was the newest a moment ago. */
  begin(last) {
    if (!this.isOpen) return last ?? 0;
    if (!this.isFiltered) return this.anchor;
    // The newest that is shown says little about the newest that there was.
    this.askLater();
    return last ?? this.anchor;
  }

  /** Takes in what happened. */
  hear(lines) {
    this.meanwhile?.push(...lines);
    for (const { gone } of lines.filter((line) => line.gone !== undefined)) {
      // Told at once, or found out when the page comes back from a sleep.
      if (gone !== (this.gone ?? gone)) this.openLater();
      this.gone = gone;
    }
    if (!this.isOpen) return;
    let isNews = false;
    for (const line of lines) {
      if (typeof line.number !== "number") continue;
      const here = this.replace(line);
      if (here || line.number <= this.anchor) continue;
      isNews = true;
      if (!this.isFiltered) this.insert(line);
    }
    if (isNews && this.isFiltered) this.askLater();
    if (this.fresh.length > MOST_FRESH) this.open(this.filters);
    this.changed();
  }

  replace(line) {
    const places = line.number > this.anchor ? [this.fresh] : this.pages.values();
    for (const deliveries of places) {
      const at = deliveries.findIndex((delivery) => delivery.number === line.number);
      if (at >= 0) {
        deliveries[at] = line;
        return true;
      }
    }
    return false;
  }

  insert(line) {
    let at = 0;
    while (at < this.fresh.length && this.fresh[at].number > line.number) at++;
    this.fresh.splice(at, 0, line);
  }

  /** Which of those that came belong here is for the record to say. */
  askLater() {
    this.asking ||= setTimeout(async () => {
      const turn = this.opening;
      const answer = await get("/api/deliveries", { ...this.filters, after: this.anchor, limit: 1000 }).catch(() => null);
      this.asking = null;
      if (!answer || turn !== this.opening) return;
      if (answer.deliveries.length > 900) return this.open(this.filters);
      this.fresh = answer.deliveries;
      this.changed();
    }, PATIENCE);
  }

  /** Opens the list anew, once for all that is deleted in a moment: places and sums are others now. */
  openLater() {
    this.reopening ||= setTimeout(() => {
      this.reopening = null;
      this.open(this.filters);
    }, PATIENCE);
  }
}
