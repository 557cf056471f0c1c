//! `plyfs config`: an image with another config, its layers as they are.

use crate::cli::context::Context;
use crate::cli::derived::change;
use crate::cli::derived::{Making, Named};
use crate::cli::error::Usage;
use crate::cli::open::open;
use crate::cli::platform::Choice;
use crate::image::Derivation;
use crate::oci::RunConfig;

/// Make an image of another with an edited config
///
/// Prints the image's id; no layer is read or written. What is cleared goes first, then what --change says, then the
/// rest. A NAME- in the place of NAME=VALUE takes one away.
#[derive(clap::Args)]
pub struct Arguments {
    #[arg(value_name = "IMAGE")]
    image: String,
    /// Set an environment variable
    #[arg(short, long, value_name = "NAME=VALUE|NAME-")]
    env: Vec<String>,
    /// Set a label
    #[arg(short, long, value_name = "NAME=VALUE|NAME-")]
    label: Vec<String>,
    /// Set an annotation of the manifest
    #[arg(short, long, value_name = "NAME=VALUE|NAME-")]
    annotation: Vec<String>,
    /// What is run: a JSON list, or words
    #[arg(long, value_name = "COMMAND")]
    cmd: Option<String>,
    /// What runs it: a JSON list, or a line for a shell
    #[arg(long, value_name = "COMMAND")]
    entrypoint: Option<String>,
    /// Who it is run as
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// Where it is run
    #[arg(long, visible_alias = "workdir", value_name = "DIR")]
    workingdir: Option<String>,
    /// A port that it listens on
    #[arg(short, long, value_name = "PORT[/PROTOCOL]|PORT-")]
    port: Vec<String>,
    /// A directory whose files outlive a container
    #[arg(long, value_name = "DIR|DIR-")]
    volume: Vec<String>,
    /// What ends it
    #[arg(long, value_name = "SIGNAL")]
    stop_signal: Option<String>,
    /// What runs lines for a shell: a JSON list, or words
    #[arg(long, value_name = "COMMAND")]
    shell: Option<String>,
    /// An instruction for images that are built on it
    #[arg(long, value_name = "INSTRUCTION")]
    onbuild: Vec<String>,
    /// Who made it
    #[arg(long, value_name = "NAME")]
    author: Option<String>,
    /// The platform that it is for
    #[arg(long, value_name = "OS")]
    os: Option<String>,
    #[arg(long, value_name = "ARCHITECTURE")]
    arch: Option<String>,
    #[arg(long, value_name = "VARIANT")]
    variant: Option<String>,
    /// A Dockerfile instruction, such as `CMD ["sh"]`
    #[arg(short, long = "change", value_name = "INSTRUCTION")]
    changes: Vec<String>,
    /// Empty this first
    #[arg(long, value_name = "FIELD")]
    clear: Vec<Field>,
    #[command(flatten)]
    named: Named,
    #[command(flatten)]
    platform: Choice,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Field {
    Env,
    Label,
    Annotation,
    Cmd,
    Entrypoint,
    Port,
    Volume,
    Onbuild,
    Healthcheck,
    History,
}

pub fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    let base = open(context, &arguments.image, arguments.platform.platform()?.as_ref())?;
    let mut making = Making::new(&base, &arguments.named)?;
    edit(&mut making.derivation, arguments)?;
    making.sign(arguments.author.as_ref());
    making.step("plyfs config", None);
    making.finish()
}

fn edit(derivation: &mut Derivation<'_>, arguments: &Arguments) -> anyhow::Result<()> {
    let config = &mut derivation.config;
    for field in &arguments.clear {
        match field {
            Field::Annotation => derivation.annotations.clear(),
            Field::History => config.history.clear(),
            field => clear(config.config.get_or_insert_default(), *field),
        }
    }
    let run = config.config.get_or_insert_default();
    arguments.changes.iter().try_for_each(|instruction| change::apply(run, instruction))?;
    edit_run(run, arguments)?;
    for pair in &arguments.annotation {
        match pair_of(pair)? {
            (name, Some(value)) => drop(derivation.annotations.insert(name.into(), value.into())),
            (name, None) => drop(derivation.annotations.remove(name)),
        }
    }
    let set = |field: &mut String, value: &Option<String>| {
        if let Some(value) = value {
            field.clone_from(value);
        }
    };
    set(&mut config.os, &arguments.os);
    set(&mut config.architecture, &arguments.arch);
    if arguments.variant.is_some() {
        config.variant.clone_from(&arguments.variant);
    }
    Ok(())
}

fn clear(run: &mut RunConfig, field: Field) {
    match field {
        Field::Env => run.env.clear(),
        Field::Label => run.labels.clear(),
        Field::Cmd => run.cmd.clear(),
        Field::Entrypoint => run.entrypoint.clear(),
        Field::Port => run.exposed_ports.clear(),
        Field::Volume => run.volumes.clear(),
        Field::Onbuild => run.on_build.clear(),
        Field::Healthcheck => run.healthcheck = None,
        Field::Annotation | Field::History => {}
    }
}

fn edit_run(run: &mut RunConfig, arguments: &Arguments) -> anyhow::Result<()> {
    for pair in &arguments.env {
        match pair_of(pair)? {
            (name, Some(value)) => change::set_env(&mut run.env, name, value),
            (name, None) => run.env.retain(|entry| entry.split('=').next() != Some(name)),
        }
    }
    for pair in &arguments.label {
        match pair_of(pair)? {
            (name, Some(value)) => drop(run.labels.insert(name.to_owned(), value.to_owned())),
            (name, None) => drop(run.labels.remove(name)),
        }
    }
    for port in &arguments.port {
        match port.strip_suffix('-') {
            Some(port) => drop(run.exposed_ports.remove(&change::port_of(port).map_err(Usage)?)),
            None => drop(run.exposed_ports.insert(change::port_of(port).map_err(Usage)?)),
        }
    }
    for volume in &arguments.volume {
        match volume.strip_suffix('-') {
            Some(volume) => drop(run.volumes.remove(volume)),
            None => drop(run.volumes.insert(volume.clone())),
        }
    }
    run.on_build.extend(arguments.onbuild.iter().cloned());
    if let Some(line) = &arguments.cmd {
        run.cmd = change::words_of(line).map_err(Usage)?;
    }
    if let Some(line) = &arguments.shell {
        run.shell = change::words_of(line).map_err(Usage)?;
    }
    if let Some(line) = &arguments.entrypoint {
        run.entrypoint = if line.is_empty() { Vec::new() } else { change::command(line) };
    }
    run.user = arguments.user.clone().unwrap_or_else(|| std::mem::take(&mut run.user));
    if let Some(directory) = &arguments.workingdir {
        run.working_dir = change::working_directory(&run.working_dir, directory);
    }
    if arguments.stop_signal.is_some() {
        run.stop_signal.clone_from(&arguments.stop_signal);
    }
    Ok(())
}

/// `NAME=VALUE`, or `NAME-` for one that goes.
fn pair_of(text: &str) -> Result<(&str, Option<&str>), Usage> {
    let parts = match text.split_once('=') {
        Some((name, value)) => Some((name, Some(value))),
        None => text.strip_suffix('-').map(|name| (name, None)),
    };
    parts
        .filter(|(name, _)| !name.is_empty())
        .ok_or_else(|| Usage(format!("{text:?} is neither NAME=VALUE nor NAME-")))
}
