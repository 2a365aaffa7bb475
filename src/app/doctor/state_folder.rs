//! The state folder and the files in it: ours, nobody else's to read, and no links.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::fs::Access;

use super::Check;

/// What stands in the folder, for its owner only.
const FILES: [&str; 7] = [
    "deliveries.db",
    "deliveries.db-wal",
    "deliveries.db-shm",
    "ballast",
    "secrets.json",
    "listen.json",
    "lock",
];

/// The folder within it, likewise.
const BODIES: &str = "bodies";

const FOLDER: &str = "state folder";

/// Looks at the folder, and at each file in it that is not as it must be.
pub fn state_folder(path: &Path) -> Vec<Check> {
    let shown = path.display();
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return vec![missing(path)],
        Err(error) => {
            let advice = "another folder can be given with --data-dir";
            return vec![Check::finding(FOLDER, format!("{shown}: {error}"), advice)];
        }
        Ok(found) => found,
    };
    if !found.is_dir() {
        let advice = format!("move it away (`mv {shown} {shown}.old`), or give another one with --data-dir");
        return vec![Check::finding(FOLDER, format!("{shown} is a link or a file, not a folder"), advice)];
    }
    let us = our_user();
    let mut findings: Vec<Check> = complaint(path, &found, us, 0o700).into_iter().collect();
    for name in FILES {
        let file = path.join(name);
        let Ok(found) = fs::symlink_metadata(&file) else { continue };
        if found.is_file() {
            findings.extend(complaint(&file, &found, us, 0o600));
        } else {
            let said = format!("{} is not a regular file; it is never followed or opened", file.display());
            findings.push(Check::finding(FOLDER, said, format!("remove it (`rm {}`)", file.display())));
        }
    }
    let bodies = path.join(BODIES);
    match fs::symlink_metadata(&bodies) {
        Ok(found) if found.is_dir() => findings.extend(complaint(&bodies, &found, us, 0o700)),
        Ok(_) => {
            let said = format!("{} is not a folder; it is never followed", bodies.display());
            findings.push(Check::finding(FOLDER, said, format!("remove it (`rm {}`)", bodies.display())));
        }
        Err(_) => {}
    }
    if !path.join(".gitignore").exists() {
        let advice = format!("write it: `echo '*' > {}`", path.join(".gitignore").display());
        findings.push(Check::finding(FOLDER, "git is not told to ignore it", advice));
    }
    if findings.is_empty() {
        findings.push(Check::good(FOLDER, format!("{shown} and its files are ours alone")));
    }
    findings
}

/// A folder that is not there: whether it can be made.
fn missing(path: &Path) -> Check {
    let shown = path.display();
    let above = path.ancestors().skip(1).find(|above| above.exists()).unwrap_or(path);
    let writable = Access::WRITE_OK | Access::EXEC_OK;
    match rustix::fs::access(above, writable) {
        Ok(()) => Check::good(FOLDER, format!("{shown} is not there yet; it is made when it is needed")),
        Err(error) => {
            let said = format!("{shown} is not there, and cannot be made in {}: {error}", above.display());
            Check::finding(FOLDER, said, "give another folder with --data-dir")
        }
    }
}

/// What is wrong with who may read something.
fn complaint(path: &Path, found: &fs::Metadata, us: Option<u32>, mode: u32) -> Option<Check> {
    let shown = path.display();
    if us.is_some_and(|us| us != found.uid()) {
        let advice = format!("`sudo chown -R \"$USER\" {shown}`, or give another folder with --data-dir");
        return Some(Check::finding(FOLDER, format!("{shown} belongs to another user"), advice));
    }
    let others = found.permissions().mode() & 0o777;
    (others & 0o077 != 0).then(|| {
        let said = format!("other users may get at {shown} (mode {others:04o})");
        Check::finding(FOLDER, said, format!("`chmod {mode:o} {shown}`"))
    })
}

/// The user that we run as: whoever owns what we make.
fn our_user() -> Option<u32> {
    tempfile::tempfile().and_then(|file| file.metadata()).map(|made| made.uid()).ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_modes_and_a_missing_gitignore_are_found() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("state");
        assert_eq!(state_folder(&folder)[0].advice, None);
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(folder.join("secrets.json"), "{}").unwrap();
        fs::set_permissions(folder.join("secrets.json"), fs::Permissions::from_mode(0o640)).unwrap();
        symlink("/etc/passwd", folder.join("deliveries.db")).unwrap();
        symlink("/etc", folder.join("bodies")).unwrap();
        let found: Vec<String> = state_folder(&folder).into_iter().filter_map(|check| check.advice).collect();
        assert_eq!(found.len(), 5, "{found:?}");
        assert!(found[0].starts_with("`chmod 700 ") && found[2].starts_with("`chmod 600 "), "{found:?}");
        symlink(&folder, outer.path().join("link")).unwrap();
        assert!(state_folder(&outer.path().join("link"))[0].found.contains("link"));

        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
        fs::remove_file(folder.join("deliveries.db")).unwrap();
        fs::remove_file(folder.join("bodies")).unwrap();
        fs::remove_file(folder.join("secrets.json")).unwrap();
        fs::write(folder.join(".gitignore"), "*\n").unwrap();
        assert_eq!(state_folder(&folder).len(), 1);
        assert_eq!(state_folder(&folder)[0].advice, None);
    }
}
