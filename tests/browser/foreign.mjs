// A page on another port of this machine, in a browser that was let in to the inspector: it can neither read nor send.
//
// Its requests carry the cookie where the browser takes ports of one host for one site, which is when it is at 127.0.0.1;
// at localhost it is another site.

import { createServer } from 'node:http';
import { api, assert, browser, faults, inspector, open, run } from './browser.mjs';

const CANARY = 'c4n4ry';

/** What a page tries: each returns what it got to see, or fails. */
const TRIES = `
const at = (path) => INSPECTOR + path;
const order = JSON.stringify({ event: 'meeting.failed' });
const seen = (make) => new Promise((done, fail) => {
  const one = make(() => done('loaded'), () => fail(new Error('not loaded')));
  one && document.body.append(one);
});
const element = (name, attributes) => seen((loaded, failed) => Object.assign(document.createElement(name), { onload: loaded, onerror: failed, ...attributes }));
const framed = async (attributes) => {
  const frame = document.createElement('iframe');
  const loaded = new Promise((done) => (frame.onload = done));
  Object.assign(frame, attributes);
  document.body.append(frame);
  await loaded;
  return frame.contentDocument.body.innerText;
};
const form = (path, method, enctype, fields) => {
  const form = document.createElement('form');
  const frame = Object.assign(document.createElement('iframe'), { name: 'frame' + Math.random() });
  Object.assign(form, { action: at(path), method, enctype, target: frame.name });
  for (const [name, value] of Object.entries(fields)) form.append(Object.assign(document.createElement('input'), { name, value }));
  document.body.append(frame, form);
  const loaded = new Promise((done) => (frame.onload = done));
  form.submit();
  return loaded.then(() => frame.contentDocument.body.innerText);
};
const asked = (path, how) => fetch(at(path), { credentials: 'include', ...how }).then(async (answer) => (answer.type === 'opaque' ? '' : 'answered ' + answer.status + (await answer.text())));
const json = { 'content-type': 'application/json' };
const tries = {
  fetch: () => asked('/api/deliveries'),
  'fetch of one': () => asked('/api/deliveries/1'),
  'fetch of its bytes': () => asked('/api/deliveries/1/body'),
  'fetch of an export': () => asked('/api/export/ndjson'),
  'fetch without CORS': () => asked('/api/deliveries', { mode: 'no-cors' }),
  'fetch of the page': () => asked('/'),
  XMLHttpRequest: () => seen((loaded, failed) => {
    const request = new XMLHttpRequest();
    Object.assign(request, { onload: loaded, onerror: failed, withCredentials: true });
    request.open('GET', at('/api/deliveries'));
    request.send();
  }),
  WebSocket: () => seen((loaded, failed) => void Object.assign(new WebSocket(at('/api/live?after=0').replace('http', 'ws')), { onopen: loaded, onmessage: loaded, onerror: failed })),
  'WebSocket with a protocol': () => seen((loaded, failed) => void Object.assign(new WebSocket(at('/api/live').replace('http', 'ws'), 'v1'), { onopen: loaded, onmessage: loaded, onerror: failed })),
  EventSource: () => seen((loaded, failed) => void Object.assign(new EventSource(at('/api/deliveries'), { withCredentials: true }), { onopen: loaded, onmessage: loaded, onerror: failed })),
  script: () => element('script', { src: at('/api/deliveries') }),
  'script of the page': () => element('script', { src: at('/page/as_test.js') }),
  'module of the page': () => import(at('/page/format.js')).then(() => 'loaded'),
  'style sheet': () => element('link', { rel: 'stylesheet', href: at('/page/style.css') }),
  picture: () => element('img', { src: at('/page/icon.svg') }),
  frame: () => framed({ src: at('/') }),
  'frame of a delivery': () => framed({ src: at('/api/deliveries/1') }),
  'a form that asks': () => form('/api/deliveries', 'GET', '', { limit: '1' }),
  window: async () => {
    const other = window.open(at('/'));
    let text = '';
    // It may be read while it is empty; then it is the inspector's, or is cut off from whoever opened it.
    for (; !text && !other.closed; text = other.document.body.innerText) await new Promise((done) => requestAnimationFrame(done));
    return text;
  },
  'send JSON': () => asked('/api/trigger', { method: 'POST', headers: json, body: order }),
  'send JSON without CORS': () => asked('/api/trigger', { method: 'POST', mode: 'no-cors', headers: json, body: order }),
  'send text': () => asked('/api/trigger', { method: 'POST', mode: 'no-cors', body: order }),
  'send again': () => asked('/api/deliveries/1/replay', { method: 'POST', mode: 'no-cors', body: '{}' }),
  'send bytes without a type': () => asked('/api/trigger', { method: 'POST', mode: 'no-cors', body: new Blob([order]) }),
  'send by a beacon': async () => navigator.sendBeacon(at('/api/trigger'), new Blob([order], { type: 'application/json' })) && '',
  'send by a beacon of text': async () => navigator.sendBeacon(at('/api/trigger'), order) && '',
  'send while the page goes': () => asked('/api/trigger', { method: 'POST', mode: 'no-cors', keepalive: true, body: order }),
  'a form of text': () => form('/api/trigger', 'POST', 'text/plain', { '{"event":"meeting.failed","x': '":1}' }),
  'a form': () => form('/api/trigger', 'POST', 'application/x-www-form-urlencoded', { event: 'meeting.failed' }),
  'a form with parts': () => form('/api/deliveries/1/replay', 'POST', 'multipart/form-data', { to: 'localhost:1' }),
  delete: () => asked('/api/deliveries/1', { method: 'DELETE' }),
  'delete without CORS': () => asked('/api/deliveries/1', { method: 'DELETE', mode: 'no-cors' }),
  put: () => asked('/api/deliveries/1', { method: 'PUT', body: '{}' }),
};
`;

