//! The binary: everything is in the library.

use std::process::ExitCode;

use mbaas_dev::cli::{self, Context};

fn main() -> ExitCode {
    match Context::process() {
        Ok(context) => cli::run(std::env::args_os(), context).into(),
        Err(error) => cli::give_up(error).into(),
    }
}
