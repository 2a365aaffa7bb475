// How heavy the page is, as a browser that never was here counts it, and when something is seen.

import { assert, open, run } from './browser.mjs';

const MOST = 120 * 1024;

await run(async () => {
  let transferred = 0;
  const page = await open({
    prepare: async (page) => {
      const session = await page.context().newCDPSession(page);
      session.on('Network.loadingFinished', ({ encodedDataLength }) => (transferred += encodedDataLength));
      await session.send('Network.enable');
    },
  });
  await page.locator('.row .name').first().waitFor();
  await page.waitForLoadState('networkidle');
  const painted = await page.evaluate(() => performance.getEntriesByName('first-contentful-paint')[0].startTime);
  assert.ok(transferred > 20_000 && transferred < MOST, `${transferred} bytes`);
  console.log(`transferred=${transferred} bytes, first paint after ${painted.toFixed(0)} ms`);
});
