//! Where a command puts a file that it makes: standard output, or what `-o` names.

use std::path::Path;

use super::Session;
use crate::app::private_file::PrivateFile;

/// Writes `text` to the file, for its owner only and as a whole, and says that `what` is written; without a file, to
/// standard output.
pub fn write_out(session: &Session, file: Option<&Path>, text: &str, what: &str) -> anyhow::Result<()> {
    let Some(file) = file else { return Ok(session.output.write_data(text.as_bytes())?) };
    let path = session.folder.join(file);
    let mut file = PrivateFile::at(&path)?;
    file.write(text.as_bytes())?;
    file.finish()?;
    session.output.talk(&format!("{what} written to {}", path.display()));
    Ok(())
}
