//! The scenarios that are built in: which there are is which files there are.

use include_dir::{Dir, include_dir};

use crate::model::{Contract, nearest};

const FILES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/scenarios");

/// A scenario that is built in, as it stands in its file, `scenarios/<contract>/<name>.toml`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuiltIn {
    /// The folder that it is in.
    pub contract: Contract,
    /// Its name.
    pub name: &'static str,
    /// TOML.
    pub source: &'static str,
}

/// A name that no scenario has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no scenario `{}`{hint}", .name.escape_debug())]
pub struct UnknownScenario {
    name: String,
    hint: String,
}

/// Every scenario that is built in: contracts in resolution order, by name.
pub fn built_in() -> Vec<BuiltIn> {
    let read = |file: &'static include_dir::File<'static>| {
        let path = file.path();
        Some(BuiltIn {
            contract: path.parent()?.to_str()?.parse().ok()?,
            name: path.file_name()?.to_str()?.strip_suffix(".toml")?,
            source: file.contents_utf8()?,
        })
    };
    let mut all: Vec<BuiltIn> = FILES.dirs().flat_map(Dir::files).filter_map(read).collect();
    all.sort_by_key(|built_in| (built_in.contract, built_in.name));
    all
}

/// The scenario of that name: in this contract, else in the first that has it.
///
/// # Errors
///
/// When there is none; the message says which was probably meant.
pub fn find(name: &str, contract: Option<Contract>) -> Result<BuiltIn, UnknownScenario> {
    let all = built_in();
    let within = |built_in: &&BuiltIn| contract.is_none_or(|contract| built_in.contract == contract);
    if let Some(found) = all.iter().filter(within).find(|built_in| built_in.name == name) {
        return Ok(*found);
    }
    let elsewhere: Vec<&str> = all
        .iter()
        .filter(|built_in| built_in.name == name)
        .map(|built_in| built_in.contract.as_str())
        .collect();
    let of_contract = contract.map(|contract| format!(" in {contract}")).unwrap_or_default();
    let hint = match nearest(name, all.iter().filter(within).map(|built_in| built_in.name)) {
        _ if !elsewhere.is_empty() => format!("; there is one in {}", elsewhere.join(", ")),
        Some(near) => format!("; did you mean `{near}`?"),
        None => String::new(),
    };
    Err(UnknownScenario { name: name.to_owned(), hint: format!("{of_contract}{hint}") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Catalogue, Run};
    use crate::model::Clock;
    use crate::scenario::read;

    #[test]
    fn every_file_is_a_scenario_of_its_folder_that_renders_with_templates_filled() {
        let (all, catalogue) = (built_in(), Catalogue::embedded());
        let files: usize = FILES.dirs().map(|folder| folder.entries().len()).sum();
        assert_eq!(all.len(), files);
        for BuiltIn { contract, name, source } in all {
            let scenario = read(name, source, &catalogue).unwrap();
            assert_eq!(scenario.contract, contract, "{name}");
            let run = Run::new(&Clock::fixed(jiff::Timestamp::UNIX_EPOCH, 1), |_| None);
            for step in &scenario.steps {
                step.fixture.render(&run).unwrap();
            }
        }
    }

    #[test]
    fn there_is_a_happy_path_in_each_contract() {
        for contract in [Contract::Preview, Contract::V2, Contract::V1, Contract::Callback] {
            assert_eq!(find("happy-path", Some(contract)).unwrap().contract, contract);
        }
        assert_eq!(find("happy-path", None).unwrap().contract, Contract::Preview);
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_one_that_was_meant() {
        for (name, contract, message) in [
            ("hapy-path", None, "there is no scenario `hapy-path`; did you mean `happy-path`?"),
            ("zzz", None, "there is no scenario `zzz`"),
            (
                "calendar",
                Some(Contract::Callback),
                "there is no scenario `calendar` in callback; there is one in preview, v2, v1",
            ),
        ] {
            assert_eq!(find(name, contract).unwrap_err().to_string(), message);
        }
    }
}
