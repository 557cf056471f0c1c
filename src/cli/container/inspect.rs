//! `plyfs inspect` of a container, in docker's JSON. A name is a container's first and an image's then, as docker has it.

use serde_json::{Value, json};

use crate::cli::container::ps::word;
use crate::cli::container::run::explained;
use crate::cli::context::Context;
use crate::cli::error::Usage;
use crate::cli::image::inspect as image;
use crate::container::{
    Bind, Container, Containers, Error, Found, Network, State, hostname, process, signals,
};

/// Show what a container or an image is, as JSON
#[derive(clap::Args)]
pub struct Arguments {
    /// Only one of these: container, image
    #[arg(long = "type", value_name = "TYPE", value_parser = ["container", "image"])]
    kind: Option<String>,
    #[command(flatten)]
    of_image: image::Arguments,
}

pub fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    let containers = Containers::of_store(context.root());
    let platform = arguments.of_image.platform()?;
    image::each(&arguments.of_image, |wanted| {
        let as_image = || image::describe(context, wanted, platform.as_ref());
        if arguments.kind.as_deref() == Some("image") {
            return as_image();
        }
        match containers.find(wanted) {
            Err(Error::NoSuch(_)) if arguments.kind.is_none() => as_image(),
            found => describe(&found.map_err(explained)?),
        }
    })
}

fn describe(found: &Found) -> anyhow::Result<Value> {
    let container = &found.container;
    let (program, rest) =
        container.args.split_first().ok_or_else(|| Usage("it has no command".to_owned()))?;
    let log = found.directory.join("log");
    Ok(json!({
        "Id": container.id,
        "Created": time(container.created),
        "Path": program,
        "Args": rest,
        "State": state(found),
        "Image": container.digests.get(1),
        "LogPath": log.display().to_string(),
        "Name": format!("/{}", container.name),
        "RestartCount": 0,
        "Driver": "plyfs",
        "Platform": "linux",
        "HostConfig": host(container),
        "GraphDriver": {"Name": "plyfs", "Data": {"MergedDir": found.directory.join("rootfs").display().to_string()}},
        "Mounts": mounts(container),
        "Config": config(container)?,
    }))
}

fn time(seconds: u64) -> String {
    jiff::Timestamp::from_second(i64::try_from(seconds).unwrap_or(i64::MAX)).unwrap_or_default().to_string()
}

/// Docker's word for what has not been yet.
const NEVER: &str = "0001-01-01T00:00:00Z";

fn state(found: &Found) -> Value {
    let (pid, code, started, finished) = match &found.state {
        State::Created => (0, 0, NEVER.to_owned(), NEVER.to_owned()),
        State::Running(running) => (running.process, 0, time(running.since), NEVER.to_owned()),
        State::Exited { code, since } => (0, *code, NEVER.to_owned(), time(*since)),
    };
    json!({
        "Status": word(&found.state),
        "Running": matches!(found.state, State::Running(_)),
        "Paused": false,
        "Restarting": false,
        "OOMKilled": false,
        "Dead": false,
        "Pid": pid,
        "ExitCode": code,
        "Error": "",
        "StartedAt": started,
        "FinishedAt": finished,
    })
}

fn host(container: &Container) -> Value {
    let wanted = &container.wanted;
    let network = match wanted.network {
        Network::Host => "host",
        Network::None => "none",
    };
    let binds: Vec<String> = wanted
        .binds
        .iter()
        .map(|bind| format!("{}:{}:{}", bind.source.display(), bind.target, bind.options.join(",")))
        .map(|bind| bind.trim_end_matches(':').to_owned())
        .collect();
    let tmpfs: serde_json::Map<String, Value> =
        wanted.tmpfs.iter().map(|tmpfs| (tmpfs.target.clone(), tmpfs.options.join(",").into())).collect();
    json!({
        "Binds": binds,
        "NetworkMode": network,
        "AutoRemove": container.remove,
        "CapAdd": wanted.add_capabilities,
        "CapDrop": wanted.drop_capabilities,
        "GroupAdd": wanted.groups,
        "ReadonlyRootfs": wanted.read_only,
        "Tmpfs": tmpfs,
        "Runtime": container.runtime,
    })
}

fn mounts(container: &Container) -> Vec<Value> {
    let one = |bind: &Bind| {
        json!({
            "Type": "bind",
            "Source": bind.source.display().to_string(),
            "Destination": bind.target,
            "Mode": bind.options.join(","),
            "RW": !bind.options.iter().any(|option| option == "ro"),
        })
    };
    container.wanted.binds.iter().map(one).collect()
}

/// The image's, with what was asked for over it.
fn config(container: &Container) -> anyhow::Result<Value> {
    let (image, wanted) = (&container.config, &container.wanted);
    let mut env = image.env.clone();
    wanted.env.iter().for_each(|word| process::set(&mut env, word));
    let own_command = wanted.entrypoint.is_some() || !wanted.command.is_empty();
    let labels: serde_json::Map<String, Value> =
        container.labels.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect();
    Ok(json!({
        "Hostname": hostname(wanted, container.short_id()),
        "User": wanted.user.as_ref().unwrap_or(&image.user),
        "Tty": wanted.terminal,
        "OpenStdin": wanted.interactive,
        "Env": env,
        "Cmd": if own_command { &wanted.command } else { &image.cmd },
        "Image": container.image,
        "Volumes": serde_json::to_value(&image.volumes)?,
        "WorkingDir": wanted.workdir.as_ref().unwrap_or(&image.working_dir),
        "Entrypoint": wanted.entrypoint.as_ref().unwrap_or(&image.entrypoint),
        "Labels": labels,
        "StopSignal": signals::name(container.stop_signal),
        "StopTimeout": container.stop_timeout,
    }))
}
