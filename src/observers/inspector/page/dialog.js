// A dialog over the page, by the browser's own element: it keeps the focus, and gives it back.

import { html, useEffect, useRef } from "./vendor/preact.js";

/** @param {{ title: string, close: () => void, children: any }} props */
export function Dialog({ title, close, children }) {
  const box = useRef(null);
  useEffect(() => {
    const before = document.activeElement;
    box.current.showModal();
    box.current.querySelector("select, textarea, input")?.focus();
    return () => before?.isConnected && before.focus();
  }, []);
  const outside = (event) => event.target === box.current && close();
  const cancel = (event) => {
    event.preventDefault();
    close();
  };
  return html`<dialog ref=${box} aria-label=${title} onCancel=${cancel} onMouseDown=${outside}>
    <div class="dialog">
      <header><h2>${title}</h2><button class="close" onClick=${close} aria-label="Close">✕</button></header>
      ${children}
    </div>
  </dialog>`;
}
