//! `listen`: binds first, then runs until it is told to stop, then lets what is under way finish.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::artifacts::ArtifactServer;
use super::inspect::Inspecting;
use super::left::{self, Left};
use super::retention::{Keep, Retention};
use super::state::{StateError, StateFolder};
use crate::bus::{Bus, Subscription};
use crate::contract::WireNames;
use crate::forward::{self, Forward};
use crate::model::{ChannelId, Clock, Target, Trouble, TunnelState, TunnelStatus, Update};
use crate::observers::inspector::{self, Through};
use crate::pipeline::{self, Hold, LAST_WORDS, Pipeline, Refresh};
use crate::serve::Listener;
use crate::sources::ingress::{self, Ingress};
use crate::sources::routing::{Router, Routes};
use crate::sources::tunnel::{self, Opened, Tunnel, Unusable};
use crate::sources::watch::{Watch, read_folder};
use crate::store::{Repaired, Room, Store, StoreError};

/// How long deliveries that are under way may take to finish after the end was asked for.
pub const GRACE: Duration = Duration::from_secs(2);

/// Everything that `listen` needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to listen; port 0 takes any.
    pub address: SocketAddr,
    /// How requests are taken.
    pub ingress: ingress::Settings,
    /// Where deliveries go.
    pub routes: Routes,
    /// A folder of fixtures whose files are fired when they are saved.
    pub fixtures: Option<PathBuf>,
    /// How requests are handed over.
    pub forward: forward::Settings,
    /// How deliveries are handed over.
    pub pipeline: pipeline::Settings,
    /// How much room on the disk recording may take.
    pub room: Room,
    /// Which deliveries are kept; `None` keeps all.
    pub keep: Option<Keep>,
    /// How long the URLs of artifacts work, in seconds, whatever a fixture says of that.
    pub artifact_lifetime: Option<u32>,
    /// The tunnel through which deliveries come as well.
    pub tunnel: Option<tunnel::Settings>,
    /// The inspector; `None` starts none.
    pub inspector: Option<InspectorSettings>,
}

/// How the inspector is started.
#[derive(Clone, Copy, Debug)]
pub struct InspectorSettings {
    /// Its port; without one, the usual one or any that is free.
    pub port: Option<u16>,
    /// Whether it may send to targets that are not configured.
    pub any_target: bool,
}

/// A `listen` that is bound and has its store open.
pub struct Listen {
    listener: Listener,
    ingress: Ingress,
    artifacts: ArtifactServer,
    watch: Option<Watch>,
    tunnel: Option<(Tunnel, Option<Opened>)>,
    pipeline: Pipeline,
    store: Store,
    bus: Bus,
    stop: CancellationToken,
    waiting: CancellationToken,
    router: Router,
    clock: Clock,
    deliveries: TaskTracker,
    connections: TaskTracker,
    retention: Option<Retention>,
    inspecting: Option<Inspecting>,
    repaired: Option<Repaired>,
    /// Why what earlier runs left could not be settled.
    unsettled: Option<StoreError>,
    /// The newest delivery of earlier runs, if what those left is to be settled.
    earlier: Option<i64>,
}

/// Why `listen` cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The port is not to be had.
    #[error("cannot listen on {address}")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The store is not to be had.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The state folder is not to be had.
    #[error(transparent)]
    State(#[from] StateError),
}

/// What a tunnel that is open looks like from outside.
#[derive(Clone, Debug)]
pub struct Gate {
    /// The URL that senders reach it by.
    pub public: String,
    /// How many deliveries wait at the relay.
    pub waiting: u64,
}

