//! Where a command puts a file that it makes: what `-o` names, or standard output, which `-` is as well.

use std::path::Path;

use super::Session;
use crate::app::private_file::PrivateFile;

/// The file that `-o` names; `None` is standard output.
pub fn named_file(output: Option<&Path>) -> Option<&Path> {
    output.filter(|name| *name != "-")
}

/// Writes `text` to the file, for its owner only and as a whole, and says that `what` is written; without a file, to
/// standard output.
pub fn write_out(session: &Session, file: Option<&Path>, text: &str, what: &str) -> anyhow::Result<()> {
    let Some(file) = named_file(file) else { return Ok(session.output.write_data(text.as_bytes())?) };
    let path = session.folder.join(file);
    let mut file = PrivateFile::at(&path)?;
    file.write(text.as_bytes())?;
    file.finish()?;
    session.output.talk(&format!("{what} written to {}", path.display()));
    Ok(())
}
