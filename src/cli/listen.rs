//! `mbaas-dev listen`

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::arguments::{SecretArgs, TimeLimit, address, bytes, header, keep, size, size_or_zero, whole};
use super::greeting;
use super::in_vain::{forward_in_vain, in_vain, taken, warn};
use super::inspector::{self, InspectorArgs};
use super::keyboard::Keyboard;
use super::keys::{Keys, SHORT};
use super::report::{Exit, Usage};
use super::screen::Screen;
use super::tunnel::{self, TunnelArgs};
use super::{Session, roads};
use crate::app::endpoints::Endpoint;
use crate::app::inspect::Inspecting;
use crate::app::listen::{Listen, Settings, reachable};
use crate::app::retention::Keep;
use crate::app::secret::ChosenSecret;
use crate::app::shutdown::{Reason, Signals};
use crate::app::state::Running;
use crate::forward::{self, Forward};
use crate::model::{BadFilter, BadTarget, Clock, Contract, EventFilter, Place, Secret, Target, duration};
use crate::observers::goal::{Goal, Reached};
use crate::observers::json_lines;
use crate::pipeline;
use crate::signature::{BadKey, Keyring, SvixKey};
use crate::sources::dispatch::Road;
use crate::sources::ingress::{self, Verify};
use crate::sources::routing::Routes;
use crate::store::Room;

/// Receive webhooks, record every one, forward it to your handler and show what it answered
///
/// The handler's answer goes back to the sender. Ctrl-C stops; a second Ctrl-C does not wait. Each option can be set by a
/// variable of the environment as well, MBAAS_DEV_HOLD=true for --hold; `config show` lists what is set, and by what.
#[derive(Debug, Args)]
pub struct ListenArgs {
    /// Where your handler listens: 3000, localhost:3000, localhost:3000/hooks, https://…; without it deliveries
    /// are recorded only
    #[arg(short, long, value_name = "TARGET", env = "MBAAS_DEV_FORWARD", hide_env_values = true)]
    forward: Option<Target>,
    /// The port to listen on; 0 takes any free one
    #[arg(short, long, default_value_t = 4400, value_parser = whole(0..=u16::MAX),
          env = "MBAAS_DEV_PORT", hide_env_values = true)]
    port: u16,
    /// The address to listen on; 0.0.0.0 lets other hosts in
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS", value_parser = address)]
    bind: IpAddr,
    /// Send some event types elsewhere: 'meeting.*=localhost:8000'; the first route that matches wins
    #[arg(long, value_name = "GLOB=TARGET", value_parser = route)]
    route: Vec<(EventFilter, Target)>,
    /// Forward only these event types: 'meeting.*,!meeting.failed'; others are recorded
    #[arg(short, long, value_name = "GLOBS")]
    events: Option<EventFilter>,
    /// Fire the fixtures in this folder when they are saved (`fixtures init` makes one)
    #[arg(long, value_name = "DIR")]
    fixtures: Option<PathBuf>,
    /// Add a header to every forwarded request, in the place of one of that name
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
    /// Take any certificate of an https target
    #[arg(long)]
    insecure: bool,
    #[command(flatten)]
    secret: SecretArgs,
    /// What becomes of deliveries whose signature is not valid
    #[arg(long, value_enum, default_value_t = VerifyArg::Warn, value_name = "MODE")]
    verify: VerifyArg,
    /// How long the handler may take; 0 waits for ever, for breakpoints
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    timeout: TimeLimit,
    /// How many deliveries the handler gets at a time; 1 keeps strict order
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = whole(1..=10_000_u16))]
    parallel: u16,
    /// Let deliveries wait while the handler is away, and send them on in order when it is back; the sender gets 202
    #[arg(long)]
    hold: bool,
    /// How often a delivery that was not acknowledged is tried again by itself, after 1 s, 2 s, 4 s, …
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = whole(0..=100_u32))]
    retry: u32,
    /// The largest body that is taken
    #[arg(long, value_name = "SIZE", default_value = "32M", value_parser = bytes)]
    max_body: usize,
    /// Delete older deliveries at the start and every hour: 1000 keeps so many, 7d those of seven days [default: all
    /// are kept]
    #[arg(long, value_name = "N|AGE", value_parser = keep)]
    keep: Option<Keep>,
    /// Record nothing more, and answer 503, while the disk has less than this left; 0 goes on until it is full
    /// [default: 64M, or a sixteenth of a small disk]
    #[arg(long, value_name = "SIZE", value_parser = size_or_zero)]
    min_free: Option<u64>,
    /// Record nothing more, and answer 503, while the record takes as much as this: 500M, 2G [default: no limit]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_disk: Option<u64>,
    /// How long the URLs of recordings and transcripts in events work; then they answer 403, as those of S3 do
    /// [default: what is documented, 4 hours for v2 and 24 for the others]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    artifact_ttl: Option<Duration>,
    #[command(flatten)]
    tunnel: TunnelArgs,
    /// End when such an event came: 0 when it was acknowledged (or recorded, where nothing is forwarded at all), 3 when
    /// it was not
    #[arg(long, value_name = "GLOB", help_heading = "For scripts")]
    expect: Option<EventFilter>,
    /// End with 124 when what was waited for did not come in time
    #[arg(long, value_name = "DURATION", value_parser = duration, help_heading = "For scripts")]
    within: Option<Duration>,
    /// End after so many deliveries: 0 when all were acknowledged, else 3
    #[arg(long, value_name = "N", value_parser = whole(1..=1_000_000_000_u64), help_heading = "For scripts")]
    exit_after: Option<u64>,
    #[command(flatten)]
    inspector: InspectorArgs,
    /// Print one JSON object a line: `ready` first, `summary` last
    #[arg(long, help_heading = "For scripts")]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum VerifyArg {
    /// Forward them, and show what they are
    Warn,
    /// Answer 401 and do not forward
    Strict,
    /// Check nothing
    Off,
}

