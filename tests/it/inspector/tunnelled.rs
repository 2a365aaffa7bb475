//! What the inspector says of the tunnel: to programs, and to whoever looks at the page.

use std::thread;

use serde_json::{Value, json};

use super::client::Client;
use super::{page, token, url};
use crate::handler::Handler;
use crate::relaying::Relay;
use crate::world::World;

#[test]
fn whether_anything_comes_through_the_tunnel_is_said_at_once_and_to_whoever_asks() {
    let (of_relay, world, handler) = (World::new(), World::new(), Handler::start());
    let mut relay = Relay::start(&of_relay, &[]);
    let mut listen = relay.listen(&world, &["--forward", &handler.target()]);
    let client = Client::new(&url(&listen), &token(world.folder(), &url(&listen)));
    let status = client.object("/api/status");
    assert_eq!(status["tunnel"], json!({ "state": "open", "message": null }), "{status}");
    assert_eq!(status["public"], listen.ready["public"]);
    thread::scope(|scope| {
        let (world, inspector) = (&world, url(&listen));
        let looking = scope.spawn(move || page::run("tunnel", world, &inspector, &[]));
        listen.next("received");
        relay.end("TERM");
        listen.next("reconnecting");
        let lost = client.object("/api/status");
        assert_eq!((&lost["tunnel"]["state"], &lost["public"]), (&json!("reconnecting"), &status["public"]));
        assert!(lost["tunnel"]["message"].is_string(), "{lost}");
        listen.next("received");
        let _relay = Relay::at(&relay.address, &of_relay, &[]);
        assert_eq!(listen.next("tunnel")["public"], status["public"]);
        assert_eq!(client.object("/api/status"), with_newest(&status, 2));
        looking.join().unwrap();
    });
}

/// The same status after so many deliveries.
fn with_newest(status: &Value, deliveries: u64) -> Value {
    let mut status = status.clone();
    (status["deliveries"], status["last"]) = (deliveries.into(), deliveries.into());
    status
}
