//! The integration tests: one binary, real sockets, real SQLite, real handlers.
//!
//! | file | what it shows |
//! |---|---|
//! | `tidy` | the house: layers, file heads, size budgets, documents that stay true |
//! | `canonical` | bodies are what the real Node makes of them |
//! | `commands` | every command's help, output, JSON and exit codes, whole |
//! | `fidelity` | the handler gets the very bytes that the sender sent, and the sender the handler's answer |
//! | `misbehaving` | handlers that are down, slow, broken or hostile |
//! | `durability` | what was acknowledged is on disk: kill -9, locked, damaged and foreign stores |
//! | `damage` | a damaged record is kept aside, and what can be read of it goes into a new one |
//! | `disk` | a disk that gets full: recording stops before, reading and pruning go on |
//! | `power` | power cuts at any moment, disks that fail, earlier formats, dying in the middle of taking them over |
//! | `recall` | deliveries compared, replayed with a difference, exported, imported, pruned; `doctor` |
//! | `secrecy` | planted secrets are in no export or report, and comparing one tells nothing |
//! | `signals` | Ctrl-C once and twice, SIGTERM, closed and slow pipes |
//! | `fuzzing` | any bytes for every parser that sees what others wrote |
//! | `hostile_files` | fixtures, settings, names, links and JSON that may have come with a project |
//! | `surroundings` | ports taken, folders not writable, closed streams, signals at any moment, clocks that jump |
//! | `https` | handlers behind TLS: trusted or not, for another name, expired, or not TLS at all |
//! | `authentication` | every contract's headers, secrets and verdicts; no credential on disk |
//! | `catalogue` | every event of every contract: documented, canonical, as sent; what is not documented is told |
//! | `checking` | `check`: handlers that keep its rules, handlers that break one, and the reports |
//! | `verifiers` | the official libraries of v2 verify what we sign, and we what they sign |
//! | `artifacts` | recordings and transcripts that URLs in events lead to, until these expire |
//! | `frameworks` | Flask, FastAPI and Express verify what we sign, and refuse what is signed wrong |
//! | `away` | handlers that go away and come back: told, waited for, tried again |
//! | `faults` | what goes wrong on purpose on the way: duplicates, loss, disorder, damage, slowness, resets |
//! | `keys` | the keys of `listen` on a real terminal, which is itself again afterwards |
//! | `inspector` | the inspector: its REST and WebSocket, who is let in and who is not |
//! | `retries` | each sender's own retries: delays, ids, signatures, ends |
//! | `retold` | what was recorded as a scenario, as a fixture, as the life of one bot |
//! | `scenarios` | whole meetings: each that is built in, files of one's own, what is wrong with them |
//! | `watching` | fixtures that fire when they are saved |
//! | `overload` | more than there is room for: slow clients, floods, large bodies, few descriptors |
//! | `deploying` | what is in `deploy/`: command lines that are some, web servers that work, a unit that systemd takes |
//! | `tunnel` | a relay and a `listen` behind it: round trips, absences, owners, credentials |
//! | `relay_addresses` | what one address may do at a relay, and whose word counts about which that is |
//! | `relay_channels` | whose a channel is, by which tokens in which places, until it is given up |
//! | `relay_doctor` | what is wrong with a relay, or a web server before it, is named |
//! | `relay_limits` | access tokens, rates, metrics, and many claimants of one channel |
//! | `relay_tls` | a relay that speaks TLS: tunnels, senders, certificates that change, what is wrong with them |
//! | `relay_wire` | what no sender and no `listen` writes to a relay: smuggling, frames, floods, URLs, pages, bombs |
//! | `tunnel_faults` | what breaks between a sender and the handler: kills, sleeps, cuts, silence, counted |
//! | `wire` | senders that write what HTTP does not allow, or what can be read in two ways |
//! | `scripts` | expectations, routes, endpoints, settings from files |

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic, and says what it counted")]

mod artifacts;
mod assurance;
mod authentication;
mod away;
mod canonical;
mod catalogue;
mod checking;
mod commands;
mod damage;
mod deploying;
mod disk;
mod durability;
mod faults;
mod fidelity;
mod frameworks;
mod fronts;
mod fuzzing;
mod handler;
mod hostile_files;
mod https;
mod inspector;
mod keys;
mod misbehaving;
mod overload;
mod power;
mod recall;
mod relay_addresses;
mod relay_channels;
mod relay_doctor;
mod relay_limits;
mod relay_tls;
mod relay_wire;
mod relaying;
mod retold;
mod retries;
mod scenarios;
mod scripts;
mod secrecy;
mod signals;
mod surroundings;
mod tidy;
mod tunnel;
mod tunnel_faults;
mod verifiers;
mod watching;
mod wire;
mod world;
