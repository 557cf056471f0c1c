//! Commands, one file each, beside those of their kind; the only home of printing. What is here is the command line as
//! a whole: which commands there are, what they share, and how the program ends.

mod bench;
mod completion;
mod container;
mod context;
mod derived;
mod error;
mod facts;
mod image;
mod inside;
mod logger;
mod man;
mod mounting;
mod open;
mod output;
mod platform;
mod progress;
mod registry;
mod stats;
mod system;
mod template;
mod time;
mod units;
mod users;
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
    Pull(registry::pull::Arguments),
    Push(registry::push::Arguments),
    Login(registry::login::Arguments),
    Logout(registry::logout::Arguments),
    Search(registry::search::Arguments),
    /// What registries say of images, without fetching them
    #[command(subcommand, arg_required_else_help = true)]
    Manifest(ManifestCommand),
    Delete(registry::delete::Arguments),
    Save(image::save::Arguments),
    Load(image::load::Arguments),
    Import(image::import::Arguments),
    Export(inside::export::Arguments),
    Images(image::images::Arguments),
    Inspect(container::inspect::Arguments),
    History(image::history::Arguments),
    Tag(image::tag::Arguments),
    Rmi(image::rmi::Arguments),
    Mount(mounting::mount::Arguments),
    #[command(visible_alias = "unmount")]
    Umount(mounting::umount::Arguments),
    Stats(stats::Arguments),
    #[command(visible_alias = "upper")]
    Uppers(written::uppers::Arguments),
    Diff(written::diff::Arguments),
    Commit(derived::commit::Arguments),
    Append(derived::append::Arguments),
    Config(derived::config::Arguments),
    #[command(visible_alias = "flatten")]
    Squash(derived::squash::Arguments),
    Apply(written::apply::Arguments),
    Discard(written::uppers::Discard),
    Run(container::run::Arguments),
    Start(container::run::Start),
    Exec(container::exec::Arguments),
    Ps(container::ps::Arguments),
    Logs(container::logs::Arguments),
    Stop(container::stop::Stop),
    Kill(container::stop::Kill),
    Wait(container::stop::Wait),
    Rm(container::stop::Rm),
    Bundle(container::bundle::Arguments),
    Unshare(mounting::unshare::Arguments),
    Ls(inside::ls::Arguments),
    Cat(inside::cat::Arguments),
    Cp(inside::cp::Arguments),
    Tree(inside::tree::Arguments),
    /// The same commands, as docker groups them
    #[command(subcommand, arg_required_else_help = true)]
    Image(ImageCommand),
    /// Look after the store
    #[command(subcommand, arg_required_else_help = true)]
    System(system::Command),
    Bench(bench::Arguments),
    #[command(visible_alias = "fsck")]
    Verify(system::verify::Arguments),
    Doctor(mounting::doctor::Arguments),
    Completion(completion::Arguments),
    Man(man::Arguments),
}

#[derive(Subcommand)]
enum ManifestCommand {
    Inspect(registry::manifest::Arguments),
}

#[derive(Subcommand)]
enum ImageCommand {
    Pull(registry::pull::Arguments),
    Push(registry::push::Arguments),
    Save(image::save::Arguments),
    Load(image::load::Arguments),
    Import(image::import::Arguments),
    #[command(visible_alias = "list")]
    Ls(image::images::Arguments),
    Inspect(image::inspect::Arguments),
    History(image::history::Arguments),
    Tag(image::tag::Arguments),
    #[command(visible_alias = "remove")]
    Rm(image::rmi::Arguments),
    Prune(image::prune::Arguments),
    Mount(mounting::mount::Arguments),
    #[command(visible_alias = "unmount")]
    Umount(mounting::umount::Arguments),
}

/// The whole command line, as clap describes it: help, completions, man pages and docs/CLI.md come from it.
pub fn command() -> clap::Command {
    Cli::command()
}

