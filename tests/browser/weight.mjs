// How heavy the page is, as a browser that never was here counts it, and when something is seen.

import { assert, open, run, transfers } from './browser.mjs';

const MOST = 120 * 1024;

await run(async () => {
  let transferred;
  const page = await open({ prepare: async (page) => (transferred = await transfers(page)) });
  await page.locator('.row .name').first().waitFor();
  await page.waitForLoadState('networkidle');
  const painted = await page.evaluate(() => performance.getEntriesByName('first-contentful-paint')[0].startTime);
  assert.ok(transferred.bytes > 20_000 && transferred.bytes < MOST, `${transferred.bytes} bytes`);
  console.log(`transferred=${transferred.bytes} bytes, first paint after ${painted.toFixed(0)} ms`);
});
