//! The tunnel: takes what a relay on a public host received for us, and opens itself again whenever it is lost.
//!
//! A WebSocket carries a stream of bytes, and HTTP/2 runs inside it: the relay asks, and the ingress answers. What was
//! recorded before is not recorded again, and nothing is recorded before what the relay sent before it.

mod give_up;
mod knock;
mod lane;
mod leap;
mod open;
#[cfg(test)]
mod sent_again;
mod url;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{OnceCell, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::give_up::{GivenUp, Kept, give_up};
use self::knock::somebody_answers;
use self::lane::{Lane, Lanes};
use self::leap::leap;
use self::open::NotOpened;
pub use self::open::{Opened, Unusable};
pub use self::url::RelayUrl;
use super::ingress::Ingress;
use crate::bus::Bus;
use crate::forward::Connection;
use crate::model::{ChannelId, Clock, Secret, Trouble, TunnelLoss, TunnelState, TunnelStatus, Update};
use crate::serve::{HEARTBEAT, SILENCE, serve_through};
use crate::store::StoreError;
use crate::websocket::{ByteStream, code, lend};

/// How long to wait before each try to open the tunnel again, at the most; the last one counts for all further tries.
const PAUSES: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_millis(100),
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(30),
];

/// How long a tunnel must have been open for the next try to count as the first.
const STABLE: Duration = Duration::from_secs(5);

/// How long is tried before `listen` says that it is ready without a tunnel.
const FIRST_TRIES: Duration = Duration::from_secs(10);

/// What to do when the clocks of a relay and of this machine differ.
pub const SET_CLOCK: &str =
    "set the one that is wrong (NTP): signatures of v2 with a time stamp are refused after five minutes";

/// How a tunnel ends that nobody says goodbye to.
const CLOSED: &str = "the relay closed it";
const BROKE: &str = "the connection to the relay broke";
const SILENT: &str = "the relay gives no sign of life";

/// Which tunnel is opened.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the relay is.
    pub relay: RelayUrl,
    /// What lets us in.
    pub access: Option<Secret>,
    /// What proves that our channel is ours.
    pub token: Secret,
    /// The channel that we had last.
    pub channel: Option<ChannelId>,
}

/// A tunnel that is to be opened.
pub struct Tunnel {
    /// Which.
    pub settings: Settings,
    /// Who takes what comes.
    pub ingress: Ingress,
    /// Where it is recorded.
    pub folder: PathBuf,
    /// Who hears of it.
    pub bus: Bus,
    /// Randomness, and the time of day, of which leaps are noticed.
    pub clock: Clock,
    /// What owns the requests under way.
    pub tasks: TaskTracker,
    /// Says what it is like, to whoever asks.
    pub status: watch::Sender<TunnelStatus>,
    /// Keeps the channel for the next run: whoever does not say what it has gets less than it lacks, once a relay is restored.
    pub remember: Box<dyn Fn(ChannelId) -> Result<(), String> + Send + Sync>,
}

/// How a tunnel that was open ended.
enum End {
    /// We stop.
    Stopped,
    /// It is to be opened again.
    Lost(String),
    /// It is to be opened again at once: the time of day leapt ahead by so much.
    Leapt(Duration),
    /// Our channel is not ours any more.
    Gone(Trouble),
}

impl Tunnel {
    /// Tries to open the tunnel for up to ten seconds; when it may still be opened later, why it is not.
    pub async fn open_first(&self) -> Result<Result<Opened, String>, Unusable> {
        let begun = Instant::now();
        let mut tries = 0;
        loop {
            match self.open(self.settings.channel).await {
                Ok(opened) => {
                    // Before anybody is told its URL: without it nobody could give that up.
                    if self.settings.channel != Some(opened.channel) {
                        self.remember(opened.channel);
                    }
                    self.is_open(&opened);
                    return Ok(Ok(opened));
                }
                Err(NotOpened::Never(unusable)) => return Err(unusable),
                Err(NotOpened::NotNow(why) | NotOpened::Away(why)) => {
                    self.is_not_open(TunnelState::Reconnecting, why.clone());
                    let pause = pause(tries, self.clock.chance());
                    if begun.elapsed() + pause >= FIRST_TRIES {
                        return Ok(Err(why));
                    }
                    tokio::time::sleep(pause).await;
                    tries += 1;
                }
            }
        }
    }

