//! `mbaas-dev relay`

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::json;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use super::Session;
use super::arguments::{age, bytes, size, whole};
use super::output::Output;
use super::report::{Exit, Usage};
use crate::app::shutdown::{Reason, Signals};
use crate::model::{FORMAT_VERSION, Secret};
use crate::relay::{AccessFrom, BadTls, Mode, News, PublicUrl, Relay, Settings, TlsFiles, WhenOffline};

/// Run a relay on a public host: a public URL for every `listen --tunnel`
///
/// Every request is on disk before its sender is told 2xx. Ctrl-C stops; nothing that was acknowledged is lost.
#[derive(Debug, Args)]
pub struct RelayArgs {
    /// The address and port to listen on; 0.0.0.0:8080 lets the world in, port 0 takes any free one
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "127.0.0.1:8080",
        env = "MBAAS_DEV_RELAY_LISTEN",
        hide_env_values = true
    )]
    listen: SocketAddr,
    /// What the world reaches it by, such as `https://hooks.example.com`
    #[arg(long, value_name = "URL", env = "MBAAS_DEV_PUBLIC_URL", hide_env_values = true)]
    public_url: PublicUrl,
    /// The certificate to speak TLS with, and those of its issuers (PEM); read again when it changes
    #[arg(long, value_name = "FILE", env = "MBAAS_DEV_TLS_CERT", hide_env_values = true)]
    tls_cert: Option<PathBuf>,
    /// The private key of that certificate (PEM, without a passphrase)
    #[arg(long, value_name = "FILE", env = "MBAAS_DEV_TLS_KEY", hide_env_values = true)]
    tls_key: Option<PathBuf>,
    /// What `listen` must give to open a tunnel, with its own `--access-token`; may be given several times
    #[arg(
        long,
        value_name = "TOKEN",
        env = "MBAAS_DEV_ACCESS_TOKEN",
        hide_env_values = true,
        value_delimiter = ','
    )]
    access_token: Vec<Secret>,
    /// A file of access tokens with names and limits of their own; it is read again when it changes
    #[arg(long, value_name = "FILE", conflicts_with = "access_token", env = "MBAAS_DEV_ACCESS_TOKENS")]
    access_tokens: Option<PathBuf>,
    /// When senders get their answer
    #[arg(long, value_enum, value_name = "MODE", default_value_t = ModeArg::Sync)]
    mode: ModeArg,
    /// What becomes of requests while nobody takes them
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = WhenOfflineArg::Queue)]
    when_offline: WhenOfflineArg,
    /// The largest body that is taken
    #[arg(long, value_name = "SIZE", default_value = "32M", value_parser = bytes)]
    max_body: usize,
    /// How many requests may wait in one channel; further ones are answered 503
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = whole(1..=1_000_000_000_u64))]
    max_waiting: u64,
    /// How much the bodies that wait in one channel may have together
    #[arg(long, value_name = "SIZE", default_value = "256M", value_parser = size)]
    max_waiting_size: u64,
    /// How many channels there may be of one access token: each `listen` with a state folder of its own has one
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = whole(1..=1_000_000_000_u64))]
    max_channels: u64,
    /// How many tunnels may be open at a time
    #[arg(long, value_name = "N", default_value_t = 4096, value_parser = whole(1..=1_000_000_u32))]
    max_tunnels: u32,
    /// How many requests a second may come in one channel, on average, and four times as many at once; further ones are
    /// answered 503; 0 for any number
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = whole(0..=1_000_000_u32))]
    max_rate: u32,
    /// How long a request is kept that nobody takes
    #[arg(long, value_name = "AGE", default_value = "72h", value_parser = age)]
    keep: Duration,
    /// Print one JSON object a line: `ready` first
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ModeArg {
    /// When the handler has answered, with its answer; with 202 when that takes longer than 25 s
    Sync,
    /// At once, with 202
    Store,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum WhenOfflineArg {
    /// They are kept, and answered 202
    Queue,
    /// They are answered 503
    Reject,
}

pub fn run(arguments: RelayArgs, session: &Session) -> anyhow::Result<Exit> {
    if arguments.access_token.iter().any(|token| token.expose().is_empty()) {
        return Err(Usage::new("an access token is empty", "`openssl rand -hex 32` makes one").into());
    }
    if arguments.access_token.is_empty()
        && arguments.access_tokens.is_none()
        && !arguments.listen.ip().is_loopback()
    {
        let message = "anybody who reaches this relay could have a public URL of it";
        let hint = "give an access token with --access-token or MBAAS_DEV_ACCESS_TOKEN (`openssl rand -hex 32` \
                    makes one)";
        return Err(Usage::new(message, hint).into());
    }
    if arguments.tls_cert.is_some() != arguments.tls_key.is_some() {
        let (given, missing) = if arguments.tls_key.is_none() {
            ("--tls-cert", "--tls-key")
        } else {
            ("--tls-key", "--tls-cert")
        };
        let message = format!("{given} is given without {missing}");
        let hint = "TLS needs both, a certificate and its key; without either the relay speaks plain HTTP";
        return Err(Usage::new(message, hint).into());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let exit = runtime.block_on(relay(arguments, session));
    // Whoever does not want to wait does not wait for a screen that stands still either.
    runtime.shutdown_background();
    exit
}

async fn relay(arguments: RelayArgs, session: &Session) -> anyhow::Result<Exit> {
    let mut signals = Signals::new()?;
    let (json, output) = (arguments.json, &session.output);
    let Some(reserved) = session.state.reserve_for_relay()? else {
        let message = "another relay runs with this state folder";
        return Err(
            Usage::new(message, "stop it, or give this one a folder of its own with --data-dir").into()
        );
    };
    let key = session.state.relay_key(&session.clock)?;
    let settings = settings(arguments, &session.folder);
    let public = settings.public_url.to_string();
    let is_open = matches!(&settings.access, AccessFrom::Tokens(tokens) if tokens.is_empty());
    let relay = Relay::bind(settings, session.state.path(), &key, session.clock.clone()).await?;
    let listening = relay.listening();
    if json {
        let line =
            json!({ "v": FORMAT_VERSION, "type": "ready", "listening": listening, "public_url": public });
        output.data(&line.to_string())?;
    } else {
        greet(output, &relay, &public, is_open);
    }
    let stop = CancellationToken::new();
    // On a thread of its own: whoever does not read what we say keeps nothing else waiting.
    let (news, to, until) = (relay.subscribe(), output.clone(), stop.clone());
    let news = tokio::task::spawn_blocking(move || show(news, &to, json, &until));
    let running = relay.run(stop.clone());
    tokio::pin!(running, news);
    let end = tokio::select! {
        reason = signals.next() => Some(reason),
        // Nobody reads what we say any more.
        _ = &mut news => None,
        () = &mut running => return Ok(Exit::Done),
    };
    stop.cancel();
    let exit = tokio::select! {
        () = async { tokio::join!(&mut running, async { if end.is_some() { drop((&mut news).await); } }); } => match end {
            Some(Reason::Interrupt) => Exit::Interrupted,
            Some(Reason::Terminate) | None => Exit::Done,
        },
        _ = signals.next() => Exit::Interrupted,
    };
    drop(reserved);
    Ok(exit)
}

fn settings(arguments: RelayArgs, folder: &Path) -> Settings {
    Settings {
        address: arguments.listen,
        tls: arguments.tls_cert.zip(arguments.tls_key).map(|(certificate, key)| TlsFiles {
            certificate: folder.join(certificate),
            key: folder.join(key),
        }),
        public_url: arguments.public_url,
        access: match arguments.access_tokens {
            Some(file) => AccessFrom::File(folder.join(file)),
            None => AccessFrom::Tokens(arguments.access_token),
        },
        mode: match arguments.mode {
            ModeArg::Sync => Mode::Sync,
            ModeArg::Store => Mode::Store,
        },
        when_offline: match arguments.when_offline {
            WhenOfflineArg::Queue => WhenOffline::Queue,
            WhenOfflineArg::Reject => WhenOffline::Reject,
        },
        max_body: arguments.max_body,
        most_waiting: (arguments.max_waiting, arguments.max_waiting_size),
        most_channels: arguments.max_channels,
        most_tunnels: usize::try_from(arguments.max_tunnels).unwrap_or(usize::MAX),
        most_per_second: (arguments.max_rate > 0).then_some(arguments.max_rate),
        keep: arguments.keep,
    }
}

fn greet(output: &Output, relay: &Relay, public: &str, is_open: bool) {
    let (paint, listening) = (output.talk_paint, relay.listening());
    let tunnel = public.replacen("http", "ws", 1);
    output.talk(&format!("{} {}", paint.strong("mbaas-dev relay"), env!("CARGO_PKG_VERSION")));
    output.talk(&format!("  listening   {}", paint.good(&listening)));
    if let Some(until) = relay.certified_until() {
        output.talk(&format!("  certificate valid until {until:.0}"));
    }
    output.talk(&format!("  public      {public}"));
    output.talk(&format!("  health      {listening}/healthz"));
    let token = if is_open { "" } else { " --access-token …" };
    output.talk(&format!(
        "  try         {}",
        paint.strong(&format!("mbaas-dev listen --tunnel {tunnel}{token}"))
    ));
    if is_open {
        output.talk("  note        without --access-token everybody on this machine may open tunnels");
    }
    output.talk("");
}

/// Shows what happens, until nothing does any more or nobody reads it.
fn show(mut news: Receiver<News>, output: &Output, json: bool, stop: &CancellationToken) {
    loop {
        let told = match news.blocking_recv() {
            Ok(told) => told,
            // What is missed is not missing anywhere else.
            Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => return,
        };
        if json {
            if output.data(&line(&told)).is_err() {
                stop.cancel();
                return;
            }
        } else {
            output.talk(&sentence(&told));
        }
    }
}

fn line(news: &News) -> String {
    let object = match news {
        News::Opened(channel, waiting) => {
            json!({ "type": "tunnel_opened", "channel": short(channel), "waiting": waiting })
        }
        News::Closed(channel, why) => {
            json!({ "type": "tunnel_closed", "channel": short(channel), "message": why })
        }
        News::Refused => json!({ "type": "tunnel_refused" }),
        News::Trouble(error) => {
            json!({ "type": "error", "code": "store", "message": error.to_string(), "hint": error.hint() })
        }
        News::Tokens(count) => json!({ "type": "access_tokens", "count": count }),
        News::BadTokens(why) => {
            json!({ "type": "error", "code": "access_tokens", "message": bad_tokens(why), "hint": KEPT_TOKENS })
        }
        News::Certificate(until) => {
            json!({ "type": "certificate", "valid_until": until.map(|until| until.to_string()) })
        }
        News::BadCertificate(why) => {
            json!({ "type": "error", "code": "certificate", "message": bad_certificate(why), "hint": why.hint })
        }
        News::OpenKey(key) => {
            json!({ "type": "error", "code": "key", "message": open_key(key), "hint": CLOSE_KEY })
        }
    };
    let mut line = json!({ "v": FORMAT_VERSION });
    if let (Some(line), serde_json::Value::Object(object)) = (line.as_object_mut(), object) {
        line.extend(object);
    }
    line.to_string()
}

fn sentence(news: &News) -> String {
    match news {
        News::Opened(channel, 0) => format!("{} has a tunnel", short(channel)),
        News::Opened(channel, waiting) => format!("{} has a tunnel; waiting: {waiting}", short(channel)),
        News::Closed(channel, why) => format!("{} has none any more: {why}", short(channel)),
        News::Refused => "a tunnel was refused: it had no right token".to_owned(),
        News::Trouble(error) => format!("error: {error}\n  hint: {}", error.hint()),
        News::Tokens(count) => format!("the access tokens changed; there are {count}"),
        News::BadTokens(why) => format!("error: {}\n  hint: {KEPT_TOKENS}", bad_tokens(why)),
        News::Certificate(until) => {
            let until = until.map(|until| format!(", valid until {until:.0}")).unwrap_or_default();
            format!("there is another certificate{until}; newcomers are shown it")
        }
        News::BadCertificate(why) => format!("error: {}\n  hint: {}", bad_certificate(why), why.hint),
        News::OpenKey(key) => format!("warning: {}\n  hint: {CLOSE_KEY}", open_key(key)),
    }
}

const KEPT_TOKENS: &str = "the tokens that were in it last hold on until it is mended";

fn bad_tokens(why: &str) -> String {
    format!("the file of access tokens cannot be used: {why}")
}

fn bad_certificate(why: &BadTls) -> String {
    format!("the certificate stays as it was: {why}")
}

const CLOSE_KEY: &str = "`chmod 600` leaves it to the user that the relay runs as";

fn open_key(key: &Path) -> String {
    format!("everybody on this machine can read the key in `{}`", key.display())
}

/// Enough of a channel to tell it from others: whoever knows all of it can send to it.
fn short(channel: &crate::model::ChannelId) -> String {
    channel.to_string().chars().take(6).chain(['…']).collect()
}
