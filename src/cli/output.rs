//! Where text goes: data to stdout, talk to stderr. The only file that writes to either.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

use clap::ValueEnum;

use crate::model::printable_json;
use crate::observers::paint::Paint;

/// When to use colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set or `TERM` is `dumb`.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How much to say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Volume {
    /// Data and errors only.
    Quiet,
    /// The usual.
    #[default]
    Normal,
    /// Whole answers instead of a glance.
    Verbose,
}

/// A cloneable handle to the two streams.
#[derive(Clone)]
pub struct Output {
    streams: Arc<Mutex<Streams>>,
    /// How stdout is painted.
    pub paint: Paint,
    /// How stderr is painted.
    pub talk_paint: Paint,
    /// How much is said.
    pub volume: Volume,
    /// Whether stdout is a terminal.
    pub is_terminal: bool,
    /// How many columns that terminal has.
    pub width: Option<usize>,
    /// Whether it takes characters only.
    pub is_dumb: bool,
}

struct Streams {
    data: Box<dyn Write + Send>,
    talk: Box<dyn Write + Send>,
}

impl Output {
    /// The streams of this process.
    pub fn process() -> Self {
        let mut output = Self::to(Box::new(io::stdout()), Box::new(io::stderr()));
        output.is_terminal = io::stdout().is_terminal();
        output.width =
            terminal_size::terminal_size().map(|(width, _)| width.0.into()).filter(|_| output.is_terminal);
        output
    }

    /// Any two streams, without colour.
    pub fn to(data: Box<dyn Write + Send>, talk: Box<dyn Write + Send>) -> Self {
        let streams = Arc::new(Mutex::new(Streams { data, talk }));
        Self {
            streams,
            paint: Paint::PLAIN,
            talk_paint: Paint::PLAIN,
            volume: Volume::default(),
            is_terminal: false,
            width: None,
            is_dumb: false,
        }
    }

    /// The same streams with colour as chosen; without where the environment (<https://no-color.org>) or the terminal
    /// wants none.
    #[must_use]
    pub fn styled(
        mut self,
        choice: ColorChoice,
        environment: fn(&str) -> Option<String>,
        volume: Volume,
    ) -> Self {
        self.is_dumb = environment("TERM").is_some_and(|value| value == "dumb");
        let no_color = environment("NO_COLOR").is_some_and(|value| !value.is_empty()) || self.is_dumb;
        let on = |is_terminal: bool| match choice {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => is_terminal && !no_color,
        };
        self.paint = Paint { on: on(self.is_terminal) };
        self.talk_paint = Paint { on: on(self.is_terminal && io::stderr().is_terminal()) };
        if self.paint.on || self.talk_paint.on {
            // The library looks at the terminal and the environment by itself; the decision is made here.
            colored::control::set_override(true);
        }
        self.volume = volume;
        self
    }

    /// A line of data; of one that is JSON, a terminal obeys nothing. A closed pipe is an error, which ends the command with
    /// success.
    pub fn data(&self, line: &str) -> io::Result<()> {
        let line = if line.starts_with('{') { printable_json(line) } else { Cow::Borrowed(line) };
        self.write_data(format!("{line}\n").as_bytes())
    }

    /// Bytes of data, as they are.
    pub fn write_data(&self, bytes: &[u8]) -> io::Result<()> {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let written = streams.data.write_all(bytes).and_then(|()| streams.data.flush());
        written.map_err(|error| {
            io::Error::new(error.kind(), format!("standard output cannot be written: {error}"))
        })
    }

    /// A line for people, unless they want quiet.
    pub fn talk(&self, line: &str) {
        if self.volume > Volume::Quiet {
            self.complain(line);
        }
    }

    /// A line that is said in any case: an error or a hint.
    pub fn complain(&self, line: &str) {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        // There is nowhere to complain about a broken stderr.
        drop(writeln!(streams.talk, "{line}"));
    }
}