    /// Takes what comes until `stop` is cancelled, beginning with a tunnel that is open already.
    pub async fn run(self, mut ready: Option<Opened>, stop: CancellationToken) {
        let mut channel = ready.as_ref().map(|opened| opened.channel).or(self.settings.channel);
        let (mut tries, mut is_greeted, mut last) = (0, ready.is_some(), None);
        let mut clocks_agree = true;
        let lanes = OnceCell::new();
        loop {
            let opened = if let Some(opened) = ready.take() {
                Ok(opened)
            } else {
                tokio::select! {
                    () = stop.cancelled() => return,
                    opened = self.open(channel) => opened,
                }
            };
            let is_away = matches!(opened, Err(NotOpened::Away(_)));
            let why = match opened {
                Ok(opened) => {
                    if channel.replace(opened.channel) != Some(opened.channel) {
                        self.remember(opened.channel);
                    }
                    self.is_open(&opened);
                    if !std::mem::take(&mut is_greeted) {
                        self.bus.publish(Update::TunnelUp(opened.public.as_str().into(), opened.waiting));
                    }
                    if let Some(theirs) = opened.other_time.filter(|_| clocks_agree) {
                        self.bus.publish(Update::Trouble(Arc::new(other_time(theirs, self.clock.now()))));
                    }
                    clocks_agree = opened.other_time.is_none();
                    last = None;
                    let begun = Instant::now();
                    let end = match self.lane(&lanes, opened.channel).await {
                        Ok(lane) => self.serve(opened.stream, lane, &stop).await,
                        Err(error) => End::Lost(error.to_string()),
                    };
                    if begun.elapsed() >= STABLE {
                        tries = 0;
                    }
                    match end {
                        End::Stopped => return,
                        End::Gone(trouble) => {
                            self.is_not_open(TunnelState::Closed, trouble.message.clone());
                            self.bus.publish(Update::Trouble(Arc::new(trouble)));
                            return;
                        }
                        End::Lost(why) => why,
                        End::Leapt(leap) => {
                            tries = 0;
                            format!(
                                "the clock leapt {} s ahead, as it does when a computer sleeps",
                                leap.as_secs()
                            )
                        }
                    }
                }
                Err(NotOpened::NotNow(why) | NotOpened::Away(why)) => why,
                Err(NotOpened::Never(unusable)) => unusable.to_string(),
            };
            let again_in = pause(tries, self.clock.chance());
            tries += 1;
            let is_news = last.as_ref() != Some(&why);
            last = Some(why.clone());
            self.is_not_open(TunnelState::Reconnecting, why.clone());
            let has_channel = channel.is_some();
            self.bus.publish(Update::TunnelDown(Arc::new(TunnelLoss {
                why,
                again_in,
                is_news,
                has_channel,
            })));
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(again_in) => {}
                () = somebody_answers(&self.settings.relay, &self.clock), if is_away => tries = 1,
                // Whatever was in the way before may be gone after a sleep.
                _ = leap(&self.clock) => tries = 0,
            }
        }
    }

    fn remember(&self, channel: ChannelId) {
        if let Err(message) = (self.remember)(channel) {
            let hint = "its public URL stays, but keep the state folder writable".to_owned();
            self.bus.publish(Update::Trouble(Arc::new(Trouble { code: "state", message, hint })));
        }
    }

    /// Says so before anybody is told.
    fn is_open(&self, opened: &Opened) {
        let public = Some(opened.public.clone());
        self.status.send_replace(TunnelStatus { state: TunnelState::Open, public, why: None });
    }

    /// Says so; it keeps its URL.
    fn is_not_open(&self, state: TunnelState, why: String) {
        self.status.send_modify(|status| (status.state, status.why) = (state, Some(why)));
    }

    async fn open(&self, channel: Option<ChannelId>) -> Result<Opened, NotOpened> {
        let has = match channel {
            Some(channel) => lane::recorded_up_to(self.folder.as_path().into(), channel).await,
            None => Ok(0),
        };
        let has = has.map_err(|error| NotOpened::NotNow(error.to_string()))?;
        open::open(&self.settings, &self.clock, has).await
    }

    /// The lane of a tunnel that is open; the first one makes what all have in common.
    async fn lane(&self, lanes: &OnceCell<Lanes>, channel: ChannelId) -> Result<Lane, StoreError> {
        let new = || Lanes::new(self.ingress.clone(), self.folder.as_path().into(), self.bus.clone());
        let lanes = lanes.get_or_try_init(new).await?;
        Ok(lanes.open(channel, lanes.recorded_up_to(channel).await?))
    }

    /// Serves the relay until the tunnel is lost.
    async fn serve(&self, stream: ByteStream<Connection>, lane: Lane, stop: &CancellationToken) -> End {
        let ending = stream.ending();
        let served = tokio::select! {
            served = self.rest_and_serve(stream, lane, stop) => served,
            () = ending.silence(SILENCE) => SILENT,
            leap = leap(&self.clock) => return End::Leapt(leap),
        };
        match ending.theirs() {
            _ if stop.is_cancelled() => End::Stopped,
            Some(goodbye) if goodbye.code == code::DISPLACED => End::Gone(displaced()),
            Some(goodbye) if goodbye.code == code::GIVEN_UP => End::Gone(given_up()),
            Some(goodbye) if goodbye.code == code::AWAY => End::Lost("the relay stopped".to_owned()),
            Some(goodbye) if !goodbye.reason.is_empty() => {
                End::Lost(format!("the relay closed it: {}", goodbye.reason))
            }
            _ => End::Lost(served.to_owned()),
        }
    }

    /// Serves whenever the relay begins with HTTP/2; how the tunnel ended.
    async fn rest_and_serve(
        &self,
        mut stream: ByteStream<Connection>,
        lane: Lane,
        stop: &CancellationToken,
    ) -> &'static str {
        loop {
            let came = tokio::select! {
                came = stream.rest(HEARTBEAT) => came,
                () = stop.cancelled() => return CLOSED,
            };
            match came {
                Ok(true) => {}
                Ok(false) => return CLOSED,
                Err(_) => return BROKE,
            }
            let (lent, comes_back) = lend(stream);
            let lane = lane.clone();
            let service = move |arrived| lane.clone().receive(arrived);
            let served = serve_through(lent, service, stop.clone(), self.tasks.clone()).await;
            match served {
                Ok(()) if stop.is_cancelled() => return CLOSED,
                Ok(()) => {}
                Err(error) if error.is_timeout() => return SILENT,
                Err(_) => return BROKE,
            }
            let ended = async {
                let mut stream = comes_back.await.ok()?;
                stream.end().await.ok().map(|()| stream)
            };
            match ended.await {
                Some(back) => stream = back,
                None => return CLOSED,
            }
        }
    }
}

