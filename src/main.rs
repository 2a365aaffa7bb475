//! The binary: everything is in the library.

use std::process::ExitCode;

use mbaas_dev::cli::{self, Context, Exit};

fn main() -> ExitCode {
    match Context::process() {
        Ok(context) => cli::run(std::env::args_os(), context).into(),
        // The working directory is gone: there is nothing to work on.
        Err(_) => Exit::Failed.into(),
    }
}
