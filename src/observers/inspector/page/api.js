// Asks the inspector's REST interface. What it says when something fails is for people already.

/** An answer that is not what was asked for. */
export class Fault extends Error {
  constructor(status, message, hint) {
    super(message);
    this.status = status;
    this.hint = hint ?? "";
  }
}

async function ask(method, path, order) {
  const request = { method, headers: {}, cache: "no-store" };
  if (order !== undefined) {
    request.headers["content-type"] = "application/json";
    request.body = JSON.stringify(order);
  }
  let response;
  try {
    response = await fetch(path, request);
  } catch {
    throw new Fault(0, "mbaas-dev does not answer", "Is `mbaas-dev listen` still running?");
  }
  if (response.ok) return response;
  const said = await response.json().catch(() => ({}));
  throw new Fault(response.status, said.message ?? `the inspector answered ${response.status}`, said.hint);
}

/** Where `path` is, with the parameters that have a value. */
export function url(path, parameters = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== undefined && value !== null && value !== "") query.set(name, value);
  }
  return query.size ? `${path}?${query}` : path;
}

/** A JSON object. */
export const get = async (path, parameters) => (await ask("GET", url(path, parameters))).json();

/** Sends an order; the JSON object that came of it. */
export const post = async (path, order) => (await ask("POST", path, order)).json();

/** Sends a delivery again; the object of the new one. */
export const replay = (number, order = {}) => post(`/api/deliveries/${number}/replay`, order);

/** Removes something. */
export const remove = async (path) => (await ask("DELETE", path)).json();

/** The bytes behind a path. */
export const bytes = async (path) => new Uint8Array(await (await ask("GET", path)).arrayBuffer());

/** The same, as browsers save them. */
export const blob = async (path) => (await ask("GET", path)).blob();

/** The text behind a path. */
export const text = async (path) => (await ask("GET", path)).text();
