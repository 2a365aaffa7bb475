//! One variable in a `.env` file: put in or replaced, and nothing else changed, line ends and quoted lines included.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::report::Usage;
use crate::app::private_file::without_path;

/// A file and a variable in it: `.env.local:WEBHOOK_SECRET`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvVariable {
    file: PathBuf,
    name: String,
}

impl FromStr for EnvVariable {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "expected a file and a variable, as in `.env.local:WEBHOOK_SECRET`".to_owned();
        let (file, name) = text.rsplit_once(':').filter(|(file, _)| !file.is_empty()).ok_or_else(wrong)?;
        let mut characters = name.chars();
        let starts_well = characters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
        if !starts_well || !characters.all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(wrong());
        }
        Ok(Self { file: file.into(), name: name.to_owned() })
    }
}

impl EnvVariable {
    /// Gives the variable a value, which has no line break; the path of the file, which is made when it is not there.
    ///
    /// # Errors
    ///
    /// The file is a link or no regular file, or cannot be written.
    pub fn write(&self, folder: &Path, value: &str) -> Result<PathBuf, Usage> {
        let path = folder.join(&self.file);
        let cannot =
            |error| Usage::new(format!("cannot write {}: {}", path.display(), without_path(error)), "");
        let (text, mode) = match fs::symlink_metadata(&path) {
            Ok(found) if !found.is_file() => {
                let hint = "a link could lead anywhere: give the file itself";
                return Err(Usage::new(format!("{} is not a regular file", path.display()), hint));
            }
            Ok(found) => (fs::read_to_string(&path).map_err(cannot)?, found.permissions().mode()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (String::new(), 0o600),
            Err(error) => return Err(cannot(error)),
        };
        let changed = with_variable(&text, &self.name, value);
        let parent = path.parent().unwrap_or(folder);
        // The error of a temporary file would say less.
        fs::metadata(parent).map_err(cannot)?;
        let mut file = tempfile::NamedTempFile::new_in(parent).map_err(cannot)?;
        file.write_all(changed.as_bytes()).map_err(cannot)?;
        file.as_file().set_permissions(fs::Permissions::from_mode(mode & 0o777)).map_err(cannot)?;
        file.persist(&path).map_err(|error| cannot(error.error))?;
        Ok(path)
    }
}

/// The text with the variable's value replaced, or with a line more; line ends stay as they are.
fn with_variable(text: &str, name: &str, value: &str) -> String {
    let line = format!("{name}={}", quoted(value));
    let (mut changed, mut found, mut rest) = (String::with_capacity(text.len() + line.len()), false, text);
    while !rest.is_empty() {
        let (entry, behind) = rest.split_at(length_of_entry(rest));
        rest = behind;
        if assigned(entry).is_none_or(|(other, _)| other != name) {
            changed += entry;
        } else if !std::mem::replace(&mut found, true) {
            let export = if entry.trim_start().starts_with("export ") { "export " } else { "" };
            changed = changed + export + &line + line_end(entry);
        }
    }
    if !found {
        let end = if text.contains("\r\n") { "\r\n" } else { "\n" };
        let before = if changed.is_empty() || changed.ends_with('\n') { "" } else { end };
        changed = changed + before + &line + end;
    }
    changed
}

/// How long the first entry is: a line, or all lines of a value in quotes.
fn length_of_entry(text: &str) -> usize {
    let line = text.split_inclusive('\n').next().unwrap_or(text);
    let Some((_, value)) = assigned(line) else { return line.len() };
    let value = value.trim_start();
    let Some(quote) = value.chars().next().filter(|first| "'\"`".contains(*first)) else { return line.len() };
    let content = &text[line.len() - value.len() + 1..];
    let mut escaped = false;
    let end = content.find(|c| {
        let ends = c == quote && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    });
    // Without an end, or with more behind it than a comment, the quote is only a character.
    let behind = end.and_then(|end| content[end + 1..].split_inclusive('\n').next().or(Some("")));
    match behind {
        Some(behind) if behind.trim().is_empty() || behind.trim_start().starts_with('#') => {
            let start = text.len() - content.len();
            start + end.unwrap_or_default() + 1 + behind.len()
        }
        _ => line.len(),
    }
}

/// The variable that a line gives a value to, and that value as it stands there.
fn assigned(line: &str) -> Option<(&str, &str)> {
    let text = line.trim_start();
    let (name, value) = text.strip_prefix("export ").unwrap_or(text).split_once('=')?;
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    Some((name.trim(), value)).filter(|(name, _)| !name.is_empty() && name.chars().all(is_of_name))
}

/// How an entry ends.
fn line_end(entry: &str) -> &'static str {
    match entry {
        _ if entry.ends_with("\r\n") => "\r\n",
        _ if entry.ends_with('\n') => "\n",
        _ => "",
    }
}

/// A value that every reader of `.env` files takes as it is; single quotes where it has other characters.
fn quoted(value: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-+/=.:@%,".contains(c);
    if value.chars().all(is_plain) {
        value.to_owned()
    } else if value.contains('\'') {
        format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$"))
    } else {
        format!("'{value}'")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_is_put_in_or_replaced_and_the_rest_is_kept() {
        for (before, after) in [
            ("", "SECRET=new\n"),
            ("# mine\nA=1", "# mine\nA=1\nSECRET=new\n"),
            ("A=1\nSECRET=old\nB=2\n", "A=1\nSECRET=new\nB=2\n"),
            ("export SECRET = old\nSECRET=older\n", "export SECRET=new\n"),
            ("SECRET_KEY=x\n#SECRET=y\n", "SECRET_KEY=x\n#SECRET=y\nSECRET=new\n"),
            ("A=1\r\nSECRET=old\r\nB=2", "A=1\r\nSECRET=new\r\nB=2"),
            ("A=1\r\nB=2", "A=1\r\nB=2\r\nSECRET=new\r\n"),
            ("SECRET=\"one\ntwo \\\" =\n\" # why\nB=2\n", "SECRET=new\nB=2\n"),
            ("A='\nSECRET=no\n'\nSECRET='old\nB=2'\n", "A='\nSECRET=no\n'\nSECRET=new\n"),
            ("SECRET='\nB='2'\n", "SECRET=new\nB='2'\n"),
            ("# it's = x\nSECRET=it's\n", "# it's = x\nSECRET=new\n"),
        ] {
            assert_eq!(with_variable(before, "SECRET", "new"), after);
        }
        assert_eq!(with_variable("", "S", "a b$c"), "S='a b$c'\n");
        assert_eq!(with_variable("", "S", "it's \"$x\""), "S=\"it's \\\"\\$x\\\"\"\n");
    }

    #[test]
    fn links_are_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("real"), "A=1\n").unwrap();
        std::os::unix::fs::symlink(folder.path().join("real"), folder.path().join("link")).unwrap();
        let variable: EnvVariable = "link:S".parse().unwrap();
        assert!(variable.write(folder.path(), "x").is_err());
        assert_eq!(fs::read_to_string(folder.path().join("real")).unwrap(), "A=1\n");
        let variable: EnvVariable = ".env:S".parse().unwrap();
        variable.write(folder.path(), "x").unwrap();
        assert_eq!(fs::metadata(folder.path().join(".env")).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn what_is_no_variable_is_refused() {
        for text in ["", "S", ":S", ".env:", ".env:1S", ".env:A B", ".env:A=B"] {
            assert!(text.parse::<EnvVariable>().is_err(), "{text:?} was accepted");
        }
    }
}
