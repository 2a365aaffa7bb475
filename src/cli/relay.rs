//! `mbaas-dev relay`

mod doctor;
mod news;
mod release;

use std::net::SocketAddr;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use self::news::Form;
use super::Session;
use super::arguments::{age, bytes, size, size_or_zero, whole};
use super::output::Output;
use super::report::{Exit, Usage};
use super::tunnel::check_access;
use crate::app::shutdown::{Reason, Signals};
use crate::model::{FORMAT_VERSION, Secret};
use crate::relay::{
    AccessFrom, Mode, Network, PerAddress, PublicUrl, Relay, Settings, TlsFiles, WhenOffline,
};
use crate::store::Room;

/// Run a relay on a public host: a public URL for every `listen --tunnel`
///
/// Every request is on disk before its sender is told 2xx. Ctrl-C stops; nothing that was acknowledged is lost.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct RelayArgs {
    #[command(subcommand)]
    command: Option<RelayCommand>,
    #[command(flatten)]
    relay: ServeArgs,
}

#[derive(Debug, Subcommand)]
enum RelayCommand {
    Doctor(doctor::DoctorArgs),
    Release(release::ReleaseArgs),
}

#[derive(Debug, Args)]
struct ServeArgs {
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
    #[arg(long, value_name = "URL", required = true, env = "MBAAS_DEV_PUBLIC_URL", hide_env_values = true)]
    public_url: Option<PublicUrl>,
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
    /// How much the bodies that wait in all channels may have together [default: no limit]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_total_size: Option<u64>,
    /// Take nothing more, and answer 503, while the disk has less than this left; 0 goes on until it is full
    /// [default: 64M, or a sixteenth of a small disk]
    #[arg(long, value_name = "SIZE", value_parser = size_or_zero)]
    min_free: Option<u64>,
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
    /// How many requests a second may come from one address, on average, and four times as many at once; further ones are
    /// answered 503; 0 for any number
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = whole(0..=1_000_000_u32))]
    max_rate_per_address: u32,
    /// How many connections one address may have at a time, not counting tunnels; 0 for any number
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = whole(0..=1_000_000_u32))]
    max_connections_per_address: u32,
    /// A proxy before this relay, or a network of them: it is believed who sends (X-Forwarded-For) and how
    /// (X-Forwarded-Proto); may be given several times. Without one, limits of an address hold for the internet only, not for
    /// this machine and private networks
    #[arg(
        long,
        value_name = "ADDRESS|CIDR",
        env = "MBAAS_DEV_TRUSTED_PROXY",
        hide_env_values = true,
        value_delimiter = ','
    )]
    trusted_proxy: Vec<Network>,
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
    match arguments.command {
        Some(RelayCommand::Doctor(arguments)) => doctor::run(arguments, session),
        Some(RelayCommand::Release(arguments)) => release::run(arguments, session),
        None => serve(arguments.relay, session),
    }
}

fn serve(mut arguments: ServeArgs, session: &Session) -> anyhow::Result<Exit> {
    let Some(public_url) = arguments.public_url.take() else {
        // The parser wants it, unless a command below this one is given.
        return Err(Usage::new("a relay needs to know its --public-url", "").into());
    };
    if arguments.access_token.iter().any(|token| token.expose().is_empty()) {
        return Err(Usage::new("an access token is empty", "`openssl rand -hex 32` makes one").into());
    }
    check_access(&arguments.access_token)?;
    // Whoever has a proxy before it lets others in by that.
    let lets_others_in = !arguments.listen.ip().is_loopback() || !arguments.trusted_proxy.is_empty();
    if arguments.access_token.is_empty() && arguments.access_tokens.is_none() && lets_others_in {
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
    // One processor is for the thread that writes: every request waits for that.
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    let workers = processors.saturating_sub(1).max(1);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build()?;
    let exit = runtime.block_on(relay(arguments, public_url, session));
    // Whoever does not want to wait does not wait for a screen that stands still either.
    runtime.shutdown_background();
    exit
}

async fn relay(arguments: ServeArgs, public_url: PublicUrl, session: &Session) -> anyhow::Result<Exit> {
    let mut signals = Signals::new()?;
    let (json, output) = (arguments.json, &session.output);
    let Some(reserved) = session.state.reserve_for_relay()? else {
        let message = "another relay runs with this state folder";
        return Err(
            Usage::new(message, "stop it, or give this one a folder of its own with --data-dir").into()
        );
    };
    let key = session.state.relay_key(&session.clock)?;
    let settings = settings(arguments, public_url, &session.folder);
    let public = settings.public_url.to_string();
    let is_open = matches!(&settings.access, AccessFrom::Tokens(tokens) if tokens.is_empty());
    let relay = Relay::bind(settings, session.state.path(), &key, session.clock.clone()).await?;
    let listening = relay.listening();
    if json {
        let line = json!({
            "v": FORMAT_VERSION,
            "at": news::timestamp(session.clock.now()),
            "type": "ready",
            "listening": listening,
            "public_url": public,
            "tls_valid_until": relay.certified_until().map(|until| until.to_string()),
        });
        output.data(&line.to_string())?;
    } else {
        greet(output, &relay, &public, is_open);
    }
    let stop = CancellationToken::new();
    // On a thread of its own: whoever does not read what we say keeps nothing else waiting.
    let (heard, to, until) = (relay.subscribe(), output.clone(), stop.clone());
    let form = if json { Form::Json } else { Form::Text(session.clock.zone()) };
    let news = tokio::task::spawn_blocking(move || news::show(heard, &to, &form, &until));
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

fn settings(arguments: ServeArgs, public_url: PublicUrl, folder: &Path) -> Settings {
    Settings {
        address: arguments.listen,
        tls: arguments.tls_cert.zip(arguments.tls_key).map(|(certificate, key)| TlsFiles {
            certificate: folder.join(certificate),
            key: folder.join(key),
        }),
        public_url,
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
        // What is larger than all that may wait would never be taken.
        max_body: arguments.max_body.min(usize::try_from(arguments.max_waiting_size).unwrap_or(usize::MAX)),
        most_waiting: (arguments.max_waiting, arguments.max_waiting_size),
        most_waiting_in_all: arguments.max_total_size,
        most_channels: arguments.max_channels,
        most_tunnels: usize::try_from(arguments.max_tunnels).unwrap_or(usize::MAX),
        most_per_second: (arguments.max_rate > 0).then_some(arguments.max_rate),
        most_per_address: PerAddress {
            per_second: (arguments.max_rate_per_address > 0).then_some(arguments.max_rate_per_address),
            connections: usize::try_from(arguments.max_connections_per_address).ok().filter(|most| *most > 0),
        },
        trusted_proxies: arguments.trusted_proxy,
        keep: arguments.keep,
        room: Room { least_free: arguments.min_free, most: None, ballast: true },
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
        paint.strong(format!("mbaas-dev listen --tunnel {tunnel}{token}"))
    ));
    if is_open {
        output.talk("  note        without --access-token everybody who reaches it may open tunnels");
    }
    output.talk("");
}
