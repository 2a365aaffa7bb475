// A real Chromium that was let in to the inspector: what all tests of the page begin with.
//
// Environment: INSPECTOR (its URL), TOKEN (of the state folder), MBAAS_TEST_TOOLS (whose node/ has playwright-core and
// axe-core), CHROMIUM (default /usr/bin/chromium).

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';

const { INSPECTOR, TOKEN, MBAAS_TEST_TOOLS, CHROMIUM = '/usr/bin/chromium' } = process.env;
export const require = createRequire(MBAAS_TEST_TOOLS ? resolve(MBAAS_TEST_TOOLS, 'node/package.json') : import.meta.url);
const { chromium } = require('playwright-core');

export const inspector = INSPECTOR;
export { assert };

/** What must not happen on any page, whatever it shows. */
export const faults = [];

export const browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox'] });

/** A page of the inspector; what goes wrong on it is remembered in `faults`. */
export async function open({ path = '/', width = 1440, height = 900, scheme = 'light', prepare = () => {} } = {}) {
  const context = await browser.newContext({
    viewport: { width, height }, colorScheme: scheme, permissions: ['clipboard-read', 'clipboard-write'], reducedMotion: 'reduce',
  });
  const { hostname, port, origin } = new URL(inspector);
  await context.addCookies([
    { name: `mbaas-dev-${port}`, value: TOKEN, domain: hostname, path: '/', httpOnly: true, sameSite: 'Strict' },
  ]);
  const page = await context.newPage();
  await prepare(page);
  page.setDefaultTimeout(20_000);
  page.on('pageerror', (error) => faults.push(`error: ${error.stack ?? error}`));
  page.on('dialog', (dialog) => {
    faults.push(`dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  page.on('console', (message) => {
    const isOurs = /Failed to load resource|WebSocket connection/.test(message.text());
    if (message.type() === 'error' && !isOurs) faults.push(`console: ${message.text()}`);
  });
  page.on('request', (request) => {
    const at = new URL(request.url());
    if (!['data:', 'blob:'].includes(at.protocol) && at.origin !== origin && at.host !== new URL(origin).host) faults.push(`request: ${at}`);
  });
  page.on('popup', (popup) => faults.push(`popup: ${popup.url()}`));
  await page.goto(inspector + path);
  await page.waitForSelector('.state:not(:has-text("connecting")), .state:has-text("reconnecting")');
  return page;
}

/** Counts what is transferred to a page from now on, in bytes. */
export async function transfers(page) {
  const counted = { bytes: 0 };
  const session = await page.context().newCDPSession(page);
  session.on('Network.loadingFinished', ({ encodedDataLength }) => (counted.bytes += encodedDataLength));
  await session.send('Network.enable');
  return counted;
}

/** Asks the REST interface, as a script does. */
export async function api(method, path, order) {
  const response = await fetch(inspector + path, {
    method,
    headers: { authorization: `Bearer ${TOKEN}`, ...(order === undefined ? {} : { 'content-type': 'application/json' }) },
    body: order === undefined ? undefined : JSON.stringify(order),
  });
  const object = await response.json();
  assert.ok(response.ok, `${method} ${path}: ${JSON.stringify(object)}`);
  return object;
}

/** Runs a test, closes the browser whatever comes of it, and ends with what went wrong on the pages. */
export async function run(test) {
  try {
    await test();
    assert.deepEqual(faults, []);
  } finally {
    await browser.close();
  }
}
