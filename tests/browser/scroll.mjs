// A hundred thousand deliveries: the ends of the list are reached, and only what can be seen is there.

import { assert, open, run } from './browser.mjs';

const TOTAL = Number(process.env.TOTAL);

await run(async () => {
  const page = await open();
  await page.locator(`#row-${TOTAL}`).waitFor();
  const list = page.locator('.list');
  await page.waitForFunction((height) => document.querySelector('.list').scrollHeight >= height, TOTAL * 34);
  for (const number of [1, Math.floor(TOTAL / 2), Math.floor(TOTAL / 3), TOTAL - 5, 7]) {
    await list.evaluate((box, top) => (box.scrollTop = top), (TOTAL - number) * 34);
    await page.locator(`#row-${number} .name`).waitFor();
    assert.ok((await page.locator('.row').count()) < 100, 'only what can be seen is there');
  }
  // They came days ago, and the list says when.
  const times = await page.locator('.row .time').evaluateAll((cells) => cells.filter((cell) => cell.scrollWidth > cell.clientWidth).map((cell) => cell.innerText));
  assert.deepEqual(times, [], 'times are cut off');
  // What an address leads to is shown in its place and marked, however far down it is.
  for (const number of [TOTAL - 3, Math.floor(TOTAL / 2) + 11, 12]) {
    const led = await open({ path: `/?delivery=${number}` });
    await led.locator(`#row-${number}[aria-selected="true"]`).waitFor();
    const isSeen = (row) => {
      const [at, list] = [row.getBoundingClientRect(), row.closest('.list').getBoundingClientRect()];
      return at.top >= list.top && at.bottom <= list.bottom;
    };
    assert.ok(await led.locator(`#row-${number}`).evaluate(isSeen), `#${number} is not in sight`);
    await led.context().close();
  }
  // One that is not there says so, and leads back.
  const lost = await open({ path: `/?delivery=${TOTAL + 9}` });
  await lost.locator('.delivery .fault').waitFor();
  assert.ok((await lost.locator('.delivery header').evaluate((header) => parseFloat(getComputedStyle(header).paddingLeft))) > 8);
  await lost.getByRole('button', { name: 'Back to the list' }).click();
  await lost.waitForFunction(() => !document.querySelector('.delivery') && location.search === '');
  await lost.context().close();
  // The longest that the page stood still while it was scrolled from end to end.
  const longest = await list.evaluate(async (box) => {
    let [longest, before] = [0, performance.now()];
    for (let step = 0; step <= 120; step++) {
      box.scrollTop = (box.scrollHeight * step) / 120;
      await new Promise((done) => requestAnimationFrame(done));
      longest = Math.max(longest, performance.now() - before);
      before = performance.now();
    }
    return longest;
  });
  console.log(`longest frame while scrolling ${TOTAL} deliveries: ${longest.toFixed(0)} ms`);
});
