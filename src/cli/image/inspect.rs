//! `plyfs inspect`: all that an image says of itself, in docker's JSON.

use std::io::Write;

use serde_json::{Value, json};

use crate::cli::context::Context;
use crate::cli::error::{Told, tell};
use crate::cli::facts;
use crate::cli::open::open;
use crate::cli::output::{Output, pretty};
use crate::cli::platform::Choice;
use crate::cli::template::Template;
use crate::oci::{Platform, Reference, RunConfig};

/// Show what an image says of itself, as JSON
#[derive(clap::Args)]
#[group(id = "inspected")]
pub struct Arguments {
    #[arg(value_name = "NAME", required = true)]
    images: Vec<String>,
    /// `json` or a Go template
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    #[command(flatten)]
    platform: Choice,
}

impl Arguments {
    pub fn platform(&self) -> anyhow::Result<Option<Platform>> {
        self.platform.platform()
    }
}

pub fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    let platform = arguments.platform()?;
    each(arguments, |wanted| describe(context, wanted, platform.as_ref()))
}

/// Prints what each is; one that is not there does not keep the others.
pub fn each(
    arguments: &Arguments,
    mut describe: impl FnMut(&str) -> anyhow::Result<Value>,
) -> anyhow::Result<()> {
    let template = match arguments.format.as_deref() {
        None | Some("") => None,
        Some("json") => Some(Template::parse("{{json .}}")?),
        Some(text) => Some(Template::parse(text)?),
    };
    let mut failed = false;
    let mut found = Vec::new();
    for wanted in &arguments.images {
        match describe(wanted) {
            Ok(value) => found.push(value),
            Err(error) => {
                failed = true;
                tell(&error);
            }
        }
    }
    print(template.as_ref(), found)?;
    if failed { Err(Told::FAILED.into()) } else { Ok(()) }
}

fn print(template: Option<&Template>, found: Vec<Value>) -> anyhow::Result<()> {
    let mut out = Output::new();
    match template {
        None => writeln!(out, "{}", pretty(&Value::Array(found))?)?,
        Some(template) => {
            for value in &found {
                writeln!(out, "{}", template.render(value)?)?;
            }
        }
    }
    Ok(out.finish()?)
}

pub fn describe(context: &Context, wanted: &str, platform: Option<&Platform>) -> anyhow::Result<Value> {
    let opened = open(context, wanted, platform)?;
    let image = &opened.image;
    let config = image.config.value();
    let names: Vec<String> = image.names.iter().map(Reference::familiar).collect();
    let comment = config.comment.clone().or_else(|| config.history.last()?.comment.clone());
    let mut value = json!({
        "Id": image.id().to_string(),
        "RepoTags": names,
        "RepoDigests": opened.repository_digests(),
        "Parent": "",
        "Comment": comment.unwrap_or_default(),
        "Created": config.created,
        "DockerVersion": config.docker_version.clone().unwrap_or_default(),
        "Author": config.author.clone().unwrap_or_default(),
        "Config": run_config(config.config.as_ref())?,
        "Architecture": config.architecture,
    });
    if let Some(variant) = &config.variant {
        value["Variant"] = variant.as_str().into();
    }
    value["Os"] = config.os.as_str().into();
    if let Some(version) = &config.os_version {
        value["OsVersion"] = version.as_str().into();
    }
    value["Size"] = facts::size(&opened.store, image).into();
    value["GraphDriver"] = json!({"Data": null, "Name": "plyfs"});
    let layers: Vec<String> = config.rootfs.diff_ids.iter().map(ToString::to_string).collect();
    value["RootFS"] = json!({"Type": "layers", "Layers": layers});
    // Docker's word for never.
    value["Metadata"] = json!({"LastTagTime": "0001-01-01T00:00:00Z"});
    Ok(value)
}

/// With the fields that scripts ask for there even where the image says nothing, as docker has them.
fn run_config(config: Option<&RunConfig>) -> anyhow::Result<Value> {
    let written = serde_json::to_value(config.cloned().unwrap_or_default())?;
    let mut value = json!({
        "User": "", "Env": null, "Cmd": null, "Volumes": null, "WorkingDir": "", "Entrypoint": null,
        "OnBuild": null, "Labels": null,
    });
    if let (Value::Object(all), Value::Object(written)) = (&mut value, written) {
        all.extend(written);
    }
    Ok(value)
}
