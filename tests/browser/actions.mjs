// Everything that can be done on the page, by mouse and by keyboard.

import { readFileSync } from 'node:fs';
import { api, assert, inspector, open, run } from './browser.mjs';

const copied = (page) => page.evaluate(() => navigator.clipboard.readText());
const said = (page, text) => page.locator('.said', { hasText: text }).waitFor();
const chosen = (page) => new URL(page.url()).searchParams.get('delivery');

await run(async () => {
  for (const event of ['meeting.completed', 'meeting.failed', 'meeting.started']) await api('POST', '/api/trigger', { event });
  const page = await open();
  const rows = page.locator('.row .name');
  await rows.nth(2).waitFor();
  assert.deepEqual(await rows.allInnerTexts(), ['meeting.started', 'meeting.failed', 'meeting.completed']);

  // The keys lead through the list, and what they choose stands in the address.
  for (const [key, number] of [['j', '3'], ['j', '2'], ['j', '1'], ['j', '1'], ['k', '2']]) {
    await page.keyboard.press(key);
    await page.waitForURL(`**delivery=${number}`);
    assert.equal(chosen(page), number);
  }
  await page.locator('.delivery h2', { hasText: 'meeting.failed' }).waitFor();
  await page.locator('.tree', { hasText: 'meeting_not_found' }).waitFor();
  await page.keyboard.press('Enter');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'panel');

  // Parts of a delivery.
  await page.getByRole('tab', { name: /Headers/ }).click();
  await page.locator('.headers th', { hasText: 'X-MeetingBaas-Signature' }).waitFor();
  await page.getByRole('tab', { name: 'Signature' }).click();
  await page.locator('.verdict.good').waitFor();
  await page.keyboard.press('ArrowRight');
  await page.locator('.attempt .badge.good', { hasText: '200' }).waitFor();
  await page.getByRole('tab', { name: 'Body' }).click();
  await page.getByRole('button', { name: 'Raw' }).click();
  await page.locator('pre.raw', { hasText: '{"event":"failed"' }).waitFor();
  await page.getByRole('button', { name: 'Hex' }).click();
  await page.locator('pre.hex', { hasText: '00000000  7b 22 65 76' }).waitFor();

  // Replay, by key.
  await page.keyboard.press('r');
  await page.waitForURL('**delivery=4**');
  await said(page, 'Sent as #4: 200');
  await page.locator('.facts', { hasText: 'replay of #2' }).getByRole('button', { name: '#2' }).click();
  await page.waitForURL('**delivery=2**');

  // Edit and replay: the signature fits what was edited.
  await page.keyboard.press('e');
  const field = page.locator('dialog textarea').first();
  await field.fill('{"event": "failed",');
  await page.locator('dialog .fault', { hasText: /line 1/ }).waitFor();
  assert.ok(await page.getByRole('button', { name: 'Sign and send' }).isDisabled());
  // What is not as documented is said, and leads to its place.
  await field.fill('{\n  "event": "failed",\n  "data": {"bot_id": [7], "error": "x"}\n}');
  await page.locator('dialog .hint', { hasText: 'Not as documented' }).getByRole('button', { name: /data\.bot_id/ }).click();
  assert.equal(await field.evaluate((field) => document.activeElement === field && field.value.slice(field.selectionStart)), '[7], "error": "x"}\n}');
  await field.fill('{"event": "failed", "data": {"error": "edited here"}}');
  await page.locator('dialog .hint', { hasText: 'Not as documented' }).waitFor();
  await page.locator('dialog textarea').nth(1).fill('Content-Type: application/json\nX-Mine: 1\nAuthorization: Bearer hidden');
  await page.getByRole('button', { name: 'Sign and send' }).click();
  await page.waitForURL('**delivery=5**');
  const edited = await api('GET', '/api/deliveries/5');
  assert.equal(edited.body, '{"event":"failed","data":{"error":"edited here"}}');
  assert.equal(edited.signature, 'valid');
  assert.ok(edited.headers.some(([name, value]) => name === 'X-Mine' && value === '1'));

  // A test has what the sender wrote, but for what it signs itself and for what is masked in the record.
  assert.ok(edited.headers.some(([name, value]) => name === 'Authorization' && value === '[masked]'));
  for (const name of ['Test for pytest', 'Test for vitest', 'Test for Rust']) {
    await page.getByRole('button', { name: 'Copy as…' }).click();
    await page.getByRole('menuitem', { name, exact: true }).click();
    await page.waitForFunction(async () => (await navigator.clipboard.readText()).includes('X-Mine'));
    assert.ok(!/masked|Content-Length/.test(await copied(page)), name);
    await page.evaluate(() => navigator.clipboard.writeText(''));
  }

  // Trigger, with a variant and signed wrong.
  await page.keyboard.press('t');
  const select = (name) => page.locator('dialog').getByRole('combobox', { name, exact: true });
  await select('Event').selectOption('meeting.failed');
  await select('Variant').selectOption({ index: 1 });
  await select('Signed').selectOption('wrong-secret');
  await page.locator('dialog textarea').waitFor();
  await page.waitForFunction(() => document.querySelector('dialog textarea').value.includes('"failed"'));
  await page.getByRole('button', { name: 'Sign and send' }).click();
  await page.waitForURL('**delivery=6**');
  assert.equal((await api('GET', '/api/deliveries/6')).signature, 'invalid');
  await page.locator('.delivery > header .hint', { hasText: 'Why the signature is invalid:' }).waitFor();
  await page.getByRole('tab', { name: 'Signature' }).click();
  await page.locator('.verdict.bad').waitFor();

  // Copies.
  await page.keyboard.press('c');
  await said(page, 'Copied');
  assert.match(await copied(page), /^curl /);
  for (const [name, pattern] of [
    ['Body', /^\{"event":"failed"/], ['Fixture file', /"bot_id": "\{\{ id\('bot'\) \}\}"/], ['Test for pytest', /def test_meeting_failed/],
    ['Test for vitest', /from "vitest"/], ['Test for Rust', /#\[test\]/], ['Everything, as JSON', /"attempts"/],
  ]) {
    await page.getByRole('button', { name: 'Copy as…' }).click();
    await page.getByRole('menuitem', { name, exact: true }).click();
    await page.waitForFunction(async (source) => new RegExp(source).test(await navigator.clipboard.readText()), pattern.source);
  }

  // Comparing two, and their answers.
  await page.keyboard.press('d');
  await page.keyboard.press('j');
  await page.waitForURL('**delivery=5**');
  await page.keyboard.press('d');
  await page.locator('.changes th', { hasText: 'data.error' }).waitFor();
  await page.getByRole('button', { name: 'Answers' }).click();
  await page.locator('.changes th', { hasText: 'latency' }).waitFor();
  await page.keyboard.press('Escape');

  // Pins, and deleting.
  await page.locator('.row').first().click();
  await page.keyboard.press('p');
  await page.locator('.pins', { hasText: '#6' }).waitFor();
  await page.getByRole('button', { name: 'Delete' }).click();
  await page.getByRole('button', { name: 'Delete for good?' }).click();
  await said(page, '#6 is deleted');
  await page.waitForFunction(() => document.querySelectorAll('.row .name').length === 5);

  // Exports of what is listed, redacted; and one bot's deliveries.
  for (const [name, file, begin] of [['NDJSON', 'deliveries.ndjson', /^\{"v":1,/], ['HAR', 'deliveries.har', /^\{"log":/], ['curl', 'deliveries.sh', /^# #1 /]]) {
    await page.getByRole('button', { name: 'Export…' }).click();
    const saving = page.waitForEvent('download');
    await page.getByRole('menuitem', { name }).click();
    const saved = await saving;
    assert.equal(saved.suggestedFilename(), file);
    assert.match(readFileSync(await saved.path(), 'utf8'), begin);
  }
  await page.locator('#row-1').click();
  await page.getByText('only this bot').click();
  await page.waitForURL('**bot=*');
  await page.waitForFunction(() => document.querySelectorAll('.row .name').length === 1);
  assert.equal(await page.locator('#bot').inputValue(), new URL(page.url()).searchParams.get('bot'));
  const [saved] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Export…' }).click().then(() => page.getByRole('menuitem', { name: 'NDJSON' }).click())]);
  assert.equal(readFileSync(await saved.path(), 'utf8').trim().split('\n').length, 1);
  await page.getByRole('button', { name: 'Clear' }).click();
  await page.keyboard.press('Escape');

  // Filters and search, kept in the address.
  await page.keyboard.press('/');
  await page.keyboard.type('edited here');
  await page.waitForURL('**search=edited+here**');
  await page.waitForFunction(() => document.querySelectorAll('.row .name').length === 1);
  await page.goto(`${inspector}/?event=*.failed`);
  await page.waitForFunction(() => document.querySelectorAll('.row .name').length === 3);
  await page.getByRole('button', { name: 'Clear' }).click();
  await page.waitForFunction(() => document.querySelectorAll('.row .name').length === 5);
  await page.locator('select').first().selectOption('failed');
  await page.locator('.nothing', { hasText: 'Nothing fits' }).waitFor();
  await page.getByRole('button', { name: 'Clear' }).click();

  // Help, and the way back.
  await page.locator('.list').focus();
  await page.keyboard.press('?');
  await page.locator('dialog', { hasText: 'edit and replay' }).waitFor();
  await page.keyboard.press('Escape');
  await page.waitForFunction(() => !document.querySelector('dialog'));
  await page.getByRole('button', { name: 'Traffic' }).click();
  await page.locator('.chart').waitFor();
  await page.locator('.latencies').waitFor();
  await page.goBack();
  await page.locator('.list').waitFor();
  await page.locator('.row').last().click();
  await page.getByText('timeline of this bot').click();
  await page.locator('.steps li').first().waitFor();
  await page.getByRole('button', { name: 'All bots' }).click();
  await page.locator('.bots').waitFor();

  // Numbers stand as they were written, and null, an empty text and nothing are three things.
  for (const body of ['{"id":12345678901234567890,"small":1e-7,"a":null,"b":""}', '{"id":12345678901234567890,"small":1e-7,"a":"","c":"7"}']) {
    await (await fetch(process.env.INGRESS, { method: 'POST', body })).arrayBuffer();
  }
  const newest = (await api('GET', '/api/status')).last;
  await page.goto(`${inspector}/?delivery=${newest}`);
  await page.locator('.tree', { hasText: 'id: 12345678901234567890' }).waitFor();
  await page.locator('.tree', { hasText: 'small: 1e-7' }).waitFor();
  await page.goto(`${inspector}/?view=compare&compare=${newest - 1},${newest}`);
  await page.locator('.changes tbody tr').first().waitFor();
  const cells = await page.locator('.changes tbody tr').evaluateAll((rows) => rows.map((row) => [...row.cells].map((cell) => cell.innerText.trim())));
  assert.deepEqual(cells.filter(([name]) => 'abc'.includes(name)), [['a', 'null', '""'], ['b', '""', '–'], ['c', '–', '"7"']]);

  // A bot whose timeline is bookmarked is no filter of the list.
  await page.goto(`${inspector}/?view=timeline&bot=nobody`);
  await page.getByText('Nothing is recorded of this bot').waitFor();
  await page.getByRole('button', { name: 'Back to the list' }).click();
  await page.locator(`#row-${newest}`).waitFor();
  assert.equal(new URL(page.url()).search, '');

  // Bots to choose from, without knowing an id.
  await page.getByRole('button', { name: 'Timeline' }).click();
  await page.getByRole('button', { name: 'All bots' }).click();
  const bots = page.locator('.bots tbody button');
  await bots.first().waitFor();
  const bot = await bots.first().innerText();
  await bots.first().click();
  await page.waitForURL(`**bot=${bot}`);
  await page.locator('.axis-of-bot .dot').first().waitFor();
  await page.goBack();
  await page.goBack();
  await page.goBack();
  await page.locator('.list').waitFor();
});
