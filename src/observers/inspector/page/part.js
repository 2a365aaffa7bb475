// Parts of the page that are not seen at first: they are fetched once the list is there, or when somebody wants them sooner.

import { html, useEffect, useState } from "./vendor/preact.js";

const fetches = [];

/**
 * A component that is fetched before it is shown for the first time.
 * @param {string} name of the component
 * @param {() => Promise<object>} load imports the module that exports it
 */
export function part(name, load) {
  let Known = null;
  const fetch = async () => {
    Known = (await load())[name];
  };
  fetches.push(fetch);
  return function Part(props) {
    const [state, setState] = useState(Known ? "here" : "coming");
    useEffect(() => {
      if (!Known) fetch().then(() => setState("here"), () => setState("missing"));
    }, []);
    if (Known) return html`<${Known} ...${props} />`;
    return state === "missing" && html`<p class="fault" role="alert">mbaas-dev does not answer. Is <code>mbaas-dev listen</code> still running?</p>`;
  };
}

/** Fetches all of them, so that they are there even when the inspector has gone. What cannot be had is asked for again when it is wanted. */
export const fetchAll = () => Promise.allSettled(fetches.map((fetch) => fetch()));
