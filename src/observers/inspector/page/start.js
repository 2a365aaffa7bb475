// What runs first: the browser paints what it has, and then asks for all that the list needs at once instead of import by import.

const NEEDED = [
  "vendor/preact", "address", "api", "app", "deliveries", "exporting", "failures", "filters", "format", "keys", "list", "live", "menu",
  "part", "pins", "state",
];

const start = () => {
  for (const name of NEEDED) import(`./${name}.js`);
};
// A page that nobody looks at is not painted.
if (document.hidden) start();
else requestAnimationFrame(() => setTimeout(start));
