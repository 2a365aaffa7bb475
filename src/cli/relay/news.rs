//! What a running relay says, for people and for programs.

use std::net::IpAddr;
use std::path::Path;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::json;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use crate::cli::output::Output;
use crate::model::{ChannelId, FORMAT_VERSION};
use crate::relay::{BadTls, Dated, Flaw, News, Sender};
use crate::store::StoreError;

/// In which form news are shown.
pub enum Form {
    /// One JSON object a line.
    Json,
    /// A sentence behind the time in this zone.
    Text(TimeZone),
}

/// The indentation of what stands below a sentence: as wide as the time before it.
const BELOW: &str = "              ";

/// Shows what happens, until nothing does any more or nobody reads it.
pub fn show(mut news: Receiver<Dated>, output: &Output, form: &Form, stop: &CancellationToken) {
    loop {
        let told = match news.blocking_recv() {
            Ok(told) => told,
            // What is missed is not missing anywhere else.
            Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => return,
        };
        match form {
            Form::Json => {
                if output.data(&line(&told)).is_err() {
                    stop.cancel();
                    return;
                }
            }
            Form::Text(zone) => {
                let time = told.at.to_zoned_datetime(zone.clone()).strftime("%H:%M:%S%.3f");
                let time = output.talk_paint.faint(time.to_string());
                output.talk(&format!("{time}  {}", sentence(&told.news)));
            }
        }
    }
}

/// A time for programs.
pub fn timestamp(at: Timestamp) -> String {
    format!("{at:.3}")
}

fn line(told: &Dated) -> String {
    let object = match &told.news {
        News::Opened(channel, waiting, sender) => json!({
            "type": "tunnel_opened",
            "channel": short(channel),
            "waiting": waiting,
            "from": sender.address,
            "scheme": scheme(sender),
        }),
        News::Closed(channel, why) => {
            json!({ "type": "tunnel_closed", "channel": short(channel), "message": why })
        }
        News::GivenUp(discarded) => json!({ "type": "channel_given_up", "discarded": discarded }),
        News::Refused(sender, why) => {
            json!({ "type": "tunnel_refused", "from": sender.address, "message": why })
        }
        News::Limited(address, what) => {
            json!({ "type": "limited", "from": address, "message": what })
        }
        News::Proxy(address) => json!({
            "type": "error", "code": "proxy", "message": proxy(*address), "hint": trust(*address),
        }),
        News::Trouble(error) => {
            json!({ "type": "error", "code": "store", "message": error.to_string(), "hint": hint_of(error) })
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
        News::Flaw(flaw) => {
            json!({ "type": "error", "code": "certificate", "message": flawed(flaw), "hint": renew(flaw) })
        }
        News::OpenKey(key) => {
            json!({ "type": "error", "code": "key", "message": open_key(key), "hint": CLOSE_KEY })
        }
    };
    let mut line = json!({ "v": FORMAT_VERSION, "at": timestamp(told.at) });
    if let (Some(line), serde_json::Value::Object(object)) = (line.as_object_mut(), object) {
        line.extend(object);
    }
    line.to_string()
}

fn sentence(news: &News) -> String {
    match news {
        News::Opened(channel, waiting, sender) => {
            let waiting = if *waiting > 0 { format!("; waiting: {waiting}") } else { String::new() };
            format!("{} has a tunnel{}{waiting}", short(channel), from(sender))
        }
        News::Closed(channel, why) => format!("{} has none any more: {why}", short(channel)),
        News::GivenUp(0) => "a channel was given up".to_owned(),
        News::GivenUp(discarded) => {
            format!("a channel was given up; requests that waited in it: {discarded}")
        }
        News::Refused(sender, why) => format!("a tunnel{} was refused: {why}", from(sender)),
        News::Limited(address, what) => format!("{address} is answered 503: {what}"),
        News::Proxy(address) => complaint("warning", &proxy(*address), &trust(*address)),
        News::Trouble(error) => complaint("error", &error.to_string(), &hint_of(error)),
        News::Tokens(count) => format!("the access tokens changed; there are {count}"),
        News::BadTokens(why) => complaint("error", &bad_tokens(why), KEPT_TOKENS),
        News::Certificate(until) => {
            let until = until.map(|until| format!(", valid until {until:.0}")).unwrap_or_default();
            format!("there is another certificate{until}; newcomers are shown it")
        }
        News::BadCertificate(why) => complaint("error", &bad_certificate(why), why.hint),
        News::Flaw(flaw) => complaint("warning", &flawed(flaw), renew(flaw)),
        News::OpenKey(key) => complaint("warning", &open_key(key), CLOSE_KEY),
    }
}

/// What is wrong, and below it what to do.
fn complaint(kind: &str, message: &str, hint: &str) -> String {
    format!("{kind}: {message}\n{BELOW}hint: {hint}")
}

const KEPT_TOKENS: &str = "the tokens that were in it last hold on until it is mended";

fn bad_tokens(why: &str) -> String {
    format!("the file of access tokens cannot be used: {why}")
}

fn bad_certificate(why: &BadTls) -> String {
    format!("the certificate stays as it was: {why}")
}

fn flawed(flaw: &Flaw) -> String {
    match flaw {
        Flaw::Expired(until) => {
            format!("the certificate has expired ({until:.0}): whoever connects refuses it")
        }
        Flaw::NotYetValid(from) => {
            format!("the certificate is valid from {from:.0} on: whoever connects before refuses it")
        }
        Flaw::EndsSoon(until) => format!("the certificate is valid until {until:.0} only"),
        Flaw::OtherHost(host) => {
            format!("the certificate is not for `{host}`, the host of --public-url: senders refuse it")
        }
    }
}

fn renew(flaw: &Flaw) -> &'static str {
    match flaw {
        Flaw::Expired(_) | Flaw::EndsSoon(_) => "renew it: the relay takes the new one by itself",
        Flaw::NotYetValid(_) => {
            "look whether the clock of this machine is right, or take another certificate"
        }
        Flaw::OtherHost(_) => {
            "take a certificate for that name, or give as --public-url what the certificate is for"
        }
    }
}

const CLOSE_KEY: &str = "`chmod 600` leaves it to the user that the relay runs as";

fn open_key(key: &Path) -> String {
    format!("everybody on this machine can read the key in `{}`", key.display())
}

/// Where somebody comes from, as far as is known, and that everybody on the way could read its token.
fn from(sender: &Sender) -> String {
    let address = sender.address.map(|address| format!(" from {address}")).unwrap_or_default();
    let in_clear =
        sender.address.is_some_and(|address| !address.is_loopback()) && sender.is_secure == Some(false);
    format!("{address}{}", if in_clear { ", in clear" } else { "" })
}

fn scheme(sender: &Sender) -> Option<&'static str> {
    sender.is_secure.map(|is_secure| if is_secure { "https" } else { "http" })
}

fn proxy(address: IpAddr) -> String {
    format!("requests come through a proxy at {address}, which is not trusted: who sends them is not known")
}

fn trust(address: IpAddr) -> String {
    format!("`--trusted-proxy {address}` believes what it says in X-Forwarded-For")
}

/// Enough of a channel to tell it from others: whoever knows all of it can send to it.
fn short(channel: &ChannelId) -> String {
    channel.to_string().chars().take(6).chain(['…']).collect()
}
/// What to do about trouble with the store of a relay, which has no deliveries to prune.
fn hint_of(error: &StoreError) -> String {
    match error {
        StoreError::Low { .. } => {
            "free some space, or let a `listen` take what waits; requests are taken again by themselves after that".to_owned()
        }
        other => other.hint(),
    }
}
