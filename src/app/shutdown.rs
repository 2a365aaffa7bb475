//! Signals: the first one asks for an orderly end, the second one does not wait.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What asked us to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Ctrl-C, or SIGQUIT, which most terminals send for Ctrl-\.
    Interrupt,
    /// SIGTERM or SIGHUP: whoever started us wants us to end.
    Terminate,
}

/// The signals that end the program.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    quit: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    /// Takes the signals over from the default, which is to die at once.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) -> Reason {
        tokio::select! {
            _ = self.interrupt.recv() => Reason::Interrupt,
            _ = self.quit.recv() => Reason::Interrupt,
            _ = self.terminate.recv() => Reason::Terminate,
            _ = self.hang_up.recv() => Reason::Terminate,
        }
    }
}
