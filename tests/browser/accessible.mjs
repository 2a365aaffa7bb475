// axe-core finds nothing on any view, in both themes and at three widths; and pictures of each for people to judge.

import { mkdirSync, readFileSync } from 'node:fs';
import { api, assert, open, require, run } from './browser.mjs';

const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
const pictures = process.env.PICTURES;
if (pictures) mkdirSync(pictures, { recursive: true });

let audits = 0;
const violations = [];

async function audit(page, name) {
  // Evaluated by the browser's tooling, which the page's own policy does not concern.
  await page.evaluate(axe);
  const found = await page.evaluate(() => globalThis.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }));
  audits += 1;
  for (const { id, nodes } of found.violations) violations.push(`${name}: ${id}: ${nodes.map((node) => node.html.slice(0, 160)).join(' | ')}`);
  if (pictures) await page.screenshot({ path: `${pictures}/${name}.png` });
}

/** A bot with a life: its status changes, one twice and one late. */
async function life() {
  const bot = '5f2c6bfa-7a0c-4a3e-9d3c-2f6f4f7a9b10';
  const change = (code, at) => api('POST', '/api/trigger', {
    event: 'bot.status_change', contract: 'v1', set: { 'data.bot_id': bot, 'data.status.code': code, 'data.status.created_at': `2026-11-24T02:${at}.000Z` },
  });
  for (const [code, at] of [['joining_call', '00:00'], ['in_waiting_room', '00:08'], ['call_ended', '41:00'], ['in_call_recording', '01:10']]) await change(code, at);
  return bot;
}

await run(async () => {
  for (const event of ['meeting.completed', 'meeting.failed', 'event.added']) await api('POST', '/api/trigger', { event });
  await api('POST', '/api/trigger', { event: 'meeting.completed', sign: 'wrong-secret' });
  const bot = await life();
  for (const scheme of ['light', 'dark']) {
    for (const width of [400, 1280, 2560]) {
      const at = (name) => `${name}-${width}-${scheme}`;
      const page = await open({ width, height: width === 400 ? 800 : 900, scheme });
      await page.locator('.row .name').first().waitFor();
      await audit(page, at('list'));
      await page.locator('.row').first().click();
      for (const tab of ['Body', 'Headers', 'Signature', 'Attempts']) {
        await page.getByRole('tab', { name: new RegExp(tab) }).click();
        await page.locator('.panel > *').first().waitFor();
        await audit(page, at(tab.toLowerCase()));
      }
      await page.getByRole('button', { name: 'Edit and replay' }).click();
      await page.locator('dialog textarea').first().waitFor();
      await audit(page, at('edit'));
      await page.keyboard.press('Escape');
      await page.getByRole('button', { name: 'Trigger' }).click();
      await page.waitForFunction(() => document.querySelector('dialog textarea')?.value.length > 2);
      await audit(page, at('trigger'));
      await page.keyboard.press('Escape');
      await page.getByRole('button', { name: 'Keys' }).click();
      await audit(page, at('help'));
      await page.keyboard.press('Escape');
      for (const [name, view, wait] of [['traffic', 'traffic', '.chart'], ['bots', 'timeline', '.bots'], ['timeline', `timeline&bot=${bot}`, '.axis-of-bot'], ['compare', 'compare&compare=1,2', '.changes']]) {
        await page.goto(new URL(`/?view=${view}`, page.url()).href);
        await page.locator(wait).waitFor();
        await audit(page, at(name));
        const sideways = await page.evaluate(() => [document.documentElement, ...document.querySelectorAll('.page')].some((one) => one.scrollWidth > one.clientWidth));
        assert.ok(!sideways, `${at(name)} is wider than the window`);
        // Dates of other days are long.
        const overlaps = await page.evaluate(() => [...document.querySelectorAll('.steps li')].filter((row) => row.querySelector('.at').scrollWidth > row.querySelector('.at').clientWidth).length);
        assert.equal(overlaps, 0, `${at(name)}: times are over each other`);
      }
      await page.context().close();
    }
  }
  assert.deepEqual(violations, []);
  console.log(`inputs=${audits} violations=${violations.length}`);
});
