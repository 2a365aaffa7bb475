//! Where deliveries come from: each source makes one and hands it to the pipeline, or sends it as a sender would.

pub mod again;
pub mod compose;
pub mod dispatch;
pub mod ingress;
pub mod maker;
pub mod pace;
pub mod persist;
pub mod player;
pub mod provenance;
pub mod resign;
pub mod routing;
pub mod trials;
pub mod tunnel;
pub mod watch;
