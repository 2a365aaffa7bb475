//! The keys of the terminal, one by one: while they are taken, the terminal neither gathers lines nor shows what is typed.
//!
//! It gets its own mode back on every way out that a process can see, and whenever it is lent to the shell (Ctrl-Z). As
//! long as somebody else has the terminal (`listen &`), nothing is read from it and nothing changed.

use std::collections::VecDeque;
use std::io::{self, IsTerminal, Stdin, stdin};

use rustix::io::Errno;
use rustix::process::{self, getpgrp, getpid, kill_process};
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetpgrp, tcsetattr,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What keys that are no characters begin with: the arrows, for one.
const ESCAPE: u8 = 0x1b;

/// The terminal's keys.
#[derive(Debug)]
pub struct Keyboard {
    terminal: Terminal,
    keys: AsyncFd<Stdin>,
    typed: VecDeque<u8>,
    /// Ctrl-Z.
    stop: Signal,
    /// The terminal is ours again.
    go_on: Signal,
}

/// The terminal, which gets its mode back when this is dropped.
#[derive(Debug)]
struct Terminal {
    /// How it was, while it is otherwise.
    before: Option<Termios>,
}

impl Keyboard {
    /// Takes the keys of standard input; `None` when that is no terminal. It needs the runtime that is entered.
    #[expect(deprecated, reason = "what came in its place is unsafe code; standard input stays open")]
    pub fn take() -> io::Result<Option<Self>> {
        if !stdin().is_terminal() {
            return Ok(None);
        }
        let mut terminal = Terminal { before: None };
        terminal.enter()?;
        Ok(Some(Self {
            terminal,
            keys: AsyncFd::with_interest(stdin(), Interest::READABLE)?,
            typed: VecDeque::new(),
            stop: signal(SignalKind::from_raw(process::Signal::TSTP.as_raw()))?,
            go_on: signal(SignalKind::from_raw(process::Signal::CONT.as_raw()))?,
        }))
    }

    /// Waits for the next key; `None` when the terminal is gone. Nothing is lost when the waiting is given up.
    pub async fn next(&mut self) -> Option<char> {
        loop {
            if let Some(key) = self.typed.pop_front() {
                return Some(char::from(key));
            }
            tokio::select! {
                _ = self.stop.recv() => {
                    self.terminal.leave();
                    // It comes back from this when it is told to go on.
                    kill_process(getpid(), process::Signal::STOP).ok()?;
                }
                _ = self.go_on.recv() => self.terminal.enter().ok()?,
                ready = self.keys.readable() => {
                    let mut ready = ready.ok()?;
                    // Whoever reads from a terminal that is somebody else's is stopped.
                    if !is_ours() {
                        ready.clear_ready();
                        continue;
                    }
                    let mut buffer = [0; 64];
                    match rustix::io::read(stdin(), &mut buffer) {
                        Ok(0) => return None,
                        Ok(length) => {
                            if length < buffer.len() {
                                ready.clear_ready();
                            }
                            self.typed.extend(letters(&buffer[..length]));
                        }
                        Err(Errno::INTR | Errno::AGAIN) => ready.clear_ready(),
                        Err(_) => return None,
                    }
                }
            }
        }
    }
}

/// The letters in what was read at once; arrows and the like, which come as an escape and more, are passed over.
fn letters(read: &[u8]) -> Vec<u8> {
    let mut letters = Vec::new();
    let mut bytes = read.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte != ESCAPE {
            letters.push(byte);
            continue;
        }
        match bytes.next() {
            // Parameters follow, and then the byte that ends it (ECMA-48 §5.4).
            Some(b'[') => {
                bytes.find(|byte| (0x40..=0x7e).contains(byte));
            }
            Some(b'O') => {
                bytes.next();
            }
            _ => {}
        }
    }
    letters
}

/// Whether this process has the terminal.
fn is_ours() -> bool {
    tcgetpgrp(stdin()).is_ok_and(|group| group == getpgrp())
}

impl Terminal {
    fn enter(&mut self) -> io::Result<()> {
        if self.before.is_some() || !is_ours() {
            return Ok(());
        }
        let before = tcgetattr(stdin())?;
        let mut mode = before.clone();
        mode.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ECHONL);
        mode.special_codes[SpecialCodeIndex::VMIN] = 1;
        mode.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(stdin(), OptionalActions::Now, &mode)?;
        self.before = Some(before);
        Ok(())
    }

    fn leave(&mut self) {
        // Somebody else's terminal is left alone; it has the mode that they gave it.
        if let Some(before) = self.before.take().filter(|_| is_ours()) {
            tcsetattr(stdin(), OptionalActions::Now, &before).ok();
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::letters;

    #[test]
    fn arrows_and_the_like_are_no_letters() {
        for (read, expected) in [
            (&b"rq"[..], &b"rq"[..]),
            (b"\x1b[Cq", b"q"),
            (b"\x1b[1;5A\x1bOPr", b"r"),
            (b"\x1b", b""),
            (b"\x1b[1", b""),
            (b"", b""),
        ] {
            assert_eq!(letters(read), expected, "{read:?}");
        }
    }
}
