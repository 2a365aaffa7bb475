//! What a relay counts, as Prometheus reads it. Nothing in it says who or what: no channel, no token, no path.

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::store::relay::Health;

/// What a sender was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// The handler's answer.
    Answered,
    /// That its request is kept.
    Kept,
    /// That nobody takes it at the moment.
    Offline,
    /// That as much waits as may wait.
    Full,
    /// That requests come too fast, for a channel or an access token.
    TooFast,
    /// That too many come from its address.
    Address,
    /// That its address has too many connections.
    Connections,
    /// That its address asks for too many channels that there are not.
    Guesses,
    /// That there is no room for so much at a time.
    Crowded,
    /// That it cannot be kept.
    Store,
    /// That there is no such channel.
    Unknown,
    /// That the channel was given up.
    GivenUp,
    /// That it is no webhook.
    Method,
    /// That its body is too large.
    TooLarge,
    /// That its body came too slowly, or not to its end.
    Body,
}

/// Why somebody who wanted a tunnel has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No right access token.
    Access,
    /// No listen token, or what is no WebSocket.
    Request,
    /// The channel is another's, or there are as many as there may be.
    Channel,
    /// There are as many tunnels as there may be.
    Crowded,
    /// Channels cannot be kept.
    Store,
}

type Label = [(&'static str, &'static str); 1];

/// The counters of one relay.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<Label, Counter>,
    refused: Family<Label, Counter>,
    /// Tunnels that were opened.
    pub opened: Counter,
    /// Tunnels in which HTTP/2 runs.
    pub awake: Gauge,
    /// Messages that an owner has recorded.
    pub delivered: Counter,
    /// Messages that nobody took in time.
    pub expired: Counter,
    /// Channels that were given up.
    pub given_up: Counter,
    gauges: [Gauge; 6],
}

impl Told {
    const ALL: [Self; 15] = [
        Self::Answered,
        Self::Kept,
        Self::Offline,
        Self::Full,
        Self::TooFast,
        Self::Address,
        Self::Connections,
        Self::Guesses,
        Self::Crowded,
        Self::Store,
        Self::Unknown,
        Self::GivenUp,
        Self::Method,
        Self::TooLarge,
        Self::Body,
    ];

    fn label(self) -> Label {
        let value = match self {
            Self::Answered => "answered",
            Self::Kept => "kept",
            Self::Offline => "offline",
            Self::Full => "full",
            Self::TooFast => "rate",
            Self::Address => "address_rate",
            Self::Connections => "connections",
            Self::Guesses => "guesses",
            Self::Crowded => "crowded",
            Self::Store => "store",
            Self::Unknown => "unknown",
            Self::GivenUp => "given_up",
            Self::Method => "method",
            Self::TooLarge => "body_too_large",
            Self::Body => "body",
        };
        [("told", value)]
    }
}

impl Refused {
    const ALL: [Self; 5] = [Self::Access, Self::Request, Self::Channel, Self::Crowded, Self::Store];

    fn label(self) -> Label {
        let value = match self {
            Self::Access => "access",
            Self::Request => "request",
            Self::Channel => "channel",
            Self::Crowded => "crowded",
            Self::Store => "store",
        };
        [("reason", value)]
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("mbaas_dev_relay");
        let (requests, refused) = (Family::<Label, Counter>::default(), Family::<Label, Counter>::default());
        // All are there from the start: what is missing cannot be told from what is not counted.
        for told in Told::ALL {
            drop(requests.get_or_create(&told.label()));
        }
        for reason in Refused::ALL {
            drop(refused.get_or_create(&reason.label()));
        }
        let [opened, delivered, expired, given_up] = [(); 4].map(|()| Counter::default());
        registry.register("requests", "Requests of senders, by what they were told", requests.clone());
        registry.register("tunnels_refused", "Tunnels that were not opened, by the reason", refused.clone());
        registry.register("tunnels_opened", "Tunnels that were opened", opened.clone());
        let awake = Gauge::default();
        registry.register(
            "tunnels_awake",
            "Tunnels through which something went within half a minute",
            awake.clone(),
        );
        registry.register(
            "delivered",
            "Requests that the owner of their channel has recorded",
            delivered.clone(),
        );
        registry.register("expired", "Requests that nobody took in time", expired.clone());
        registry.register("channels_given_up", "Channels that were given up", given_up.clone());
        let gauges = [
            ("store_writes", "1 when the last write to disk succeeded, else 0"),
            ("channels", "Channels"),
            ("connected", "Channels with a tunnel"),
            ("waiting", "Requests that wait"),
            ("waiting_bytes", "Bytes of their bodies"),
            ("disk_bytes", "Bytes of the files of the store"),
        ];
        let gauges = gauges.map(|(name, help)| {
            let gauge: Gauge = Gauge::default();
            registry.register(name, help, gauge.clone());
            gauge
        });
        Self { registry, requests, refused, opened, awake, delivered, expired, given_up, gauges }
    }
}

impl Metrics {
    /// The type of [`text`](Self::text).
    pub const TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

    /// A sender was told that.
    pub fn told(&self, told: Told) {
        self.requests.get_or_create(&told.label()).inc();
    }

    /// Somebody got no tunnel.
    pub fn refused(&self, why: Refused) {
        self.refused.get_or_create(&why.label()).inc();
    }

    /// Everything, with how the store is.
    pub fn text(&self, health: &Health) -> String {
        let numbers = [
            u64::from(health.writes),
            health.channels,
            health.owned,
            health.waiting.messages,
            health.waiting.bytes,
            health.bytes_on_disk,
        ];
        for (gauge, number) in self.gauges.iter().zip(numbers) {
            gauge.set(i64::try_from(number).unwrap_or(i64::MAX));
        }
        let mut text = String::new();
        // Writing to a text does not fail.
        encode(&mut text, &self.registry).ok();
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::relay::Waiting;

    #[test]
    fn everything_is_there_from_the_start_and_counts() {
        let metrics = Metrics::default();
        metrics.told(Told::TooFast);
        metrics.refused(Refused::Access);
        metrics.delivered.inc();
        let waiting = Waiting { messages: 3, bytes: 4 };
        let health = Health { writes: true, waiting, channels: 1, owned: 2, bytes_on_disk: 5 };
        // Those of one family stand in any order.
        let text = metrics.text(&health);
        let mut lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        lines.sort_unstable();
        insta::assert_snapshot!(lines.join("\n"));
    }
}