impl From<VerifyArg> for Verify {
    fn from(verify: VerifyArg) -> Self {
        match verify {
            VerifyArg::Warn => Self::Warn,
            VerifyArg::Strict => Self::Strict,
            VerifyArg::Off => Self::Off,
        }
    }
}

impl ListenArgs {
    /// Where it would send deliveries.
    pub fn targets(self, endpoints: &[Endpoint]) -> Vec<Target> {
        routes(self.events, self.route, self.forward, endpoints).targets()
    }

    /// Refuses what cannot be at the same time.
    fn check(&self) -> Result<(), Usage> {
        let inspector = self.inspector.settings().and_then(|settings| settings.port);
        let is_shared = self.bind.is_loopback() || self.bind.is_unspecified();
        if is_shared && self.port != 0 && inspector == Some(self.port) {
            let message = format!("--port and --inspector-port are both {}", self.port);
            return Err(Usage::new(message, "give one of them another port; 0 takes any free one"));
        }
        Ok(())
    }

    /// The choices of event types in it, by their options.
    fn filters(&self) -> impl Iterator<Item = (&'static str, &EventFilter)> {
        let routes = self.route.iter().map(|(filter, _)| ("--route", filter));
        let events = self.events.iter().map(|filter| ("--events", filter));
        events.chain(routes).chain(self.expect.iter().map(|filter| ("--expect", filter)))
    }
}

pub fn run(arguments: ListenArgs, session: Session) -> anyhow::Result<Exit> {
    let runtime = roads::runtime()?;
    let exit = runtime.block_on(listen(arguments, session));
    // Whoever does not want to wait does not wait for a screen that stands still either.
    runtime.shutdown_background();
    exit
}

