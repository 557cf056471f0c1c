//! `plyfs manifest inspect`: what a registry has by a name, without fetching it.

use std::io::Write;

use serde_json::{Value, json};

use crate::cli::context::Context;
use crate::cli::output::{Output, pretty};
use crate::cli::registry::{self, Connection};
use crate::image::{self, Source};
use crate::oci::{Descriptor, Document, Reference};
use crate::registry::{Repository, Root};

/// Show the manifest or index that a registry has by a name
///
/// With `-v`, as docker: each image of an index, with its descriptor and its manifest.
#[derive(clap::Args)]
pub struct Arguments {
    /// The image, also behind `docker://`
    #[arg(value_name = "IMAGE")]
    image: String,
    /// Take any certificate, or plain HTTP; as --tls-verify=false
    #[arg(long, conflicts_with = "tls_verify")]
    insecure: bool,
    #[command(flatten)]
    connection: Connection,
}

pub fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    let mut connection = arguments.connection.clone();
    if arguments.insecure {
        connection.tls_verify = Some(false);
    }
    let registries = connection.registries(None)?;
    let candidates = registries.configuration().to_fetch(registry::name(&arguments.image)?)?;
    let Some(reference) = candidates.first() else { anyhow::bail!("{} names no image", arguments.image) };
    let (repository, root) =
        registries.find(reference).map_err(|error| registry::explain("inspecting", reference, error))?;
    let mut out = Output::new();
    if !context.is_verbose() {
        out.write_all(bytes(&root.document))?;
        writeln!(out)?;
        return Ok(out.finish()?);
    }
    let described = describe(&repository, reference, &root);
    let described = described.map_err(|error| registry::explain_copy("inspecting", reference, error))?;
    writeln!(out, "{}", pretty(&described)?)?;
    Ok(out.finish()?)
}

fn bytes(document: &Document) -> &[u8] {
    match document {
        Document::Index(index) => index.bytes(),
        Document::Manifest(manifest) => manifest.bytes(),
    }
}

/// As docker: one object for an image, a list of them for an index.
fn describe(repository: &Repository, reference: &Reference, root: &Root) -> image::Result<Value> {
    match &root.document {
        Document::Manifest(_) => Ok(entry(reference, &root.descriptor, bytes(&root.document))),
        Document::Index(index) => {
            let mut entries = Vec::new();
            for descriptor in &index.value().manifests {
                let document = repository.document(descriptor)?;
                let by_digest = reference.with_digest(descriptor.digest);
                entries.push(entry(&by_digest, descriptor, &document));
            }
            Ok(Value::Array(entries))
        }
    }
}

fn entry(reference: &Reference, descriptor: &Descriptor, document: &[u8]) -> Value {
    let manifest: Value = serde_json::from_slice(document).unwrap_or_default();
    let kind = if descriptor.media_type.contains("docker") { "SchemaV2Manifest" } else { "OCIManifest" };
    let mut described = json!({"Ref": reference.to_string(), "Descriptor": descriptor});
    described[kind] = manifest;
    described
}