pub fn main() -> ExitCode {
    if mounting::drop_in::is_meant(&std::env::args_os().collect::<Vec<_>>()) {
        return mounting::drop_in::main();
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let refused = container::refused::explained(&error);
            return refused.map_or_else(|| error::report_usage(&error), |why| error::report(&why.into()));
        }
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
        Command::Pull(arguments) => registry::pull::run(context, &arguments),
        Command::Push(arguments) => registry::push::run(context, &arguments),
        Command::Login(arguments) => registry::login::run(&arguments),
        Command::Logout(arguments) => registry::logout::run(&arguments),
        Command::Search(arguments) => registry::search::run(&arguments),
        Command::Manifest(ManifestCommand::Inspect(arguments)) => {
            registry::manifest::run(context, &arguments)
        }
        Command::Delete(arguments) => registry::delete::run(&arguments),
        Command::Save(arguments) => image::save::run(context, &arguments),
        Command::Load(arguments) => image::load::run(context, &arguments),
        Command::Export(arguments) => inside::export::run(context, &arguments),
        Command::Import(arguments) => image::import::run(context, &arguments),
        Command::Images(arguments) => image::images::run(context, &arguments),
        Command::Inspect(arguments) => container::inspect::run(context, &arguments),
        Command::History(arguments) => image::history::run(context, &arguments),
        Command::Tag(arguments) => image::tag::run(context, &arguments),
        Command::Rmi(arguments) => image::rmi::run(context, &arguments),
        Command::Mount(arguments) => mounting::mount::run(context, &arguments),
        Command::Umount(arguments) => mounting::umount::run(context, arguments),
        Command::Stats(arguments) => stats::run(context, &arguments),
        Command::Uppers(arguments) => written::uppers::run(context, &arguments),
        Command::Append(arguments) => derived::append::run(context, &arguments),
        Command::Config(arguments) => derived::config::run(context, &arguments),
        Command::Squash(arguments) => derived::squash::run(context, &arguments),
        Command::Commit(arguments) => derived::commit::run(context, &arguments),
        Command::Diff(arguments) => written::diff::run(context, &arguments),
        Command::Apply(arguments) => written::apply::run(context, &arguments),
        Command::Discard(arguments) => written::uppers::discard(context, &arguments),
        Command::Run(arguments) => container::run::run(context, &arguments),
        Command::Start(arguments) => container::run::start(context, &arguments),
        Command::Exec(arguments) => container::exec::run(context, &arguments),
        Command::Ps(arguments) => container::ps::run(context, &arguments),
        Command::Logs(arguments) => container::logs::run(context, &arguments),
        Command::Stop(arguments) => container::stop::stop(context, &arguments),
        Command::Kill(arguments) => container::stop::kill(context, &arguments),
        Command::Wait(arguments) => container::stop::wait(context, &arguments),
        Command::Rm(arguments) => container::stop::rm(context, &arguments),
        Command::Bundle(arguments) => container::bundle::run(context, &arguments),
        Command::Unshare(arguments) => mounting::unshare::run(context, &arguments),
        Command::Ls(arguments) => inside::ls::run(context, &arguments),
        Command::Cat(arguments) => inside::cat::run(context, &arguments),
        Command::Cp(arguments) => inside::cp::run(context, &arguments),
        Command::Tree(arguments) => inside::tree::run(context, &arguments),
        Command::Bench(arguments) => bench::run(context, &arguments),
        Command::Verify(arguments) => system::verify::run(context, &arguments),
        Command::Doctor(arguments) => mounting::doctor::run(&arguments),
        Command::Completion(arguments) => completion::run(arguments),
        Command::Man(arguments) => man::run(&arguments),
        Command::System(command) => system::run(context, &command),
        Command::Image(command) => act_on_image(context, command),
    }
}

fn act_on_image(context: &Context, command: ImageCommand) -> anyhow::Result<()> {
    match command {
        ImageCommand::Pull(arguments) => registry::pull::run(context, &arguments),
        ImageCommand::Push(arguments) => registry::push::run(context, &arguments),
        ImageCommand::Save(arguments) => image::save::run(context, &arguments),
        ImageCommand::Load(arguments) => image::load::run(context, &arguments),
        ImageCommand::Import(arguments) => image::import::run(context, &arguments),
        ImageCommand::Ls(arguments) => image::images::run(context, &arguments),
        ImageCommand::Inspect(arguments) => image::inspect::run(context, &arguments),
        ImageCommand::History(arguments) => image::history::run(context, &arguments),
        ImageCommand::Tag(arguments) => image::tag::run(context, &arguments),
        ImageCommand::Rm(arguments) => image::rmi::run(context, &arguments),
        ImageCommand::Prune(arguments) => image::prune::run(context, &arguments),
        ImageCommand::Mount(arguments) => mounting::mount::run(context, &arguments),
        ImageCommand::Umount(arguments) => mounting::umount::run(context, arguments),
    }
}
