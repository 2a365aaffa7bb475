// What is looked at stands in the address, so that it can be kept as a bookmark and the browser's way back works.

/** The parameters that choose which deliveries are listed, by the names of the REST interface. */
export const FILTERS = ["search", "event", "status", "contract", "origin", "signature", "since", "bot"];

/** What the address says: filters, the chosen delivery, the view, and what belongs to it. */
export function read() {
  const query = new URLSearchParams(location.search);
  const filters = {};
  for (const name of filtersOf(query.get("view"))) {
    const value = query.get(name);
    if (value) filters[name] = value;
  }
  return {
    filters,
    chosen: number(query.get("delivery")),
    tab: query.get("tab") ?? "body",
    view: query.get("view") ?? "list",
    bot: query.get("bot") ?? "",
    pair: (query.get("compare") ?? "").split(",").map(number).filter((value) => value !== null),
    answers: query.get("of") === "answers",
  };
}

/** Those that stand in the address of a view: in that of a timeline, `bot` is the one whose timeline it is. */
const filtersOf = (view) => (view === "timeline" ? FILTERS.filter((name) => name !== "bot") : FILTERS);

const number = (text) => (/^\d{1,15}$/.test(text ?? "") ? Number(text) : null);

/** Writes it; `step` makes it one that the browser's way back leads to. */
export function write(place, step = false) {
  const query = new URLSearchParams();
  for (const name of filtersOf(place.view)) if (place.filters[name]) query.set(name, place.filters[name]);
  if (place.chosen !== null) query.set("delivery", place.chosen);
  if (place.chosen !== null && place.tab !== "body") query.set("tab", place.tab);
  if (place.view !== "list") query.set("view", place.view);
  if (place.view === "timeline" && place.bot) query.set("bot", place.bot);
  if (place.view === "compare" && place.pair.length) query.set("compare", place.pair.join(","));
  if (place.view === "compare" && place.answers) query.set("of", "answers");
  const address = query.size ? `/?${query}` : "/";
  if (address === location.pathname + location.search) return;
  history[step ? "pushState" : "replaceState"](null, "", address);
}
