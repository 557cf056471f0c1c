//! Commands, one file each; the only home of printing. What is here is the command line as a whole: which commands
//! there are, what they share, and how the program ends.

mod append;
mod apply;
mod attributes;
mod bench;
mod bundle;
mod cat;
mod change;
mod commit;
mod completion;
mod config;
mod context;
mod cp;
mod delete;
mod derive;
mod destination;
mod diff;
mod doctor;
mod drop_in;
mod error;
mod exec;
mod export;
mod facts;
mod filter;
mod history;
mod images;
mod import;
mod inside;
mod inspect;
mod load;
mod logger;
mod login;
mod logout;
mod logs;
mod ls;
mod man;
mod manifest;
mod mount;
mod open;
mod output;
mod pattern;
mod place;
mod platform;
mod progress;
mod prune;
mod ps;
mod pull;
mod push;
mod remote;
mod rmi;
mod run;
mod save;
mod search;
mod squash;
mod stats;
mod stop;
mod system;
mod tag;
mod template;
mod time;
mod tree;
mod umount;
mod units;
mod unshare;
mod uppers;
mod users;
mod verify;
mod walk;
mod wanted;
mod written;

use std::path::PathBuf;
use std::process::ExitCode;

use context::Context;

use clap::{CommandFactory, Parser, Subcommand};

/// Mounts a container image as a directory, without unpacking it
#[derive(Parser)]
#[command(name = "plyfs", version, max_term_width = 100, arg_required_else_help = true)]
#[command(disable_help_subcommand = true, infer_long_args = false)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Args)]
struct Global {
    /// The store: a directory that plyfs keeps images in [env: PLYFS_ROOT] [default: $XDG_DATA_HOME/plyfs; of root, /var/lib/plyfs]
    #[arg(long, global = true, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Say on stderr what is done; twice, with details
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
}

#[derive(Subcommand)]
enum Command {
    Pull(pull::Arguments),
    Push(push::Arguments),
    Login(login::Arguments),
    Logout(logout::Arguments),
    Search(search::Arguments),
    /// What registries say of images, without fetching them
    #[command(subcommand, arg_required_else_help = true)]
    Manifest(ManifestCommand),
    Delete(delete::Arguments),
    Save(save::Arguments),
    Load(load::Arguments),
    Import(import::Arguments),
    Export(export::Arguments),
    Images(images::Arguments),
    Inspect(inspect::Arguments),
    History(history::Arguments),
    Tag(tag::Arguments),
    Rmi(rmi::Arguments),
    Mount(mount::Arguments),
    #[command(visible_alias = "unmount")]
    Umount(umount::Arguments),
    Stats(stats::Arguments),
    #[command(visible_alias = "upper")]
    Uppers(uppers::Arguments),
    Diff(diff::Arguments),
    Commit(commit::Arguments),
    Append(append::Arguments),
    Config(config::Arguments),
    #[command(visible_alias = "flatten")]
    Squash(squash::Arguments),
    Apply(apply::Arguments),
    Discard(uppers::Discard),
    Run(run::Arguments),
    Start(run::Start),
    Exec(exec::Arguments),
    Ps(ps::Arguments),
    Logs(logs::Arguments),
    Stop(stop::Stop),
    Kill(stop::Kill),
    Wait(stop::Wait),
    Rm(stop::Rm),
    Bundle(bundle::Arguments),
    Unshare(unshare::Arguments),
    Ls(ls::Arguments),
    Cat(cat::Arguments),
    Cp(cp::Arguments),
    Tree(tree::Arguments),
    /// The same commands, as docker groups them
    #[command(subcommand, arg_required_else_help = true)]
    Image(ImageCommand),
    /// Look after the store
    #[command(subcommand, arg_required_else_help = true)]
    System(system::Command),
    Bench(bench::Arguments),
    #[command(visible_alias = "fsck")]
    Verify(verify::Arguments),
    Doctor(doctor::Arguments),
    Completion(completion::Arguments),
    Man(man::Arguments),
}

#[derive(Subcommand)]
enum ManifestCommand {
    Inspect(manifest::Arguments),
}

#[derive(Subcommand)]
enum ImageCommand {
    Pull(pull::Arguments),
    Push(push::Arguments),
    Save(save::Arguments),
    Load(load::Arguments),
    Import(import::Arguments),
    #[command(visible_alias = "list")]
    Ls(images::Arguments),
    Inspect(inspect::Arguments),
    History(history::Arguments),
    Tag(tag::Arguments),
    #[command(visible_alias = "remove")]
    Rm(rmi::Arguments),
    Prune(prune::Arguments),
    Mount(mount::Arguments),
    #[command(visible_alias = "unmount")]
    Umount(umount::Arguments),
}

