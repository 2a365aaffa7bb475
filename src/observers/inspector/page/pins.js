// Pinned deliveries: the browser remembers them, by the folder's own ids, for when they are needed again.

const PLACE = "mbaas-dev-pins";
const MOST = 50;

/** What is pinned, the newest first: id, number and title of each. */
export function load() {
  try {
    const pins = JSON.parse(localStorage.getItem(PLACE) ?? "[]");
    return Array.isArray(pins) ? pins.filter((pin) => typeof pin?.id === "string" && typeof pin?.number === "number") : [];
  } catch {
    return [];
  }
}

/** Pins it, or takes the pin out; what is pinned then. */
export function toggle(pins, shown, title) {
  const without = pins.filter((pin) => pin.id !== shown.id);
  return keep(without.length < pins.length ? without : [{ id: shown.id, number: shown.number, title }, ...pins].slice(0, MOST));
}

/** Takes out the pins of what is gone; what is pinned then. */
export const drop = (pins, isGone) => (pins.some((pin) => isGone(pin.number)) ? keep(pins.filter((pin) => !isGone(pin.number))) : pins);

function keep(next) {
  try {
    localStorage.setItem(PLACE, JSON.stringify(next));
  } catch {
    // A browser that keeps nothing forgets them with the page.
  }
  return next;
}