/** How long a try may take, in milliseconds. */
const PATIENCE = 20_000;

/** Runs tries in a page; what each got to see. */
const attempt = (page, names) => page.evaluate(async ([names, patience]) => {
  const got = {};
  for (const name of names ?? Object.keys(globalThis.tries)) {
    const never = new Promise((done) => setTimeout(() => done('waited for ever'), patience));
    got[name] = await Promise.race([globalThis.tries[name]().catch(() => ''), never]);
  }
  return got;
}, [names, PATIENCE]);

const recorded = async () => (await api('GET', '/api/deliveries')).deliveries.map((one) => one.number);

await run(async () => {
  await api('POST', '/api/trigger', { event: 'meeting.failed', set: { 'data.error': CANARY } });
  const own = await open();
  const script = `const INSPECTOR = ${JSON.stringify(inspector)}; ${TRIES} globalThis.tries = tries;`;
  const server = createServer((request, response) => {
    response.writeHead(200, { 'content-type': 'text/html' });
    response.end(`<!doctype html><title>elsewhere</title><body><script>${script}</script>`);
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  let inputs = 0;
  for (const host of ['127.0.0.1', 'localhost']) {
    const page = await own.context().newPage();
    await page.goto(`http://${host}:${server.address().port}/`);
    for (const [name, got] of Object.entries(await attempt(page))) {
      inputs += 1;
      if (got !== '') faults.push(`${host}: ${name}: ${got.slice(0, 200)}`);
    }
    await page.close();
  }
  server.close();
  assert.deepEqual(await recorded(), [1], 'nothing was sent and nothing is gone');

  // The same tries are good ones where they come from the inspector's own page.
  await own.evaluate(script);
  const got = await attempt(own, ['fetch of one', 'fetch of its bytes', 'XMLHttpRequest', 'WebSocket', 'module of the page', 'send JSON', 'delete']);
  assert.ok(Object.values(got).every((one) => /^(loaded|answered 200)/.test(one)), JSON.stringify(got));
  assert.ok(got['fetch of one'].includes(CANARY));
  assert.deepEqual(await recorded(), [2], 'one was sent and one is gone');
  console.log(`inputs=${inputs} violations=${faults.length} (S4)`);
});
