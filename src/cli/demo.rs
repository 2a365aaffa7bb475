//! `mbaas-dev demo`

use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use clap::Args;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::greeting::greet;
use super::listen::new_token;
use super::report::{Exit, exit_of};
use super::screen::Screen;
use super::{Session, roads};
use crate::app::demo::{self, DemoHandler, Verifier};
use crate::app::inspect::Inspecting;
use crate::app::listen::{InspectorSettings, Listen, Settings};
use crate::app::secret::{ChosenSecret, SecretSource};
use crate::app::shutdown::{Reason, Signals};
use crate::app::state::Running;
use crate::fixture::{Entry, Run};
use crate::forward::{self, Forward, Manner};
use crate::json::Json;
use crate::model::{Contract, Kind, Origin, Secret, Target};
use crate::observers::goal::Goal;
use crate::observers::json_lines;
use crate::pipeline;
use crate::signature::{Key, Keyring, Signing, Stamp};
use crate::sources::compose;
use crate::sources::dispatch::{Parcel, Road};
use crate::sources::ingress::{self, Verify};
use crate::sources::provenance::Provenance;
use crate::sources::resign::Resign;
use crate::sources::routing::Routes;
use crate::store::Room;

/// See it work: a built-in handler, a listen, and every event of preview sent through
///
/// The handler verifies whatever comes, of any contract. What is sent is in the record of this project afterwards, as all that
/// comes by `listen` is: `deliveries list` shows it.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Keep handler and listen running afterwards, until Ctrl-C
    #[arg(long)]
    stay: bool,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &DemoArgs, session: Session) -> anyhow::Result<Exit> {
    roads::runtime()?.block_on(demo(arguments, session))
}

async fn demo(arguments: &DemoArgs, session: Session) -> anyhow::Result<Exit> {
    let mut signals = Signals::new()?;
    let secret = session.state.project_secret(&session.clock)?;
    let source = SecretSource::Project;
    let keys = Keyring::new(Key::new(secret, source.to_string()));
    let chosen = ChosenSecret { keys: keys.clone(), source };
    let token = new_token(&session.clock);
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let names = session.catalogue.wire_names();
    let handler =
        DemoHandler::bind(Verifier { keys: keys.clone(), names, clock: session.clock.clone() }).await?;
    let target = handler.target();
    tasks.spawn(handler.run(stop.clone(), tasks.clone()));
    let listen = bind(&target, &keys, &token, arguments.stay, stop.clone(), &session).await?;
    let ingress = format!("http://{}", listen.address());
    let artifacts = listen.artifacts();
    let running = Running {
        pid: std::process::id(),
        ingress: ingress.clone(),
        forward: Some(target.to_string()),
        artifacts: Some(artifacts.clone()),
        artifact_lifetime: None,
    };
    let inspector = listen.inspector();
    let registration = arguments
        .stay
        .then(|| session.state.register(&running, &keys, &token, inspector.map(Inspecting::token)))
        .transpose()?;
    let (url, entrance) = (inspector.map(Inspecting::url), inspector.map(Inspecting::entrance));
    let screen = Screen::new(&session, arguments.json, Goal::default(), stop.clone());
    let watcher = screen.watch(listen.subscribe(), session.state.path())?;
    tasks.spawn(listen.run());
    if arguments.json {
        let ready = json_lines::ready(Some(&ingress), url.as_deref(), None, Some(&artifacts), None);
        session.output.data(&ready)?;
    } else {
        let routes = Routes { default: Some(target), ..Routes::default() };
        greet(
            &session.output,
            (&*ingress, Ipv4Addr::LOCALHOST.into()),
            entrance.as_deref(),
            (&routes, &[]),
            &chosen,
        );
        session.output.talk("  handler     built in: it verifies every signature\n");
    }
    let sender = Sender::new(&running, &keys, token, &session)?;
    let ended = tokio::select! {
        ended = play(sender, arguments.stay) => ended,
        _ = signals.next() => Ok(Exit::Interrupted),
        () = stop.cancelled() => Ok(Exit::Done),
    };
    // When nothing can be shown any more, nobody takes what is sent; why that is so is told below.
    let mut exit = if stop.is_cancelled() { Exit::Done } else { ended? };
    if arguments.stay && exit == Exit::Done && !stop.is_cancelled() {
        session.output.talk(
            "\nThe handler refused the last one: open the inspector, see why, edit it, and send it again.",
        );
        session
            .output
            .talk("running until Ctrl-C; try `mbaas-dev trigger meeting.completed` in another terminal");
        exit = tokio::select! {
            reason = signals.next() => match reason {
                Reason::Interrupt => Exit::Interrupted,
                Reason::Terminate => Exit::Done,
            },
            () = stop.cancelled() => Exit::Done,
        };
    }
    stop.cancel();
    drop(registration);
    tasks.close();
    tasks.wait().await;
    drop(tokio::task::spawn_blocking(move || watcher.join()).await);
    screen.sum_up(&session.output)?;
    // What became of all that was sent while it stayed, it has said already.
    if exit == Exit::Done && !arguments.json && !arguments.stay {
        suggest(&session);
    }
    Ok(exit)
}

