// The page says that a handler is away, and that it is back, without anything having been sent to it meanwhile.

import { createServer } from 'node:http';
import { api, assert, open, run } from './browser.mjs';

const port = Number(process.env.PORT);

await run(async () => {
  const page = await open();
  await page.locator('.state.good').waitFor();
  await api('POST', '/api/trigger', { event: 'event.updated' });
  await page.locator('.state.bad', { hasText: `handler down: http://127.0.0.1:${port}` }).waitFor();
  await page.locator('#row-1').click();
  await page.locator('.facts', { hasText: 'no answer after' }).waitFor();
  const advice = page.locator('.delivery > header .hint');
  assert.match(await advice.innerText(), /^What to do: start the handler/);
  await advice.locator('code', { hasText: 'mbaas-dev replay --failed' }).waitFor();
  let requests = 0;
  const handler = createServer((request, response) => {
    requests += 1;
    response.end();
  });
  await new Promise((done) => handler.listen(port, '127.0.0.1', done));
  await page.locator('.state.good').waitFor();
  assert.equal(requests, 0);
  await page.keyboard.press('r');
  await page.locator('.said', { hasText: 'Sent as #2: 200' }).waitFor();
  assert.equal(requests, 1);
  handler.close();
});
