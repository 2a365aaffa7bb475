// What a screen reader gets: the tree of roles and names of each view, the order of the focus, and what is said aloud while
// the page is only listened to. What it prints is held against a snapshot.

import { api, assert, open, run } from './browser.mjs';

const ROLES = new Set([
  'banner', 'main', 'navigation', 'region', 'search', 'heading', 'button', 'link', 'textbox', 'searchbox', 'combobox', 'listbox', 'option', 'tablist', 'tab',
  'tabpanel', 'status', 'alert', 'dialog', 'table', 'columnheader', 'rowheader', 'image', 'img', 'graphics-document', 'group', 'toolbar', 'menu', 'menuitem', 'list', 'checkbox', 'article',
]);
const STATES = ['pressed', 'expanded', 'selected', 'disabled', 'invalid', 'hasPopup', 'modal'];

/** What differs from run to run stands for itself. */
const steady = (text) => text
  .replace(/\d{2}\/\d{2}\/\d{4},? /g, '').replace(/\d{2}:\d{2}:\d{2}\.\d{3}/g, 'TIME').replace(/\d{2}:\d{2}(?!\d)/g, 'HOUR')
  .replace(/[\d.]+ (ms|s|min)\b/g, 'N ms').replace(/N ms( N ms)+/g, 'N ms').replace(/at most \d+/, 'at most N').replace(/127\.0\.0\.1:\d+|localhost:\d+/g, 'HOST').replace(/[0-9a-f]{8}-[0-9a-f-]{27}/g, 'ID').replace(/[\d.]+ k?B\b/g, 'N B');

async function outline(page) {
  const session = await page.context().newCDPSession(page);
  const { nodes } = await session.send('Accessibility.getFullAXTree');
  await session.detach();
  const byId = new Map(nodes.map((node) => [node.nodeId, node]));
  const lines = [];
  const walk = (node, depth, options) => {
    const role = node.role?.value;
    const isShown = !node.ignored && ROLES.has(role);
    if (isShown) {
      // Of rows, two are as good as a thousand; what a select offers is told when it is opened.
      if (role === 'option' && (options.left -= 1) < 0) return;
      const states = STATES.map((name) => node.properties?.find((one) => one.name === name)?.value?.value)
        .map((value, at) => (value === undefined || value === false || value === 'false' ? '' : ` ${STATES[at]}${value === true || value === 'true' ? '' : `=${value}`}`));
      const value = node.value?.value ? ` = ${JSON.stringify(steady(String(node.value.value)).slice(0, 60))}` : '';
      lines.push(`${'  '.repeat(depth)}${role}${node.name?.value ? ` "${steady(node.name.value).slice(0, 160)}"` : ''}${value}${states.join('')}`);
      if (role === 'combobox') return;
    }
    for (const id of node.childIds ?? []) {
      const child = byId.get(id);
      if (child) walk(child, depth + (isShown ? 1 : 0), role === 'listbox' ? { left: 2 } : options);
    }
  };
  walk(nodes[0], 0, { left: 0 });
  return lines.join('\n');
}

/** The names of what has the focus, one Tab after the other. */
async function tabs(page, count) {
  const names = [];
  for (let at = 0; at < count; at++) {
    await page.keyboard.press('Tab');
    names.push(await page.evaluate(() => {
      const one = document.activeElement;
      const name = one.getAttribute('aria-label') ?? one.labels?.[0]?.querySelector('span')?.textContent ?? (one === document.body ? '' : one.textContent);
      return `${one.getAttribute('role') ?? one.tagName.toLowerCase()} ${name.trim().replace(/\s+/g, ' ').slice(0, 30)}`;
    }));
  }
  return steady(names.join('\n'));
}

const told = (title, text) => console.log(`## ${title}\n${text}\n`);

await run(async () => {
  await api('POST', '/api/trigger', { event: 'meeting.started', set: { 'data.bot_id': '5f2c6bfa-7a0c-4a3e-9d3c-2f6f4f7a9b10' } });
  await api('POST', '/api/trigger', { event: 'meeting.failed', set: { 'data.bot_id': '5f2c6bfa-7a0c-4a3e-9d3c-2f6f4f7a9b10' } });
  const page = await open({ width: 1280, height: 800 });
  await page.locator('#row-2 .status.bad').waitFor();
  told('The list', await outline(page));
  told('The order of the focus in it', await tabs(page, 16));
  await page.keyboard.press('j');
  await page.locator('.panel .tree').waitFor();
  assert.equal(await page.locator('.list').getAttribute('aria-activedescendant'), 'row-2');
  told('A delivery that failed', await outline(page));
  for (const tab of ['Signature', 'Attempts']) {
    await page.getByRole('tab', { name: new RegExp(tab) }).click();
    await page.locator(tab === 'Signature' ? '.verdict' : '.attempt').waitFor();
  }
  await page.keyboard.press('e');
  await page.locator('dialog textarea').first().waitFor();
  told('Edit and replay', (await outline(page)).replace(/ = "\{.*/g, ' = "…"'));
  // The dialog keeps the focus while it is open, and gives it back.
  await page.keyboard.press('Shift+Tab');
  assert.ok(await page.evaluate(() => document.querySelector('dialog').contains(document.activeElement)));
  await page.keyboard.press('Escape');
  await page.waitForFunction(() => !document.querySelector('dialog'));
  assert.match(await page.evaluate(() => document.activeElement.textContent), /Attempts/);
  for (const [title, view, wait] of [['Bots', 'timeline', '.bots'], ['A life', 'timeline&bot=5f2c6bfa-7a0c-4a3e-9d3c-2f6f4f7a9b10', '.steps'], ['Traffic', 'traffic', '.latencies'], ['Two deliveries', 'compare&compare=1,2', '.changes']]) {
    await page.goto(new URL(`/?view=${view}`, page.url()).href);
    await page.locator(wait).waitFor();
    // Which of the two was slower is of no interest.
    const shown = await outline(page);
    told(title, title === 'Traffic' ? shown.replace(/"#\d"/g, '"#N"').replace(/rowheader .*/g, 'rowheader "EVENT"') : shown);
  }

  // Many come: what failed is said once for all of them, and nothing of what went well.
  await page.goto(new URL('/', page.url()).href);
  await page.locator('#row-2').waitFor();
  await page.locator('.state.good').waitFor();
  await page.evaluate(() => {
    globalThis.said = [];
    for (const region of document.querySelectorAll('[role=status], [aria-live]')) {
      new MutationObserver(() => region.textContent.trim() && globalThis.said.push(region.textContent.trim())).observe(region, { childList: true, characterData: true, subtree: true });
    }
  });
  for (let at = 0; at < 12; at++) await api('POST', '/api/trigger', { event: at % 4 ? 'meeting.started' : 'meeting.failed' });
  await page.waitForFunction(() => globalThis.said.length > 0);
  await page.locator('#row-14').waitFor();
  const said = await page.evaluate(() => globalThis.said);
  assert.ok(said.length <= 3 && said.every((one) => /^(Delivery failed: #\d+ meeting.failed: 500|\d+ deliveries failed, the newest #\d+ meeting.failed: 500)$/.test(one)), said.join('\n'));
});