/// A `listen` on any free port, so that the demo works beside whatever else runs.
async fn bind(
    target: &Target,
    keys: &Keyring,
    token: &Secret,
    stays: bool,
    stop: CancellationToken,
    session: &Session,
) -> anyhow::Result<Listen> {
    let settings = Settings {
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        routes: Routes { default: Some(target.clone()), ..Routes::default() },
        fixtures: None,
        ingress: ingress::Settings {
            verify: Verify::Warn,
            keys: keys.clone(),
            token: token.clone(),
            max_body: 32 * 1024 * 1024,
            resign: Resign::default(),
        },
        forward: forward::Settings {
            timeout: Some(std::time::Duration::from_secs(30)),
            ..forward::Settings::default()
        },
        pipeline: pipeline::Settings { parallel: 64, retries: 0, hold: false },
        room: Room::ALL,
        keep: None,
        artifact_lifetime: None,
        inspector: stays.then_some(InspectorSettings { port: None, any_target: false }),
        tunnel: None,
    };
    let names = session.catalogue.wire_names();
    let clock = session.clock.clone();
    Ok(Listen::bind(settings, &session.state, names, clock, session.environment, stop).await?)
}

/// The sender: every event is of one run, so that their ids agree.
struct Sender<'a> {
    road: Road,
    run: Run,
    keys: &'a Keyring,
    session: &'a Session,
}

impl<'a> Sender<'a> {
    fn new(
        running: &Running,
        keys: &'a Keyring,
        token: Secret,
        session: &'a Session,
    ) -> anyhow::Result<Self> {
        let forward = Forward::new(forward::Settings::default(), session.clock.clone(), TaskTracker::new());
        let run = Run::new(&session.clock, session.environment).with_artifacts(running.artifacts(&token));
        let (ingress, folder) = (running.ingress.parse()?, session.state.path().to_owned());
        Ok(Self { road: Road::Listen { forward, ingress, token, folder }, run, keys, session })
    }

    async fn send(&self, body: &Json) -> anyhow::Result<Exit> {
        let signing = Signing::right(Contract::Preview, self.keys.key(Contract::Preview, None));
        let body = Bytes::from(body.to_canonical());
        let request = compose::request(&signing, &Stamp::new(&self.session.clock), body)?;
        let provenance =
            Provenance { origin: Origin::Trigger, replay_of: None, contract: Some(Contract::Preview) };
        let parcel = Parcel { request, kind: Kind::default(), provenance, manner: Manner::Whole };
        Ok(exit_of(&self.road.send(&self.session.clock, parcel).await?))
    }
}

/// Sends every event of the preview contract; then, `with_a_mistake`, one that the handler cannot use.
async fn play(sender: Sender<'_>, with_a_mistake: bool) -> anyhow::Result<Exit> {
    let catalogue = &sender.session.catalogue;
    let plain = |entry: &&Entry| entry.contract == Contract::Preview && entry.name.variant.is_none();
    let mut exit = Exit::Done;
    for entry in catalogue.entries().filter(plain) {
        exit = exit.max(sender.send(&entry.fixture.render(&sender.run)?).await?);
    }
    if with_a_mistake {
        let completed = catalogue.find(&"meeting.completed".parse()?, Some(Contract::Preview))?;
        let mut body = completed.fixture.render(&sender.run)?;
        body.set(&demo::RECORDING.parse()?, Json::Null)?;
        // That it is refused is the point of it.
        sender.send(&body).await?;
    }
    Ok(exit)
}

fn suggest(session: &Session) {
    let paint = session.output.talk_paint;
    session
        .output
        .talk(
            "\nEvery event of the preview contract was signed, forwarded, acknowledged, and recorded in this project's \
             record.\nNow with your own handler:",
        );
    for (command, what) in [
        ("mbaas-dev listen -f localhost:3000/your/path", "in one terminal"),
        ("mbaas-dev trigger meeting.completed", "in another"),
        ("mbaas-dev deliveries list", "what was recorded"),
        ("mbaas-dev replay --last", "send the newest again"),
        ("mbaas-dev secret show", "what your handler verifies with"),
    ] {
        session.output.talk(&format!("  {}  {}", paint.strong(format!("{command:<44}")), paint.faint(what)));
    }
}