async fn listen(arguments: ListenArgs, session: Session) -> anyhow::Result<Exit> {
    let mut signals = Signals::new()?;
    arguments.check()?;
    let secret = arguments.secret.choose(&session)?;
    check_secret(&secret)?;
    let token = new_token(&session.clock);
    let (json, within, open) = (arguments.json, arguments.within, arguments.inspector.open());
    let holds = arguments.hold;
    let goal = Goal::new(arguments.expect.clone(), arguments.exit_after);
    let endpoints = session.endpoints()?;
    let mut in_vain = in_vain(arguments.filters(), &session.catalogue);
    in_vain.extend(taken(&endpoints, &session.catalogue));
    in_vain.extend(forward_in_vain(arguments.forward.as_ref(), &endpoints));
    let tunnel = arguments.tunnel.settings(&session)?;
    let settings =
        Settings { tunnel, ..settings(arguments, &session.folder, &endpoints, &secret.keys, &token) };
    let (routes, fixtures) = (settings.routes.clone(), settings.fixtures.clone());
    let names = session.catalogue.wire_names();
    let artifact_lifetime = settings.artifact_lifetime;
    let (stop, clock) = (CancellationToken::new(), session.clock.clone());
    let mut listen =
        Listen::bind(settings, &session.state, names, clock, session.environment, stop.clone()).await?;
    check_targets(&routes, listen.address())?;
    let ingress = format!("http://{}", reachable(listen.address()));
    let running = Running {
        pid: std::process::id(),
        ingress: ingress.clone(),
        forward: routes.default.as_ref().map(Target::to_string),
        artifacts: Some(listen.artifacts()),
        artifact_lifetime,
    };
    let gate = tokio::select! {
        gate = listen.open_tunnel() => gate?,
        _ = signals.next() => return Ok(Exit::Interrupted),
    };
    let entered = listen.inspector().map(Inspecting::token);
    let registration = session.state.register(&running, &secret.keys, &token, entered)?;
    // Another one may still be at what has no answer yet.
    let left = if registration.is_of_listen() { listen.settle_left().await } else { 0 };
    let screen = Screen::new(&session, json, goal, stop.clone());
    let watcher = screen.watch(listen.subscribe(), session.state.path())?;
    let inspector = listen.inspector();
    if json {
        session.output.data(&json_lines::ready(
            Some(&ingress),
            inspector.map(Inspecting::url).as_deref(),
            gate.as_ref().and_then(|gate| gate.as_ref().ok()).map(|gate| &*gate.public),
            Some(&listen.artifacts()),
            fixtures.as_ref().map(|folder| folder.display().to_string()).as_deref(),
        ))?;
        in_vain.iter().try_for_each(|trouble| session.output.data(&json_lines::trouble(trouble)))?;
    } else {
        let entrance = inspector.map(Inspecting::entrance);
        let reached = (&*ingress, listen.address().ip());
        greeting::greet(&session.output, reached, entrance.as_deref(), (&routes, &endpoints), &secret);
        greeting::fixtures(&session, fixtures.as_deref());
        tunnel::greet(&session.output, gate.as_ref());
        greeting::project(&session.output, registration.is_of_listen(), left, holds);
        warn(&session.output, &in_vain);
    }
    if let Some(inspecting) = inspector.filter(|_| open) {
        inspector::open(inspecting.inspector(), &session.output);
    }
    let keyboard = if json || !session.output.is_terminal { None } else { Keyboard::take()? };
    let road = Road::Listen {
        forward: Forward::new(forward::Settings::default(), session.clock.clone(), TaskTracker::new()),
        ingress: ingress.parse()?,
        token,
        folder: session.state.path().to_owned(),
    };
    let mut keys = Keys {
        keyboard,
        output: session.output.clone(),
        screen: screen.clone(),
        pipeline: listen.pipeline().clone(),
        inspector: listen.inspector().map(|inspecting| inspecting.inspector().clone()),
        road: Arc::new(road),
        signing: secret.keys,
        clock: session.clock.clone(),
        folder: session.state.path().to_owned(),
        tasks: TaskTracker::new(),
    };
    if !json {
        greet_keys(&keys);
    }
    let end = run_to_end(listen, stop, &mut signals, &mut keys, within).await;
    drop((registration, keys));
    if end == End::AtOnce {
        return Ok(Exit::Interrupted);
    }
    // The bus is closed by now: the observer shows what is left and ends.
    let shown = tokio::task::spawn_blocking(move || watcher.join());
    tokio::select! {
        shown = shown => drop(shown),
        _ = signals.next() => return Ok(Exit::Interrupted),
    }
    screen.sum_up(&session.output)?;
    Ok(exit_of(screen.reached(), end))
}

/// A secret that is meant for v2 has the form that v2 needs; one that is meant for all may be none.
fn check_secret(secret: &ChosenSecret) -> Result<(), BadKey> {
    let of_v2 = secret.keys.by_contract().find(|(contract, _)| *contract == Contract::V2);
    of_v2.map_or(Ok(()), |(_, key)| SvixKey::all(key).map(drop))
}

/// Whoever hands over to itself does so for ever, and records each time.
fn check_targets(routes: &Routes, own: SocketAddr) -> Result<(), Usage> {
    let is_own = |target: &Target| {
        let Place::Tcp { port, .. } = target.place() else { return false };
        target.is_loopback() && *port == own.port()
    };
    match routes.targets().into_iter().find(is_own) {
        None => Ok(()),
        Some(target) => Err(Usage::new(
            format!("{target} is this listen itself: it would hand over to itself for ever"),
            "name the port of your handler, or give listen another one with --port",
        )),
    }
}

