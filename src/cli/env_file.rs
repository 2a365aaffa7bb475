//! One variable in a `.env` file: put in or replaced, and nothing else changed.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::report::Usage;

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
    /// Gives the variable a value; the path of the file, which is made when it is not there.
    ///
    /// # Errors
    ///
    /// The file is a link or no regular file, or cannot be written.
    pub fn write(&self, folder: &Path, value: &str) -> Result<PathBuf, Usage> {
        let path = folder.join(&self.file);
        let cannot = |error: io::Error| Usage::new(format!("cannot write {}: {error}", path.display()), "");
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
        // The error of a temporary file would name that one.
        fs::metadata(parent).map_err(cannot)?;
        let mut file = tempfile::NamedTempFile::new_in(parent).map_err(cannot)?;
        file.write_all(changed.as_bytes()).map_err(cannot)?;
        file.as_file().set_permissions(fs::Permissions::from_mode(mode & 0o777)).map_err(cannot)?;
        file.persist(&path).map_err(|error| cannot(error.error))?;
        Ok(path)
    }
}

/// The text with the variable's line replaced, or with a line more.
fn with_variable(text: &str, name: &str, value: &str) -> String {
    let line = format!("{name}={}", quoted(value));
    let is_it = |candidate: &str| {
        let assignment = candidate.trim_start();
        let assignment = assignment.strip_prefix("export ").unwrap_or(assignment).trim_start();
        assignment.strip_prefix(name).is_some_and(|rest| rest.trim_start().starts_with('='))
    };
    let mut found = false;
    let mut lines: Vec<String> = Vec::new();
    for candidate in text.lines() {
        if !is_it(candidate) {
            lines.push(candidate.to_owned());
        } else if !std::mem::replace(&mut found, true) {
            let export = if candidate.trim_start().starts_with("export ") { "export " } else { "" };
            lines.push(format!("{export}{line}"));
        }
    }
    if !found {
        lines.push(line);
    }
    lines.join("\n") + "\n"
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
