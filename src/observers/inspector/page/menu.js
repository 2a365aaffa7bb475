// A button with a menu: by mouse, and by the keys that menus have.

import { html, useEffect, useRef, useState } from "./vendor/preact.js";

/** How far a menu stays from the edge of the window, in pixels. */
const EDGE = 8;

/** @param {{ label: unknown, name: string, items: { name: string, run: () => void }[] }} props */
export function Menu({ label, name, items }) {
  const [isOpen, setOpen] = useState(false);
  const box = useRef(null);
  useEffect(() => {
    if (!isOpen) return;
    const outside = (event) => box.current.contains(event.target) || setOpen(false);
    addEventListener("mousedown", outside);
    const items = box.current.querySelector("[role=menu]");
    const beyond = items.getBoundingClientRect().right - (document.documentElement.clientWidth - EDGE);
    if (beyond > 0) items.style.left = `${-beyond}px`;
    items.querySelector("[role=menuitem]").focus();
    return () => removeEventListener("mousedown", outside);
  }, [isOpen]);
  const move = (event) => {
    const all = [...box.current.querySelectorAll("[role=menuitem]")];
    const at = all.indexOf(document.activeElement);
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) all[(at + step + all.length) % all.length].focus();
    else if (event.key === "Escape") {
      setOpen(false);
      box.current.querySelector("button").focus();
    } else if (event.key === "Tab") return setOpen(false);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  const pick = (item) => {
    setOpen(false);
    item.run();
    box.current.querySelector("button").focus();
  };
  return html`<div class="menu" ref=${box} onKeyDown=${isOpen ? move : undefined}>
    <button type="button" aria-haspopup="menu" aria-expanded=${isOpen ? "true" : "false"} onClick=${() => setOpen(!isOpen)}>${label}</button>
    ${isOpen && html`<div class="items" role="menu" aria-label=${name}>
      ${items.map((item) => html`<button key=${item.name} type="button" role="menuitem" onClick=${() => pick(item)}>${item.name}</button>`)}
    </div>`}
  </div>`;
}
