-- A record as format 8 had it. It never changes: what is written here was written by somebody.
BEGIN;
CREATE TABLE deliveries (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL UNIQUE,
    received_at INTEGER NOT NULL,
    origin TEXT NOT NULL,
    replay_of BLOB,
    contract TEXT,
    event_type TEXT,
    wire_event TEXT,
    signature TEXT NOT NULL,
    not_forwarded TEXT,
    method TEXT NOT NULL,
    path TEXT NOT NULL,
    headers BLOB NOT NULL,
    body BLOB NOT NULL
);
CREATE INDEX deliveries_event_type ON deliveries (event_type);
CREATE INDEX deliveries_received_at ON deliveries (received_at);
CREATE INDEX deliveries_replay_of ON deliveries (replay_of) WHERE replay_of IS NOT NULL;
CREATE TABLE attempts (
    delivery INTEGER NOT NULL,
    number INTEGER NOT NULL,
    target TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    duration_us INTEGER NOT NULL,
    acknowledged INTEGER NOT NULL,
    status INTEGER,
    error TEXT,
    detail TEXT,
    cut INTEGER NOT NULL,
    headers BLOB NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (delivery, number)
);
CREATE INDEX attempts_unacknowledged ON attempts (delivery, number) WHERE NOT acknowledged;
CREATE TABLE held (
    delivery INTEGER PRIMARY KEY,
    target TEXT NOT NULL
);
ALTER TABLE attempts RENAME TO former;
DROP INDEX attempts_unacknowledged;
CREATE TABLE attempts (
    delivery INTEGER NOT NULL,
    number INTEGER NOT NULL,
    target TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    duration_us INTEGER NOT NULL,
    acknowledged INTEGER NOT NULL,
    status INTEGER,
    error TEXT,
    detail TEXT,
    cut INTEGER NOT NULL,
    headers BLOB NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (delivery, number)
) WITHOUT ROWID;
INSERT INTO attempts SELECT * FROM former ORDER BY delivery, number;
DROP TABLE former;
CREATE INDEX attempts_unacknowledged ON attempts (delivery, number) WHERE NOT acknowledged;
ALTER TABLE deliveries ADD COLUMN signature_note TEXT;
CREATE INDEX deliveries_large ON deliveries (body) WHERE typeof(body) = 'text';
CREATE INDEX attempts_large ON attempts (body) WHERE typeof(body) = 'text';
CREATE VIRTUAL TABLE texts USING fts5 (
    text, content = '', contentless_delete = 1, detail = none, tokenize = 'trigram'
);
INSERT INTO texts (texts, rank) VALUES ('automerge', 0), ('usermerge', 8);
CREATE TABLE texts_watermark (number INTEGER NOT NULL);
INSERT INTO texts_watermark VALUES (0);
CREATE TABLE texts_again (delivery INTEGER PRIMARY KEY);
CREATE TABLE relayed (
    delivery INTEGER PRIMARY KEY,
    channel BLOB NOT NULL,
    seq INTEGER NOT NULL,
    late_since INTEGER
);
CREATE UNIQUE INDEX relayed_seq ON relayed (channel, seq);
CREATE TABLE gone (first INTEGER PRIMARY KEY, last INTEGER NOT NULL);
INSERT INTO gone
    SELECT before + 1, number - 1 FROM (
        SELECT number, lag(number, 1, 0) OVER (ORDER BY number) AS before FROM deliveries
    ) WHERE number > before + 1;
INSERT INTO gone
    SELECT newest + 1, seq FROM sqlite_sequence,
        (SELECT coalesce(max(number), 0) AS newest FROM deliveries)
    WHERE name = 'deliveries' AND seq > newest;
CREATE TABLE occurs (what TEXT NOT NULL, stretch INTEGER NOT NULL, PRIMARY KEY (what, stretch)) WITHOUT ROWID;
INSERT INTO deliveries (number, id, received_at, origin, replay_of, contract, event_type, wire_event, signature,
    not_forwarded, method, path, headers, body) VALUES
    (1, x'0192f0c1d2e370008000000000000001', 1764000000000001, 'ingress', NULL, 'preview', 'golden.first', 'golden', 'valid',
     NULL, 'POST', '/hooks?x=1', CAST('Host: a' || char(13, 10) || 'Content-Type: application/json' || char(13, 10) AS BLOB),
     CAST('{"event":"golden","number":1}' AS BLOB)),
    (2, x'0192f0c1d2e370018000000000000002', 1764000001000002, 'replay', x'0192f0c1d2e370008000000000000001', 'v2', 'golden.second',
     'golden', 'invalid', NULL, 'PUT', '/', CAST('X-Bytes: ' || x'e92ff0' || char(13, 10) AS BLOB), x'00ff7b'),
    (7, x'0192f0c1d2e370028000000000000003', 1764000002000003, 'ingress', NULL, NULL, 'golden.third', NULL, 'missing', 'filtered',
     'POST', '/', x'', CAST(printf('%.20000c', 'x') AS BLOB)),
    (8, x'0192f0c1d2e370038000000000000004', 1764000003000004, 'tunnel', NULL, NULL, 'golden.fourth', NULL, 'unchecked', 'too_large',
     'POST', '/', x'', x'');
INSERT INTO attempts (delivery, number, target, started_at, duration_us, acknowledged, status, error, detail, cut, headers, body) VALUES
    (1, 1, 'http://localhost:3000/hooks', 1764000000000100, 1500, 0, 500, NULL, NULL, 0,
     CAST('content-type: text/plain' || char(13, 10) AS BLOB), CAST('no' AS BLOB)),
    (1, 2, 'http://localhost:3000/hooks', 1764000001000100, 900, 1, 200, NULL, NULL, 1, x'', x'c3a900'),
    (2, 1, 'http://localhost:3000/', 1764000001000200, 10, 0, NULL, 'refused', 'nobody listens', 0, x'', x'');
UPDATE deliveries SET signature_note = 'the body was parsed and written again' WHERE number = 2;
INSERT INTO relayed VALUES (1, x'00112233445566778899aabbccddeeff', 4, 1763999990000000), (7, x'00112233445566778899aabbccddeeff', 9, NULL),
    (8, x'00112233445566778899aabbccddeeff', 10, NULL);
INSERT INTO gone VALUES (3, 6);
PRAGMA user_version = 8;
COMMIT;