impl Listen {
    /// Opens the store and binds the ports; nothing is accepted yet. Cancelling `stop` ends it once it runs.
    pub async fn bind(
        settings: Settings,
        folder: &StateFolder,
        names: WireNames,
        clock: Clock,
        environment: fn(&str) -> Option<String>,
        stop: CancellationToken,
    ) -> Result<Self, ListenError> {
        let failed = |address| move |source| ListenError::Bind { address, source };
        let listener = Listener::bind(settings.address).await.map_err(failed(settings.address))?;
        let artifacts = ArtifactServer::bind(settings.ingress.token.clone(), clock.clone());
        let artifacts = artifacts.await.map_err(failed(ArtifactServer::ADDRESS))?;
        folder.ensure()?;
        let (store, repaired) = Store::open_to_stay(folder.path(), settings.room, &clock)?;
        let (deliveries, connections, bus) = (TaskTracker::new(), TaskTracker::new(), Bus::new());
        // What is under way on a connection to a handler is waited for as a delivery, or as a request that is being
        // answered; a connection that is only kept for the next one is not.
        let (pooled, waiting) = (TaskTracker::new(), CancellationToken::new());
        let forward = Forward::new(settings.forward, clock.clone(), pooled.clone());
        let parts = pipeline::Parts {
            store: store.clone(),
            forward: forward.clone(),
            bus: bus.clone(),
            hold: Some(Hold::new(folder.path().to_owned(), Some(refresh(&settings.ingress, &clock)))),
            tasks: deliveries.clone(),
            stop: waiting.clone(),
        };
        let pipeline = Pipeline::new(parts, &settings.pipeline);
        let ingress = format!("http://{}", reachable(listener.address()));
        let through = Through {
            ingress: ingress.parse().expect("an address is a target"),
            url: ingress,
            token: settings.ingress.token.clone(),
            keys: settings.ingress.keys.clone(),
            targets: settings.routes.targets(),
            artifacts: artifacts.artifacts(settings.artifact_lifetime),
            artifact_server: Some(artifacts.url()),
        };
        let not_yet = TunnelStatus { state: TunnelState::Reconnecting, public: None, why: None };
        let tunnel_status = watch::Sender::new(not_yet);
        let inspecting = match settings.inspector {
            Some(InspectorSettings { port, any_target }) => {
                let parts = inspector::Parts {
                    folder: folder.path().to_owned(),
                    clock: clock.clone(),
                    names: names.clone(),
                    environment,
                    through: Box::new(move || Some(through.clone())),
                    // The handler's own time limit is the one that counts.
                    forward: Forward::new(forward::Settings::default(), clock.clone(), pooled),
                    pipeline: pipeline.clone(),
                    keys: settings.ingress.keys.clone(),
                    targets: Vec::new(),
                    any_target,
                    bus: Some(bus.clone()),
                    tunnel: settings.tunnel.is_some().then(|| tunnel_status.subscribe()),
                    tasks: connections.clone(),
                    stop: stop.clone(),
                };
                Some(Inspecting::bind(port, parts).await?)
            }
            None => None,
        };
        let router = Router::new(settings.routes, pipeline.clone());
        let watch = settings.fixtures.map(|folder| Watch {
            // A folder that is missing is waited for.
            files: read_folder(&folder).unwrap_or_default().files,
            folder,
            router: router.clone(),
            keys: settings.ingress.keys.clone(),
            names: names.clone(),
            bus: bus.clone(),
            clock: clock.clone(),
            artifacts: artifacts.artifacts(settings.artifact_lifetime),
            environment,
        });
        let ingress = Ingress::new(settings.ingress, names, router.clone(), bus.clone(), clock.clone());
        let tunnel = settings.tunnel.map(|settings| Tunnel {
            remember: remember(folder.clone(), settings.relay.to_string()),
            settings,
            ingress: ingress.clone(),
            folder: folder.path().to_owned(),
            bus: bus.clone(),
            clock: clock.clone(),
            tasks: connections.clone(),
            status: tunnel_status,
        });
        let retention = settings.keep.map(|keep| retention(keep, folder, &clock, &bus));
        Ok(Self {
            listener,
            ingress,
            artifacts,
            watch,
            tunnel: tunnel.map(|tunnel| (tunnel, None)),
            pipeline,
            store,
            bus,
            stop,
            waiting,
            router,
            clock,
            deliveries,
            connections,
            retention,
            inspecting,
            repaired,
            unsettled: None,
            earlier: None,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// The URL of the artifact server.
    pub fn artifacts(&self) -> String {
        self.artifacts.url()
    }

    /// The inspector, if there is one.
    pub fn inspector(&self) -> Option<&Inspecting> {
        self.inspecting.as_ref()
    }

    /// What forwards.
    pub fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// Opens the tunnel, if there is to be one. When it cannot be opened now, why not: `run` goes on trying.
    pub async fn open_tunnel(&mut self) -> Result<Option<Result<Gate, String>>, Unusable> {
        let Some((tunnel, opened)) = &mut self.tunnel else { return Ok(None) };
        Ok(Some(match tunnel.open_first().await? {
            Ok(open) => {
                let gate = Gate { public: open.public.clone(), waiting: open.waiting };
                *opened = Some(open);
                Ok(gate)
            }
            Err(why) => Err(why),
        }))
    }

    /// Settles the deliveries that earlier runs of this project left without an answer, of which there must be none
    /// now; how many those were. While they cannot be, on a full disk say, that is told once it runs, and the next run
    /// does it.
    pub async fn settle_left(&mut self) -> usize {
        let newest = self.pipeline.newest();
        self.earlier = newest.as_ref().ok().copied();
        let settled = match newest {
            Ok(newest) => self.router.settle_left(newest, self.clock.now()).await,
            Err(error) => Err(error),
        };
        settled.unwrap_or_else(|error| {
            self.unsettled = Some(error);
            0
        })
    }

    /// Hears every update from now on; the channel closes when `run` has ended.
    pub fn subscribe(&self) -> Subscription {
        self.bus.subscribe()
    }

    /// Serves until it is told to stop, waits at most [`GRACE`] for what is under way, and closes the store.
    pub async fn run(self) {
        let stop = self.stop;
        if let Some(repaired) = self.repaired {
            let (message, hint) = (repaired.to_string(), repaired.hint());
            self.bus.publish(Update::Trouble(Arc::new(Trouble { code: "repaired", message, hint })));
        }
        if let Some(error) = &self.unsettled {
            self.bus.publish(Update::Trouble(Arc::new(left::unsettled(error))));
        }
        if let Some(up_to) = self.earlier {
            let (router, pipeline) = (self.router.clone(), self.pipeline.clone());
            let left = Left { router, pipeline, bus: self.bus.clone(), clock: self.clock.clone(), up_to };
            self.connections.spawn(left.settle_later(stop.clone()));
        }
        for target in self.pipeline.resume().await {
            if !self.router.leads_to(&target) {
                self.bus.publish(Update::Trouble(Arc::new(waits_elsewhere(&target))));
            }
        }
        if let Some(watch) = self.watch {
            let (bus, stop) = (self.bus.clone(), stop.clone());
            self.deliveries.spawn(async move {
                if let Err(error) = watch.run(stop).await {
                    bus.publish(Update::Trouble(Arc::new(no_watch(&error))));
                }
            });
        }
        if let Some((tunnel, opened)) = self.tunnel {
            self.connections.spawn(tunnel.run(opened, stop.clone()));
        }
        if let Some(retention) = self.retention {
            self.connections.spawn(retention.run(stop.clone()));
        }
        self.connections.spawn(self.artifacts.run(stop.clone(), self.connections.clone()));
        if let Some(inspecting) = self.inspecting {
            let tasks = self.connections.clone();
            self.connections.spawn(inspecting.run(stop.clone(), tasks));
        }
        let ingress = self.ingress;
        let service = move |arrived| ingress.clone().receive(arrived);
        self.listener.serve(service, stop, self.connections.clone()).await;
        self.waiting.cancel();
        self.connections.close();
        self.deliveries.close();
        let under_way = async {
            self.deliveries.wait().await;
            self.connections.wait().await;
        };
        tokio::pin!(under_way);
        if tokio::time::timeout(GRACE, &mut under_way).await.is_err() {
            // Whoever is not ready by now is cut off; deliveries are recorded already, and now that they have failed is.
            self.pipeline.cut_off();
            drop(tokio::time::timeout(LAST_WORDS, under_way).await);
        }
        self.store.close().await;
        // Tasks that were cut off hold handles yet.
        self.bus.close();
    }
}

/// An address that can be connected to: listening on every address includes this machine's own.
pub fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        let local: IpAddr =
            if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
        address.set_ip(local);
    }
    address
}

/// What has a delivery that waited go on with a fresh signature, where the one that came has grown too old.
fn refresh(settings: &ingress::Settings, clock: &Clock) -> Refresh {
    let (resign, keys, clock) = (settings.resign, settings.keys.clone(), clock.clone());
    Box::new(move |delivery, request| resign.of_waiting(delivery, request, &keys, clock.now()))
}

/// What deletes older deliveries.
fn retention(keep: Keep, folder: &StateFolder, clock: &Clock, bus: &Bus) -> Retention {
    Retention { keep, folder: folder.path().to_owned(), clock: clock.clone(), bus: bus.clone() }
}

/// What keeps the channel at a relay in the state folder.
fn remember(
    folder: StateFolder,
    relay: String,
) -> Box<dyn Fn(ChannelId) -> Result<(), String> + Send + Sync> {
    Box::new(move |channel| folder.remember_channel(&relay, channel).map_err(|error| error.to_string()))
}

/// What waits since a run with other targets would be waited for in vain otherwise.
fn waits_elsewhere(target: &Target) -> Trouble {
    Trouble {
        code: "held",
        message: format!("deliveries of an earlier run wait for {target}, to which nothing goes now"),
        hint: "they are sent when somebody listens there; `mbaas-dev replay NUMBER --to TARGET` sends one elsewhere, \
            `mbaas-dev deliveries prune --held` deletes them"
            .to_owned(),
    }
}

fn no_watch(error: &notify::Error) -> Trouble {
    Trouble {
        code: "watch",
        message: format!("the folder of fixtures cannot be watched: {error}"),
        hint: "on Linux, `sysctl fs.inotify.max_user_watches` and `max_user_instances` set how much can be"
            .to_owned(),
    }
}
