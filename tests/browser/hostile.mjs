// Hostile bytes, wherever the page shows any: nothing runs, nothing leaves, the policy has nothing to report.

import { api, assert, faults, inspector, open, run } from './browser.mjs';

const INGRESS = process.env.INGRESS;

const XSS = [
  '<script>alert(1)</script>', '<img src=x onerror=alert(1)>', '<svg onload=alert(1)>', '</script><script>alert(1)</script>', '"><script>alert(1)</script>',
  "'-alert(1)-'", 'javascript:alert(1)', 'data:text/html,<script>alert(1)</script>', '<iframe src=javascript:alert(1)>', '<a href=javascript:alert(1)>x</a>',
  '<body onload=alert(1)>', '<details open ontoggle=alert(1)>', '<math><mi xlink:href=javascript:alert(1)>', '<style>@import"https://evil.test/x"</style>',
  '<link rel=stylesheet href=https://evil.test/x>', '<meta http-equiv=refresh content=0;url=https://evil.test>', '<base href=https://evil.test/>',
  '<form action=https://evil.test><button>x', '<object data=https://evil.test/x>', '<embed src=https://evil.test/x>', '<video><source onerror=alert(1)>',
  '{{constructor.constructor("alert(1)")()}}', '${alert(1)}', '#{alert(1)}', '<%= alert(1) %>', '{{7*7}}', '__proto__', 'constructor', 'toString', 'hasOwnProperty',
  '\u202egnp.exe', '\u2066hidden\u2069', '\u200b\u200b', '\u2028alert(1)\u2029', '\u001b[31mred', '\u0000nul', '\ufeffbom', '\u{e0041}tag', '\\u003cscript\\u003e', '&lt;script&gt;',
  '<!--', ']]>', '<![CDATA[<script>alert(1)</script>]]>', '%3Cscript%3Ealert(1)%3C/script%3E', 'a'.repeat(5000), '\ud800 lone', '<noscript><p title="</noscript><img src=x onerror=alert(1)>">',
  '<template><script>alert(1)</script></template>', '<x onclick=alert(1)>click', '<input autofocus onfocus=alert(1)>', '<marquee onstart=alert(1)>',
];

/** Where in a delivery each stands. */
const places = (payload) => [
  { body: JSON.stringify({ event: 'complete', data: { bot_id: payload, speakers: [payload], [payload]: payload } }) },
  { body: payload },
  { headers: { 'x-hostile': payload } },
  { path: `/?q=${encodeURIComponent(payload.toWellFormed())}` },
];

const DEEP = '['.repeat(10_000) + ']'.repeat(10_000);
const WHOLE = [
  { body: DEEP }, { body: `{"a":"${'x'.repeat(1_500_000)}"}` }, { body: Buffer.from([0xff, 0xfe, 0x00, 0x80, 0x1b, 0x5b]) }, { body: '{"a":1e999,"b":-0,"a":2}' },
  { body: `[${'1,'.repeat(100_000)}1]` }, { body: '{"__proto__":{"x":1},"constructor":{"prototype":1}}' }, { body: '' }, { body: '\ufeff{"event":"complete"}' },
];

async function send({ body = '{}', headers = {}, path = '/' }) {
  // Only what a header may hold goes into one.
  const safe = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, Buffer.from(String(value).replace(/[\0-\x1f\x7f]/g, ' ').slice(0, 4000)).toString('latin1')]));
  const answer = await fetch(INGRESS + path, { method: 'POST', body, headers: { 'content-type': 'application/json', ...safe } });
  await answer.arrayBuffer();
}

await run(async () => {
  const inputs = [...XSS.flatMap(places), ...WHOLE];
  assert.ok(inputs.length >= 200);
  for (const input of inputs) await send(input);
  const page = await open();
  await page.locator('.row .name').first().waitFor();
  for (let number = 1; number <= inputs.length; number++) {
    // Within the page: a new document for each would test the browser.
    await page.evaluate((address) => {
      history.pushState(null, '', address);
      dispatchEvent(new PopStateEvent('popstate'));
    }, `/?delivery=${number}`);
    await page.locator(`.delivery[aria-label="Delivery ${number}"] .panel > *`).first().waitFor();
    const shown = await page.evaluate(async () => {
      let text = '';
      for (const tab of ['headers', 'attempts', 'signature', 'body']) {
        document.getElementById(`tab-${tab}`).click();
        await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
        text += document.querySelector('.delivery').innerText;
      }
      return text;
    });
    if (/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/.test(shown)) faults.push(`hidden characters in ${number}`);
  }
  await page.goto(`${inspector}/?view=compare&compare=1,2`);
  await page.locator('.changes').waitFor();
  for (const payload of XSS.slice(0, 12)) {
    await page.goto(`${inspector}/?search=${encodeURIComponent(payload.toWellFormed())}&event=${encodeURIComponent(payload.toWellFormed().slice(0, 40))}`);
    await page.locator('.list').waitFor();
  }
  assert.ok(await api('GET', '/api/status'));
  console.log(`inputs=${inputs.length} violations=${faults.length} (S6)`);
});
