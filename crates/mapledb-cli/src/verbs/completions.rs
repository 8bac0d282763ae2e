//! `maple completions SHELL`: what a shell needs to know of the command line.

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use serde::Serialize;

use crate::cli::{Cli, Manner};
use crate::failure::Failure;
use crate::output;

/// Print completions for a shell
#[derive(Debug, Args)]
#[command(after_help = HOW_TO_USE)]
pub struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

const HOW_TO_USE: &str = "\
bash: put them into a file called maple in ~/.local/share/bash-completion/completions. zsh: into a file called _maple in a \
directory of $fpath. fish: into ~/.config/fish/completions/maple.fish.";

#[derive(Debug, Serialize)]
struct Completions {
    shell: String,
    script: String,
}

/// Prints them.
pub fn run(args: &CompletionsArgs, manner: Manner) -> Result<(), Failure> {
    let completions = Completions { shell: args.shell.to_string(), script: script(args.shell) };
    output::report(manner.json, &completions, |completions, output| {
        output.bytes(completions.script.as_bytes())
    })
}

fn script(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "maple", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}
