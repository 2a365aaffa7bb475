// A delivery as a test of the handler that received it, for the test runners that handlers are tested with. The test sends
// the very bytes, and signs them for the contract with the secret of the environment.

import { isMade } from "./format.js";

/** What stands in the record where a credential stood. */
const MASKED = "[masked]";

const hex = (character, digits) => character.codePointAt(0).toString(16).padStart(digits, "0");

/** A text as a literal of JavaScript: JSON's escapes are its own. */
const literal = (text) => JSON.stringify(text).replace(/[\u007f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);

/** A text as a literal of Python, which wants whole characters where JavaScript wants halves. */
const pythonText = (text) => JSON.stringify(text).replace(/[\u007f-\u{10ffff}]/gu, (character) =>
  (character.codePointAt(0) > 0xffff ? `\\U${hex(character, 8)}` : `\\u${hex(character, 4)}`));

/** A text as a literal of Rust: raw, with as many # as it takes, unless there is something in it that has no place in a source. */
function rust(text) {
  const hidden = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/u;
  if (hidden.test(text)) {
    return `"${text.replace(/[\\"]/g, "\\$&").replaceAll("\n", "\\n").replace(new RegExp(hidden, "gu"), (character) => `\\u{${hex(character, 1)}}`)}"`;
  }
  let fence = "#";
  while (text.includes(`"${fence}`)) fence += "#";
  return `r${fence}"${text}"${fence}`;
}

const nameOf = (shown) => (shown.event_type ?? "delivery").replace(/[^a-z0-9]+/gi, "_").toLowerCase();

/** How each contract signs, for each language; those that are not here carry a secret as it is. */
const SIGNED = new Set(["preview", "v2"]);

function headersOf(shown) {
  return shown.headers.filter(([name, value]) => typeof name === "string" && typeof value === "string" && !isMade(name) && value !== MASKED);
}

/** The test for pytest. */
export function pytest(shown) {
  const headers = headersOf(shown).map(([name, value]) => `    ${pythonText(name)}: ${pythonText(value)},`).join("\n");
  return `import base64, hashlib, hmac, os, time, urllib.request

HANDLER = os.environ.get("HANDLER", ${pythonText(shown.attempts.at(-1)?.target ?? "http://localhost:3000/")})
SECRET = os.environ["MBAAS_DEV_SECRET"]
BODY = ${pythonText(shown.body ?? "")}.encode()
HEADERS = {
${headers}
}


def signed():
${python(shown.contract)}


def test_${nameOf(shown)}():
    request = urllib.request.Request(HANDLER, data=BODY, headers=HEADERS | signed(), method=${pythonText(shown.method)})
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert 200 <= answer.status < 300
`;
}

function python(contract) {
  if (contract === "preview") return `    return {"X-MeetingBaas-Signature": hmac.new(SECRET.encode(), BODY, hashlib.sha256).hexdigest()}`;
  if (contract === "v2") {
    return `    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    id, at = "msg_" + os.urandom(12).hex(), str(int(time.time()))
    mac = hmac.new(key, f"{id}.{at}.".encode() + BODY, hashlib.sha256).digest()
    return {"svix-id": id, "svix-timestamp": at, "svix-signature": "v1," + base64.b64encode(mac).decode()}`;
  }
  return contract === "v1" ? `    return {"x-meeting-baas-api-key": SECRET}` : `    return {"x-mb-secret": SECRET}`;
}

/** The test for vitest. */
export function vitest(shown) {
  const headers = headersOf(shown).map(([name, value]) => `  ${literal(name)}: ${literal(value)},`).join("\n");
  return `import { createHmac, randomUUID } from "node:crypto";
import { expect, test } from "vitest";

const handler = process.env.HANDLER ?? ${literal(shown.attempts.at(-1)?.target ?? "http://localhost:3000/")};
const secret = process.env.MBAAS_DEV_SECRET ?? "";
const body = ${literal(shown.body ?? "")};
const headers = {
${headers}
};

function signed(): Record<string, string> {
${javascript(shown.contract)}
}

test(${literal(nameOf(shown).replaceAll("_", " "))}, async () => {
  const answer = await fetch(handler, { method: ${literal(shown.method)}, body, headers: { ...headers, ...signed() } });
  expect(answer.ok).toBe(true);
});
`;
}

function javascript(contract) {
  if (contract === "preview") return `  return { "X-MeetingBaas-Signature": createHmac("sha256", secret).update(body).digest("hex") };`;
  if (contract === "v2") {
    return `  const key = Buffer.from(secret.replace(/^whsec_/, ""), "base64");
  const [id, at] = [\`msg_\${randomUUID()}\`, String(Math.floor(Date.now() / 1000))];
  const mac = createHmac("sha256", key).update(\`\${id}.\${at}.\${body}\`).digest("base64");
  return { "svix-id": id, "svix-timestamp": at, "svix-signature": \`v1,\${mac}\` };`;
  }
  return contract === "v1" ? `  return { "x-meeting-baas-api-key": secret };` : `  return { "x-mb-secret": secret };`;
}

/** The test for Rust; it needs \`ureq\`, and \`hmac\`, \`sha2\`, \`hex\` or \`base64\` to sign. */
export function rustTest(shown) {
  const headers = headersOf(shown).map(([name, value]) => `        .header(${rust(name)}, ${rust(value)})`).join("\n");
  return `// [dev-dependencies] ureq = "3"${SIGNED.has(shown.contract) ? `, hmac = "0.12", sha2 = "0.10", ${shown.contract === "v2" ? `base64 = "0.22"` : `hex = "0.4"`}` : ""}
${shown.contract === "v2" ? "use base64::{Engine as _, engine::general_purpose::STANDARD};\n" : ""}${SIGNED.has(shown.contract) ? "use hmac::{Hmac, Mac};\nuse sha2::Sha256;\n" : ""}
const BODY: &str = ${rust(shown.body ?? "")};

#[test]
fn ${nameOf(shown)}() {
    let handler = std::env::var("HANDLER").unwrap_or_else(|_| ${rust(shown.attempts.at(-1)?.target ?? "http://localhost:3000/")}.to_owned());
    let secret = std::env::var("MBAAS_DEV_SECRET").expect("MBAAS_DEV_SECRET");
    let request = ureq::${shown.method === "PUT" ? "put" : "post"}(&handler)
${headers};
${rustSigned(shown.contract)}
    let answer = request.send(BODY).expect("the handler acknowledges");
    assert!(answer.status().is_success());
}
`;
}

function rustSigned(contract) {
  if (contract === "preview") {
    return `    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(BODY.as_bytes());
    let request = request.header("X-MeetingBaas-Signature", hex::encode(mac.finalize().into_bytes()));`;
  }
  if (contract === "v2") {
    return `    let key = STANDARD.decode(secret.trim_start_matches("whsec_")).unwrap();
    let at = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs().to_string();
    let id = format!("msg_{at}");
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    mac.update(format!("{id}.{at}.{BODY}").as_bytes());
    let signature = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    let request = request.header("svix-id", id).header("svix-timestamp", at).header("svix-signature", signature);`;
  }
  return `    let request = request.header("${contract === "v1" ? "x-meeting-baas-api-key" : "x-mb-secret"}", secret);`;
}