/// The whole command line, as clap describes it: help, completions, man pages and docs/CLI.md come from it.
pub fn command() -> clap::Command {
    Cli::command()
}

pub fn main() -> ExitCode {
    if drop_in::is_meant(&std::env::args_os().collect::<Vec<_>>()) {
        return drop_in::main();
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return error::report_usage(&error),
    };
    logger::start(cli.global.verbose);
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error::report(&error),
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    act(&Context::new(cli.global.root, cli.global.verbose)?, cli.command)
}

fn act(context: &Context, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Pull(arguments) => pull::run(context, &arguments),
        Command::Push(arguments) => push::run(context, &arguments),
        Command::Login(arguments) => login::run(&arguments),
        Command::Logout(arguments) => logout::run(&arguments),
        Command::Search(arguments) => search::run(&arguments),
        Command::Manifest(ManifestCommand::Inspect(arguments)) => manifest::run(context, &arguments),
        Command::Delete(arguments) => delete::run(&arguments),
        Command::Save(arguments) => save::run(context, &arguments),
        Command::Load(arguments) => load::run(context, &arguments),
        Command::Export(arguments) => export::run(context, &arguments),
        Command::Import(arguments) => import::run(context, &arguments),
        Command::Images(arguments) => images::run(context, &arguments),
        Command::Inspect(arguments) => inspect::run(context, &arguments),
        Command::History(arguments) => history::run(context, &arguments),
        Command::Tag(arguments) => tag::run(context, &arguments),
        Command::Rmi(arguments) => rmi::run(context, &arguments),
        Command::Mount(arguments) => mount::run(context, &arguments),
        Command::Umount(arguments) => umount::run(context, arguments),
        Command::Stats(arguments) => stats::run(context, &arguments),
        Command::Uppers(arguments) => uppers::run(context, &arguments),
        Command::Append(arguments) => append::run(context, &arguments),
        Command::Config(arguments) => config::run(context, &arguments),
        Command::Squash(arguments) => squash::run(context, &arguments),
        Command::Commit(arguments) => commit::run(context, &arguments),
        Command::Diff(arguments) => diff::run(context, &arguments),
        Command::Apply(arguments) => apply::run(context, &arguments),
        Command::Discard(arguments) => uppers::discard(context, &arguments),
        Command::Run(arguments) => run::run(context, &arguments),
        Command::Start(arguments) => run::start(context, &arguments),
        Command::Exec(arguments) => exec::run(context, &arguments),
        Command::Ps(arguments) => ps::run(context, &arguments),
        Command::Logs(arguments) => logs::run(context, &arguments),
        Command::Stop(arguments) => stop::stop(context, &arguments),
        Command::Kill(arguments) => stop::kill(context, &arguments),
        Command::Wait(arguments) => stop::wait(context, &arguments),
        Command::Rm(arguments) => stop::rm(context, &arguments),
        Command::Bundle(arguments) => bundle::run(context, &arguments),
        Command::Unshare(arguments) => unshare::run(context, &arguments),
        Command::Ls(arguments) => ls::run(context, &arguments),
        Command::Cat(arguments) => cat::run(context, &arguments),
        Command::Cp(arguments) => cp::run(context, &arguments),
        Command::Tree(arguments) => tree::run(context, &arguments),
        Command::Bench(arguments) => bench::run(context, &arguments),
        Command::Verify(arguments) => verify::run(context, &arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Completion(arguments) => completion::run(arguments),
        Command::Man(arguments) => man::run(&arguments),
        Command::System(command) => system::run(context, &command),
        Command::Image(command) => act_on_image(context, command),
    }
}

fn act_on_image(context: &Context, command: ImageCommand) -> anyhow::Result<()> {
    match command {
        ImageCommand::Pull(arguments) => pull::run(context, &arguments),
        ImageCommand::Push(arguments) => push::run(context, &arguments),
        ImageCommand::Save(arguments) => save::run(context, &arguments),
        ImageCommand::Load(arguments) => load::run(context, &arguments),
        ImageCommand::Import(arguments) => import::run(context, &arguments),
        ImageCommand::Ls(arguments) => images::run(context, &arguments),
        ImageCommand::Inspect(arguments) => inspect::run(context, &arguments),
        ImageCommand::History(arguments) => history::run(context, &arguments),
        ImageCommand::Tag(arguments) => tag::run(context, &arguments),
        ImageCommand::Rm(arguments) => rmi::run(context, &arguments),
        ImageCommand::Prune(arguments) => prune::run(context, &arguments),
        ImageCommand::Mount(arguments) => mount::run(context, &arguments),
        ImageCommand::Umount(arguments) => umount::run(context, arguments),
    }
}
