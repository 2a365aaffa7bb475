//! Where reading JSON failed, and what should have stood there.

/// A place in a source text. Both numbers count from 1; the column counts characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl Position {
    /// The position of the byte at `offset`, which has to be the first one of a character, or the end.
    pub fn of(text: &str, offset: usize) -> Self {
        let before = &text[..offset];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
    }
}

/// A text that is not JSON.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
#[error("line {}, column {}: expected {expected}, found {found}", position.line, position.column)]
pub struct SyntaxError {
    /// Where it stops being JSON.
    pub position: Position,
    /// What could have stood there.
    pub expected: String,
    /// What stands there: a short piece of the source, with its control characters escaped, or a description.
    pub found: String,
}

#[cfg(test)]
mod tests {
    use super::Position;

    #[test]
    fn columns_count_characters_and_lines_end_at_newlines() {
        let text = "é\r\n😀x";
        for (offset, line, column) in [(0, 1, 1), (2, 1, 2), (4, 2, 1), (8, 2, 2), (9, 2, 3)] {
            assert_eq!(Position::of(text, offset), Position { line, column }, "{offset}");
        }
    }
}
