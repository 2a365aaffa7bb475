//! Colour, when it is wanted.

use colored::{ColoredString, Colorize};

/// Paints text, or leaves it as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paint {
    /// Whether there is colour.
    pub on: bool,
}

impl Paint {
    /// No colour.
    pub const PLAIN: Self = Self { on: false };

    /// Something that went well.
    pub fn good(self, text: impl Into<String>) -> String {
        self.apply(text, Colorize::green)
    }

    /// Something that went wrong.
    pub fn bad(self, text: impl Into<String>) -> String {
        self.apply(text, Colorize::red)
    }

    /// Something to look at.
    pub fn odd(self, text: impl Into<String>) -> String {
        self.apply(text, Colorize::yellow)
    }

    /// Something of less interest.
    pub fn faint(self, text: impl Into<String>) -> String {
        self.apply(text, Colorize::dimmed)
    }

    /// Something to see first.
    pub fn strong(self, text: impl Into<String>) -> String {
        self.apply(text, Colorize::bold)
    }

    fn apply(self, text: impl Into<String>, style: impl Fn(ColoredString) -> ColoredString) -> String {
        let text = text.into();
        if self.on { style(text.into()).to_string() } else { text }
    }
}
