// Asks the official libraries of v2 from npm, `svix` and `standardwebhooks`: as v2_libraries.py does.
const readline = require('node:readline')

const modules = [require('svix'), require('standardwebhooks')]

function verifies(library, body, headers) {
  try {
    library.verify(body, headers)
    return true
  } catch (error) {
    if (error.name === 'WebhookVerificationError') return false
    throw error
  }
}

function answer({ body, headers, secret, now, id, at }) {
  const libraries = modules.map(({ Webhook }) => new Webhook(secret))
  if (headers === undefined) return libraries.map((library) => library.sign(id, new Date(at * 1000), body))
  Date.now = () => now * 1000
  // `standardwebhooks` knows the header names of its own standard only.
  const names = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.replace('svix-', 'webhook-'), value]))
  return [headers, names].map((headers, number) => verifies(libraries[number], body, headers))
}

readline.createInterface({ input: process.stdin }).on('line', (line) => console.log(JSON.stringify(answer(JSON.parse(line)))))
