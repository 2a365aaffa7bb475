//! Who watches: each observer hears updates and turns them into text; printing is the command line's.

pub mod advice;
pub mod difference;
pub mod drift;
pub mod events;
pub mod exchange;
pub mod firings;
pub mod follow;
pub mod goal;
pub mod inspector;
pub mod json_lines;
pub mod paint;
pub mod request_text;
pub mod tally;
pub mod terminal;
pub mod timeline;
