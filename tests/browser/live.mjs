// What comes in is seen at once; a page that slept or was cut off misses nothing; nothing moves under the pointer.

import { api, assert, open, run } from './browser.mjs';

const trigger = (event) => api('POST', '/api/trigger', { event });
const numbers = (page) => page.locator('.row').evaluateAll((rows) => rows.map((row) => Number(row.id.slice(4))).sort((a, b) => b - a));

await run(async () => {
  await trigger('meeting.started');
  let isCut = false;
  const sockets = [];
  const page = await open({
    prepare: (page) => page.routeWebSocket('**/api/live*', (socket) => {
      if (isCut) return socket.close();
      socket.connectToServer();
      sockets.push(socket);
    }),
  });
  await page.locator('.row .name').waitFor();
  await page.mouse.move(700, 10);
  await trigger('meeting.failed');
  await page.locator('#row-2 .status.good').waitFor();
  assert.deepEqual(await numbers(page), [2, 1]);

  // Under the pointer: the row stays where it is, and a button tells of the new ones.
  await page.locator('#row-1').hover();
  const before = await page.locator('#row-1').boundingBox();
  await trigger('meeting.completed');
  await trigger('meeting.completed');
  await page.locator('.missed', { hasText: '2 new' }).waitFor();
  assert.deepEqual(await page.locator('#row-1').boundingBox(), before);

  // Cut off, as when a machine sleeps: it says so, and catches up.
  await page.mouse.move(700, 10);
  isCut = true;
  await Promise.all(sockets.map((socket) => socket.close()));
  await page.locator('.state.bad', { hasText: 'offline' }).waitFor();
  for (let more = 0; more < 20; more++) await trigger('event.added');
  isCut = false;
  await page.locator('.state.good').waitFor();
  await page.locator('#row-24 .status.good').waitFor();
  assert.deepEqual(await numbers(page), Array.from({ length: 24 }, (_, at) => 24 - at));

  // Many at once, while a filter is set: what fits comes, and nothing else.
  await page.locator('#event').fill('*.failed');
  await page.waitForFunction(() => document.querySelectorAll('.row .name').length === 1);
  await Promise.all(Array.from({ length: 20 }, (_, at) => trigger(at % 2 ? 'meeting.failed' : 'meeting.started')));
  await page.waitForFunction(() => document.querySelectorAll('.row .name').length === 11);

  // What is deleted on another page goes from this one too, with its pin.
  await page.getByRole('button', { name: 'Clear' }).click();
  await page.locator('#row-44').click();
  await page.keyboard.press('p');
  await page.locator('.pins', { hasText: '#44' }).waitFor();
  await api('DELETE', '/api/deliveries/44');
  await page.locator('.said', { hasText: '#44 is deleted' }).waitFor();
  await page.waitForFunction(() => !document.querySelector('#row-44, .delivery, .pins') && document.querySelectorAll('.row .name').length > 0);

  // What comes in while the page loads, between the answers that it waits for: after the list and before what runs, or
  // after what runs and before a list that takes long.
  for (const [path, event, isListFirst] of [
    ['/', 'meeting.started', true], ['/', 'meeting.started', false], ['/?event=*.failed', 'meeting.failed', true],
    ['/?event=*.failed', 'meeting.failed', false],
  ]) {
    let came = null;
    const loading = await open({
      path,
      prepare: async (page) => {
        const [listed, asked] = [/\/api\/deliveries\?/, /\/api\/status/].map((address) => page.waitForResponse(address));
        await page.route(isListFirst ? /\/api\/status/ : /\/api\/deliveries\?/, async (route) => {
          if (came) return route.continue();
          came = 'soon';
          const list = isListFirst ? null : await route.fetch();
          await (isListFirst ? listed : asked);
          came = (await trigger(event)).number;
          await (isListFirst ? route.continue() : route.fulfill({ response: list }));
        });
      },
    });
    await loading.locator('.state.good').waitFor();
    await loading.locator(`#row-${came} .status.good`).waitFor();
    await loading.context().close();
  }
});
