use clap::CommandFactory as _;

use super::*;

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

/// The long help of every command, so that changes of it are reviewed.
#[test]
fn help_reads_well() {
    let mut command = Cli::command().term_width(100);
    command.build();
    let mut text = command.render_long_help().to_string();
    for sub in command.get_subcommands_mut() {
        text +=
            &format!("\n=== mxjob {} ===\n{}", sub.get_name().to_owned(), sub.render_long_help());
    }
    insta::assert_snapshot!(text);
}
