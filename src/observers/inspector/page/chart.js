// Pictures are drawn as wide as there is room, so that their text stays as large as any other.

import { useLayoutEffect, useRef, useState } from "./vendor/preact.js";

/** An element to draw in, and its width in pixels. */
export function useWidth() {
  const box = useRef(null);
  const [width, setWidth] = useState(960);
  useLayoutEffect(() => {
    const measure = () => box.current && setWidth(Math.max(240, box.current.clientWidth));
    measure();
    const watcher = new ResizeObserver(measure);
    watcher.observe(box.current);
    return () => watcher.disconnect();
  }, []);
  return [box, width];
}
