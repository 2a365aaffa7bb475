//! `mbaas-dev inspector`, and the options of the inspector that `listen` starts

use clap::Args;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::arguments::{SecretArgs, whole};
use super::output::Output;
use super::report::Exit;
use super::{Session, roads};
use crate::app::inspect::Inspecting;
use crate::app::listen::InspectorSettings;
use crate::app::shutdown::{Reason, Signals};
use crate::bus::Bus;
use crate::forward::{self, Forward};
use crate::model::Target;
use crate::observers::inspector::{Inspector, Parts, Through};
use crate::observers::json_lines;
use crate::pipeline::{self, Pipeline};
use crate::store::Store;

/// The inspector that `listen` starts.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Inspector")]
pub struct InspectorArgs {
    /// The port of the inspector on 127.0.0.1; 0 takes any free one [default: 4401, or any free one when that is taken]
    #[arg(long, value_name = "PORT", value_parser = whole(0..=u16::MAX),
          env = "MBAAS_DEV_INSPECTOR_PORT", hide_env_values = true)]
    inspector_port: Option<u16>,
    /// Start no inspector
    #[arg(long, conflicts_with_all = ["open", "allow_any_target"])]
    no_inspector: bool,
    /// Open the inspector in the browser
    #[arg(long)]
    open: bool,
    /// Let the inspector send to targets that are not configured
    #[arg(long)]
    allow_any_target: bool,
}

impl InspectorArgs {
    /// How the inspector is started; none where it is not.
    pub fn settings(&self) -> Option<InspectorSettings> {
        let settings = InspectorSettings { port: self.inspector_port, any_target: self.allow_any_target };
        (!self.no_inspector).then_some(settings)
    }

    /// Whether a browser is to show it.
    pub fn open(&self) -> bool {
        self.open
    }
}

/// Look at recorded deliveries in the browser, without a listen
///
/// The page of `listen`, alone, over the record of this project. What is sent from it goes through the running listen of
/// this project, or to the targets given here.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// The port on 127.0.0.1; 0 takes any free one [default: 4401, or any free one when that is taken]
    #[arg(short, long, value_name = "PORT", value_parser = whole(0..=u16::MAX),
          env = "MBAAS_DEV_INSPECTOR_PORT", hide_env_values = true)]
    port: Option<u16>,
    /// Open it in the browser
    #[arg(long)]
    open: bool,
    /// A target that it may send to; may be given several times
    #[arg(long, value_name = "TARGET")]
    to: Vec<Target>,
    /// Let it send to any target
    #[arg(long)]
    allow_any_target: bool,
    #[command(flatten)]
    secret: SecretArgs,
    /// Print the line `ready` as a JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &InspectArgs, session: &Session) -> anyhow::Result<Exit> {
    roads::runtime()?.block_on(inspect(arguments, session))
}

async fn inspect(arguments: &InspectArgs, session: &Session) -> anyhow::Result<Exit> {
    let mut signals = Signals::new()?;
    session.state.ensure()?;
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let store = Store::open(session.state.path())?;
    let inspecting =
        Inspecting::bind(arguments.port, parts(arguments, session, &store, &stop, &tasks)?).await?;
    let registration = session.state.register_inspector(inspecting.token())?;
    if arguments.json {
        session.output.data(&json_lines::ready(None, Some(&inspecting.url()), None, None, None))?;
    } else {
        session.output.talk(&format!("mbaas-dev inspector {}", env!("CARGO_PKG_VERSION")));
        session.output.talk(&format!("  inspector   {}", inspecting.entrance()));
    }
    if arguments.open {
        open(inspecting.inspector(), &session.output);
    }
    tasks.spawn(inspecting.run(stop.clone(), tasks.clone()));
    let exit = match signals.next().await {
        Reason::Interrupt => Exit::Interrupted,
        Reason::Terminate => Exit::Done,
    };
    stop.cancel();
    tasks.close();
    tokio::select! {
        () = tasks.wait() => {}
        () = tokio::time::sleep(crate::app::listen::GRACE) => {}
        _ = signals.next() => {}
    }
    drop(registration);
    store.close().await;
    Ok(exit)
}

fn parts(
    arguments: &InspectArgs,
    session: &Session,
    store: &Store,
    stop: &CancellationToken,
    tasks: &TaskTracker,
) -> anyhow::Result<Parts> {
    let forward = Forward::new(forward::Settings::default(), session.clock.clone(), tasks.clone());
    let pipeline = pipeline::Parts {
        store: store.clone(),
        forward: forward.clone(),
        bus: Bus::new(),
        hold: None,
        tasks: tasks.clone(),
        stop: stop.clone(),
    };
    let state = session.state.clone();
    let through = move || {
        let (running, keys, token) = state.running().ok().flatten()?;
        let targets = running.forward.iter().filter_map(|target| target.parse().ok()).collect();
        Some(Through {
            ingress: running.ingress.parse().ok()?,
            artifacts: running.artifacts(&token),
            artifact_server: running.artifacts,
            url: running.ingress,
            token,
            keys,
            targets,
        })
    };
    Ok(Parts {
        folder: session.state.path().to_owned(),
        clock: session.clock.clone(),
        names: session.catalogue.wire_names(),
        environment: session.environment,
        through: Box::new(through),
        forward,
        pipeline: Pipeline::new(pipeline, &pipeline::Settings { parallel: 16, retries: 0, hold: false }),
        keys: arguments.secret.choose_beside(session)?.keys,
        targets: arguments.to.clone(),
        any_target: arguments.allow_any_target,
        bus: None,
        tunnel: None,
        tasks: tasks.clone(),
        stop: stop.clone(),
    })
}

/// Shows an inspector in the user's browser.
pub fn open(inspector: &Inspector, output: &Output) {
    if let Err(error) = open::that_detached(inspector.url_once()) {
        let advice = "open the address beside `inspector` yourself";
        output.complain(&format!("no browser could be opened ({error}): {advice}"));
    }
}
