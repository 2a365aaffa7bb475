//! The inspector: its REST and WebSocket, who is let in and who is not.

mod client;
mod forged;
mod live;
mod openapi;
mod page;
mod rest;
mod tunnelled;

use std::path::Path;

use serde_json::Value;

use self::client::Client;
use crate::handler::Handler;
use crate::world::{Listening, World};

/// A project with a running `listen`, its handler, and a script that has the token.
struct Inspected {
    world: World,
    handler: Handler,
    listening: Listening,
    client: Client,
}

impl Inspected {
    fn start(arguments: &[&str]) -> Self {
        let (world, handler) = (World::new(), Handler::start());
        let target = handler.target();
        let listening = world.listen(&[&["--forward", &target, "--secret", "s"], arguments].concat());
        let client = Client::new(&url(&listening), &token(world.folder(), &url(&listening)));
        Self { world, handler, listening, client }
    }

    /// Triggers an event; the delivery.
    fn trigger(&self, event: &str) -> Value {
        let done = self.world.run(&["trigger", event, "--json"]);
        assert_eq!(done.objects().len(), 1, "{}", done.whole());
        done.objects().remove(0)
    }
}

fn url(listening: &Listening) -> String {
    listening.ready["inspector"].as_str().expect("the inspector's URL").to_owned()
}

/// The token that scripts of this user find in the state folder.
fn token(folder: &Path, url: &str) -> String {
    let text = std::fs::read_to_string(folder.join(".mbaas-dev/secrets.json")).unwrap();
    let secrets: Value = serde_json::from_str(&text).unwrap();
    secrets["inspectors"][url].as_str().expect("the token of the inspector").to_owned()
}
