// A correct Meeting BaaS webhook handler on Express: the receiving end of the tests.
//
// Like the handler of the Webhooks API page it verifies the body as JSON.stringify writes it again, not the bytes that
// arrived, and takes bodies up to the 100 KB that express.json() allows by default, or up to BODY_LIMIT. Environment:
// WEBHOOK_SECRET, PORT (default 0: any free one), BODY_LIMIT and MBAAS_TEST_TOOLS, whose node/node_modules holds Express
// (unset: found as Node.js finds modules). Prints `READY <port>` on stdout and nothing else there. Ends on SIGTERM and
// when its stdin ends, so whoever starts it must hold its stdin open.

import { createHmac, timingSafeEqual } from 'node:crypto';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';

const { WEBHOOK_SECRET, PORT, BODY_LIMIT, MBAAS_TEST_TOOLS } = process.env;
const require = createRequire(MBAAS_TEST_TOOLS ? resolve(MBAAS_TEST_TOOLS, 'node/package.json') : import.meta.url);
const express = require('express');

if (!WEBHOOK_SECRET) {
  console.error('express_handler: WEBHOOK_SECRET is not set');
  process.exit(1);
}

// What the handler reads of each wire event. Any other event is acknowledged as it is.
const READS = new Map([
  ['complete', ['bot_id', 'transcript', 'mp4']],
  ['failed', ['bot_id', 'error', 'message']],
  ['transcription_complete', ['bot_id']],
]);

const app = express();
app.use(express.json({ limit: BODY_LIMIT }));

app.post('/webhooks/meetingbaas', (req, res) => {
  const signature = req.headers['x-meetingbaas-signature'];
  if (!signature) {
    return res.status(401).json({ error: 'missing signature' });
  }
  // No body, or one that express.json() left alone: there is nothing to verify.
  if (req.body === undefined || !verifies(JSON.stringify(req.body), signature)) {
    return res.status(401).json({ error: 'invalid signature' });
  }
  const missing = missingPart(req.body);
  if (missing) {
    return res.status(422).json({ error: `missing ${missing}` });
  }
  res.json({ status: 'success' });
});

app.use((error, req, res, next) => {
  if (res.headersSent) {
    return next(error);
  }
  console.error(`${req.method} ${req.originalUrl}: ${error.message}`);
  res.status(error.status ?? 500).json({ error: error.message });
});

function verifies(payload, signature) {
  const expected = Buffer.from(createHmac('sha256', WEBHOOK_SECRET).update(payload).digest('hex'));
  const given = Buffer.from(signature);
  // timingSafeEqual throws when the lengths differ.
  return given.length === expected.length && timingSafeEqual(given, expected);
}

function missingPart({ event, data }) {
  if (typeof event !== 'string') {
    return 'event';
  }
  if (typeof data !== 'object' || data === null || Array.isArray(data)) {
    return 'data';
  }
  const field = READS.get(event)?.find((name) => data[name] == null);
  return field && `data.${field}`;
}

const server = app.listen(Number(PORT || 0), '127.0.0.1', (error) => {
  if (error) {
    console.error(`express_handler: ${error.message}`);
    process.exit(1);
  }
  process.stdout.write(`READY ${server.address().port}\n`);
});

function stop() {
  server.close(() => process.exit(0));
  server.closeIdleConnections();
  setTimeout(() => process.exit(0), 1000).unref();
}

process.on('SIGTERM', stop);
process.stdin.on('end', stop).on('error', stop).resume();
