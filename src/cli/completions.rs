//! `mbaas-dev completions` and `mbaas-dev man`

use clap::Args;
use clap_complete::Shell;

use super::report::Exit;
use super::{Session, command};

/// Print a completion script for your shell
///
/// For bash: `source <(mbaas-dev completions bash)`
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

pub fn run(arguments: &CompletionsArgs, session: &Session) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command(), "mbaas-dev", &mut script);
    // clap_complete writes the hyphen of our name in two ways for bash, so that nothing below the first level
    // would complete (clap-rs/clap#6421).
    let script = String::from_utf8(script)?.replace("mbaas__subcmd__dev", "mbaas__dev");
    session.output.write_data(script.as_bytes())?;
    Ok(Exit::Done)
}

/// Prints the manual of all commands as one page in roff, for `man -l -`.
pub fn man(session: &Session) -> anyhow::Result<Exit> {
    let mut page = Vec::new();
    let mut whole = command();
    whole.build();
    clap_mangen::Man::new(whole.clone()).render(&mut page)?;
    for subcommand in subcommands(&whole) {
        let heading = subcommand.get_name().replace('-', "\\-");
        let manual = clap_mangen::Man::new(subcommand);
        let mut sections = Vec::new();
        manual.render_synopsis_section(&mut sections)?;
        manual.render_description_section(&mut sections)?;
        manual.render_options_section(&mut sections)?;
        // What are sections of a page of their own are parts of one here.
        let parts = String::from_utf8(sections)?.replace(".SH ", ".SS ");
        page.extend_from_slice(format!(".SH \"{heading}\"\n{parts}").as_bytes());
    }
    session.output.write_data(&page)?;
    Ok(Exit::Done)
}

/// Every command below, named in full.
fn subcommands(parent: &clap::Command) -> Vec<clap::Command> {
    parent
        .get_subcommands()
        .filter(|command| command.get_name() != "help")
        .flat_map(|command| {
            let name = format!("{} {}", parent.get_name(), command.get_name());
            let named = command.clone().name(name);
            let below = subcommands(&named);
            std::iter::once(named).chain(below)
        })
        .collect()
}
