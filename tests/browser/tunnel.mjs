// The page says whether anything comes through the tunnel, to whoever is there when it breaks and to whoever comes later.
// Each event that is triggered here tells the test that it is its turn: to take the relay away, and to bring it back.

import { api, open, run } from './browser.mjs';

const goOn = () => api('POST', '/api/trigger', { event: 'meeting.started' });
/** The next try to open the tunnel may be half a minute away. */
const BACK = { timeout: 60_000 };

await run(async () => {
  const page = await open();
  const isOpen = (page) => page.locator('.state.good', { hasText: 'listening at https://hooks.example/in/' });
  const isLost = (page) => page.locator('.state.odd', { hasText: 'tunnel reconnecting: ' });
  await isOpen(page).waitFor();
  await goOn();
  await isLost(page).waitFor();
  const later = await open();
  await isLost(later).waitFor();
  await goOn();
  for (const one of [page, later]) await isOpen(one).waitFor(BACK);
});