/// Says which keys there are, if any, and ends the greeting.
fn greet_keys(keys: &Keys) {
    if keys.keyboard.is_some() {
        keys.output.talk(&format!("  keys        {SHORT}"));
    }
    keys.output.talk("");
}

/// What a `listen` says when it has come to its end.
fn exit_of(reached: Option<Reached>, end: End) -> Exit {
    match (reached, end) {
        (Some(Reached { acknowledged: true }), _) | (None, End::Stopped | End::Signal(Reason::Terminate)) => {
            Exit::Done
        }
        (Some(Reached { acknowledged: false }), _) => Exit::NotAcknowledged,
        (None, End::TooLate) => Exit::TooLate,
        (None, End::Signal(Reason::Interrupt) | End::AtOnce) => Exit::Interrupted,
    }
}

/// How a `listen` came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// A signal asked for it.
    Signal(Reason),
    /// What was waited for has come, nobody reads our output any more, or `q` was typed.
    Stopped,
    /// What was waited for did not come in time.
    TooLate,
    /// The user did not want to wait for what is under way.
    AtOnce,
}

async fn run_to_end(
    listen: Listen,
    stop: CancellationToken,
    signals: &mut Signals,
    keys: &mut Keys,
    within: Option<Duration>,
) -> End {
    let running = listen.run();
    tokio::pin!(running);
    let too_late = async {
        match within {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    let end = tokio::select! {
        reason = signals.next() => End::Signal(reason),
        () = too_late => End::TooLate,
        () = keys.obey() => End::Stopped,
        () = &mut running => return End::Stopped,
    };
    stop.cancel();
    tokio::select! {
        () = &mut running => end,
        _ = signals.next() => End::AtOnce,
    }
}

fn settings(
    arguments: ListenArgs,
    folder: &Path,
    endpoints: &[Endpoint],
    keys: &Keyring,
    token: &Secret,
) -> Settings {
    Settings {
        address: SocketAddr::new(arguments.bind, arguments.port),
        routes: routes(arguments.events, arguments.route, arguments.forward, endpoints),
        fixtures: arguments.fixtures.map(|fixtures| folder.join(fixtures)),
        ingress: ingress::Settings {
            verify: arguments.verify.into(),
            keys: keys.clone(),
            token: token.clone(),
            max_body: arguments.max_body,
            resign: arguments.tunnel.resign(),
        },
        forward: forward::Settings {
            timeout: arguments.timeout.0,
            trust: roads::insecure(arguments.insecure),
            headers: arguments.headers.into_iter().collect(),
        },
        pipeline: pipeline::Settings {
            parallel: arguments.parallel.into(),
            retries: arguments.retry,
            hold: arguments.hold,
        },
        room: Room { least_free: arguments.min_free, most: arguments.max_disk, ballast: true },
        keep: arguments.keep,
        artifact_lifetime: arguments.artifact_ttl.map(seconds),
        inspector: arguments.inspector.settings(),
        tunnel: None,
    }
}

/// Whole seconds, which is what URLs are signed for.
fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

/// Routes from the flags and the endpoints. `--route` counts before the endpoints; without endpoints, `--forward` is
/// the target of everything, and with them, of their paths.
fn routes(
    events: Option<EventFilter>,
    special: Vec<(EventFilter, Target)>,
    forward: Option<Target>,
    endpoints: &[Endpoint],
) -> Routes {
    let flags = special.into_iter().map(|(filter, target)| (filter, Some(target)));
    let configured = endpoints.iter().map(|endpoint| {
        let target = endpoint.target(forward.as_ref()).filter(|_| endpoint.enabled);
        (endpoint.events.clone().unwrap_or_default(), target)
    });
    Routes {
        filter: events.unwrap_or_default(),
        special: flags.chain(configured).collect(),
        default: forward.filter(|_| endpoints.is_empty()),
    }
}

/// What our own commands prove themselves with to this `listen`.
pub fn new_token(clock: &Clock) -> Secret {
    Secret::new(hex::encode(clock.random_bytes::<32>()))
}

fn route(text: &str) -> Result<(EventFilter, Target), String> {
    let (globs, target) =
        text.split_once('=').ok_or("a route is `GLOB=TARGET`, as in `meeting.*=localhost:8000`")?;
    let globs = globs.parse().map_err(|error: BadFilter| error.to_string())?;
    Ok((globs, target.parse().map_err(|error: BadTarget| error.to_string())?))
}
