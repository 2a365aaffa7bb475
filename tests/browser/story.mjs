// What somebody does who has never seen the page: finds what failed, sees why, mends it, and sees it succeed.

import { assert, open, run } from './browser.mjs';

const pictures = process.env.PICTURES;

await run(async () => {
  const page = await open({ width: 1280, height: 800 });
  const picture = async (name) => pictures && page.screenshot({ path: `${pictures}/${name}.png` });
  await page.locator('.row.bad .status', { hasText: '422' }).waitFor();
  await page.locator('.row.bad').click();
  await page.locator('.badge.bad', { hasText: '422' }).waitFor();
  // Why, without looking for it.
  await page.locator('.delivery > header .fault', { hasText: 'data.mp4 has to be the URL of the recording' }).waitFor();
  await page.locator('.findings', { hasText: 'data.mp4: expected a text, found null' }).waitFor();
  assert.doesNotMatch(await page.locator('.findings').innerText(), /null \(expected/);
  await page.getByRole('tab', { name: /Attempts/ }).click();
  await page.locator('.attempt', { hasText: 'data.mp4 has to be the URL of the recording' }).waitFor();
  await picture('inspector-failed');
  await page.getByRole('button', { name: /Edit and replay/ }).click();
  const field = page.locator('dialog textarea').first();
  assert.equal(JSON.parse(await field.inputValue()).data.mp4, null);
  // What is wrong leads to its place, where what is typed stands in its stead.
  await page.getByRole('button', { name: 'data.mp4: expected a text, found null' }).click();
  await picture('inspector-edit');
  await page.keyboard.type('"https://example.test/recording.mp4"');
  assert.equal(JSON.parse(await field.inputValue()).data.mp4, 'https://example.test/recording.mp4');
  await page.locator('dialog .hint').waitFor({ state: 'detached' });
  await page.getByRole('button', { name: 'Sign and send' }).click();
  await page.locator('.delivery .badge.good', { hasText: '200' }).first().waitFor();
  await page.locator('.delivery .badge.good', { hasText: 'signature valid' }).waitFor();
  assert.match(page.url(), /delivery=11/);
});
