//! The certificate of a relay that speaks TLS: read again when its files change. One that cannot be used changes nothing;
//! one that others refuse is used and complained of, since whoever runs the relay may need it.

use std::sync::Arc;
use std::time::Duration;

use super::{News, Parts};
use crate::serve::{BadTls, Identity, Tls, TlsFiles};

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Reads the files without keeping others waiting.
pub async fn load(files: &TlsFiles) -> Result<Identity, BadTls> {
    let reading = files.clone();
    match tokio::task::spawn_blocking(move || reading.load()).await {
        Ok(identity) => identity,
        // It was cancelled, since everything ends.
        Err(_) => files.load(),
    }
}

/// Shows newcomers another certificate when there is another, until the relay stops.
pub async fn watch(relay: Arc<Parts>, files: TlsFiles, tls: Tls, first: Identity) {
    if first.is_open_to_all {
        relay.tell(News::OpenKey(files.key.clone()));
    }
    let (mut shown, mut complained) = (first, None);
    let mut before = Ok(shown.clone());
    let host = relay.settings.public_url.https_host();
    let mut told = Vec::new();
    loop {
        // It may be good when it comes, and grow old.
        let flaws = shown.flaws(host.as_deref(), relay.clock.now());
        for flaw in flaws.iter().filter(|flaw| !told.contains(*flaw)) {
            relay.tell(News::Flaw(flaw.clone()));
        }
        told = flaws;
        tokio::select! {
            () = relay.stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        let now = load(&files).await;
        match &now {
            Ok(identity) => {
                complained = None;
                if *identity != shown {
                    shown = identity.clone();
                    tls.replace(identity.clone());
                    relay.tell(News::Certificate(identity.valid_until));
                    told.clear();
                }
            }
            // The files are replaced one after the other: what does not fit at one look may do at the next.
            Err(error) if now == before && complained.as_ref() != Some(error) => {
                complained = Some(error.clone());
                relay.tell(News::BadCertificate(error.clone()));
            }
            Err(_) => {}
        }
        before = now;
    }
}
