use clap::CommandFactory as _;

use super::*;

#[test]
fn times_are_read() {
    let check = |text: &str, want: Option<u64>| {
        assert_eq!(duration(text).ok(), want.map(Duration::from_secs), "{text}")
    };
    check("90", Some(90));
    check("90s", Some(90));
    check("15m", Some(900));
    check("2h", Some(7200));
    check("0", Some(0));
    for bad in ["", "s", "1d", "1mm", "-1", "1.5", "99999999999999999999", "999999999h"] {
        check(bad, None);
    }
}

#[test]
fn the_command_line_is_sound() {
    Cli::command().debug_assert();
}

/// The long help of everything, as the reference shows it.
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
