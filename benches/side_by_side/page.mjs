// The real page, for benches: says when something was seen; then, for each number on standard input, how long it took until
// the newest row was that of this delivery, and how the page moved since it was opened.

import { createInterface } from 'node:readline';
import { browser, open, transfers } from '../../tests/browser/browser.mjs';

const say = (object) => console.log(JSON.stringify(object));

/** A page that nothing is known of yet, and how soon it was seen. */
async function opened() {
  let transferred;
  const page = await open({
    prepare: async (page) => {
      transferred = await transfers(page);
      await page.addInitScript(() => {
        globalThis.frames_ = { count: 0, longest: 0, before: performance.now() };
        const frame = (now) => {
          const own = globalThis.frames_;
          own.count += 1;
          own.longest = Math.max(own.longest, now - own.before);
          own.before = now;
          if (!own.filled && document.querySelector('.row .name, .nothing')) own.filled = now;
          requestAnimationFrame(frame);
        };
        requestAnimationFrame(frame);
      });
    },
  });
  await page.waitForSelector('.row .name, .nothing');
  await page.waitForLoadState('networkidle');
  const painted = await page.evaluate(() => performance.getEntriesByName('first-contentful-paint')[0].startTime);
  const filled = await page.evaluate(() => globalThis.frames_.filled);
  return [page, { painted_ms: painted, filled_ms: filled, transferred: transferred.bytes }];
}

// What a browser does when it has just been started is no matter of the page.
const [first, { painted_ms: just_started_ms }] = await opened();
await first.context().close();
const [page, seen] = await opened();
await page.evaluate(() => Object.assign(globalThis.frames_, { count: 0, longest: 0, since: performance.now() }));
say({ just_started_ms, ...seen });

for await (const line of createInterface({ input: process.stdin })) {
  const begin = Date.now();
  await page.waitForSelector(`#row-${Number(line)}`, { timeout: 60_000 });
  const caught = Date.now() - begin;
  const moved = await page.evaluate(() => {
    const { count, longest, since } = globalThis.frames_;
    return { frames_per_s: (count / (performance.now() - since)) * 1000, longest_frame_ms: longest };
  });
  say({ behind_ms: caught, ...moved });
}
await browser.close();