fn other_time(theirs: Timestamp, ours: Timestamp) -> Trouble {
    Trouble {
        code: "clock",
        message: format!("the relay's clock shows {theirs:.0}, and that of this machine {ours:.0}"),
        hint: SET_CLOCK.to_owned(),
    }
}

fn displaced() -> Trouble {
    Trouble {
        code: "tunnel",
        message: "the tunnel is closed: another listen has opened it with the token of this project"
            .to_owned(),
        hint: "start this one again to take it back; two projects need two state folders (`--data-dir`)"
            .to_owned(),
    }
}

fn given_up() -> Trouble {
    Trouble {
        code: "tunnel",
        message: "the tunnel is closed: the channel of this project was given up".to_owned(),
        hint: "start this listen again to get another URL".to_owned(),
    }
}

/// How long to wait before a try, with `chance` from 0 to 1: those who lost the same relay do not come back all at once.
fn pause(tries: usize, chance: f64) -> Duration {
    let most = PAUSES[tries.min(PAUSES.len() - 1)];
    most.mul_f64(0.5 + chance / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_half_a_minute_and_are_never_all_the_same() {
        let longest: Vec<f64> = (0..7).map(|tries| pause(tries, 1.0).as_secs_f64()).collect();
        assert_eq!(longest, [0.0, 0.1, 1.0, 5.0, 30.0, 30.0, 30.0]);
        let shortest: Vec<f64> = (0..5).map(|tries| pause(tries, 0.0).as_secs_f64()).collect();
        assert_eq!(shortest, [0.0, 0.05, 0.5, 2.5, 15.0]);
    }
}
