// Follows what happens over the WebSocket, and goes on where it stopped: a page that slept misses nothing.

import { get } from "./api.js";

/** The pauses before it tries again, in milliseconds. */
const PAUSES = [0, 250, 1000, 2000, 5000];

/** How often the time is looked at, and how much later than that means that the machine slept, in milliseconds. */
const TICK = 5000;
const SLEPT = 20_000;

export class Live {
  /**
   * @param {(lines: object[]) => void} told gets what happened, in its order
   * @param {(state: "live" | "connecting" | "offline" | "ended") => void} changed gets what the connection is like
   */
  constructor(told, changed) {
    this.told = told;
    this.changed = changed;
    this.newest = null;
    this.open = new Set();
    this.failures = 0;
    this.socket = null;
    this.timer = null;
    this.ticked = Date.now();
    // Whether the browser believes to be online says nothing about this machine.
    document.addEventListener("visibilitychange", () => document.hidden || this.look());
    setInterval(() => this.look(), TICK);
  }

  /** Begins behind the delivery of that number. */
  start(newest) {
    this.newest = newest;
    this.connect();
  }

  connect() {
    if (this.isOver) return;
    this.changed(this.failures ? "offline" : "connecting");
    const address = new URL("/api/live", location.href);
    address.protocol = "ws:";
    address.searchParams.set("after", this.newest ?? 0);
    if (this.open.size) address.searchParams.set("open", [...this.open].slice(-500).join(","));
    const socket = new WebSocket(address);
    this.socket = socket;
    socket.onopen = () => {
      if (this.socket !== socket) return;
      this.failures = 0;
      this.changed("live");
    };
    socket.onmessage = (message) => this.socket === socket && this.hear(message.data);
    socket.onclose = () => this.socket === socket && this.again();
  }

  again() {
    this.socket = null;
    const pause = PAUSES[Math.min(this.failures, PAUSES.length - 1)];
    this.failures += 1;
    this.changed("offline");
    // To a browser, being refused looks as when nobody is there.
    get("/api/status").catch((fault) => fault.status === 401 && this.end());
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.connect(), pause);
  }

  /** The token of this page is that of a run which is over: no trying helps. */
  end() {
    this.isOver = true;
    clearTimeout(this.timer);
    this.changed("ended");
  }

  /** Tries at once. */
  now() {
    if (this.socket || this.isOver) return;
    clearTimeout(this.timer);
    this.connect();
  }

  /** After a sleep the connection may be dead without knowing it: it is made anew, and goes on where it was. */
  look() {
    const slept = Date.now() - this.ticked > SLEPT;
    this.ticked = Date.now();
    if (!this.socket) return this.now();
    if (!slept) return;
    const dead = this.socket;
    this.socket = null;
    dead.close();
    this.connect();
  }

  hear(data) {
    const lines = [];
    for (const line of String(data).split("\n")) {
      if (!line) continue;
      const told = JSON.parse(line);
      if (typeof told.number === "number") this.note(told);
      lines.push(told);
    }
    if (lines.length) this.told(lines);
  }

  note(told) {
    this.newest = Math.max(this.newest ?? 0, told.number);
    if (told.type === "received" || told.type === "held" || told.type === "retry") this.open.add(told.number);
    if (told.type === "attempt" || told.type === "not_forwarded") this.open.delete(told.number);
    if (this.open.size > 1000) this.open.delete(this.open.values().next().value);
  }
}
