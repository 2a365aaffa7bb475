// What deliveries are copied as: tests in three languages, written into FOLDER beside the bodies that they have to send.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { pytest, rustTest, vitest } from '../../src/observers/inspector/page/as_test.js';

const { INSPECTOR, TOKEN, FOLDER } = process.env;
const ask = async (path) => (await fetch(INSPECTOR + path, { headers: { authorization: `Bearer ${TOKEN}` } })).json();

for (const { number } of (await ask('/api/deliveries')).deliveries) {
  const shown = await ask(`/api/deliveries/${number}`);
  const test = vitest(shown);
  const [, literal] = /^const body = (".*");$/m.exec(test);
  assert.equal(Function(`return ${literal}`)(), shown.body);
  for (const [ending, text] of [['py', pytest(shown)], ['rs', rustTest(shown)], ['ts', test], ['body', shown.body]]) {
    writeFileSync(`${FOLDER}/${number}.${ending}`, text);
  }
}
