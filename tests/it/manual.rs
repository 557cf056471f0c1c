//! docs/CLI.md is what clap says. `PLYFS_BLESS=1` writes it.

use std::fs;
use std::path::Path;

fn written() -> String {
    let mut command = plyfs::cli::command().term_width(100);
    command.build();
    let mut text = String::from(
        "# Command line\n\nMade from the program itself; `plyfs COMMAND --help` says the same.\n",
    );
    describe(&mut command, &mut text);
    text
}

fn describe(command: &mut clap::Command, text: &mut String) {
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name()).to_owned();
    let help: Vec<String> =
        command.render_long_help().to_string().lines().map(|line| line.trim_end().to_owned()).collect();
    text.push_str(&format!("\n## {name}\n\n```text\n{}\n```\n", help.join("\n").trim_end()));
    for sub in command.get_subcommands_mut().filter(|sub| sub.get_name() != "help") {
        describe(sub, text);
    }
}

#[test]
fn the_manual_says_what_the_program_takes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/CLI.md");
    if std::env::var_os("PLYFS_BLESS").is_some() {
        fs::write(&path, written()).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == written(), "docs/CLI.md is not what clap says; PLYFS_BLESS=1 writes it anew");
}
