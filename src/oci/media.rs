//! The media types and annotations that plyfs tells apart: OCI's, docker's (image manifest v2, schema 2), and those
//! by which builders and signers hang other things beside an image.

pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
pub const OCI_EMPTY: &str = "application/vnd.oci.empty.v1+json";

pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
pub const DOCKER_LAYER_FOREIGN: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";

/// The name of an image in a layout's `index.json`.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The same as containerd writes and reads it: always the full name.
pub const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// BuildKit's mark on what it puts beside an image, such as an attestation.
pub const REFERENCE_TYPE: &str = "vnd.docker.reference.type";

/// A list of manifests.
pub fn is_index(media_type: &str) -> bool {
    matches!(media_type, OCI_INDEX | DOCKER_INDEX)
}

/// The manifest of one image or artifact.
pub fn is_manifest(media_type: &str) -> bool {
    matches!(media_type, OCI_MANIFEST | DOCKER_MANIFEST)
}

/// A tar of file system changes, however it is compressed.
pub fn is_layer(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.oci.image.layer.")
        || media_type.starts_with("application/vnd.docker.image.rootfs.")
}

/// A layer that may not be passed on, and so is often absent from where its image is.
pub fn is_foreign(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.oci.image.layer.nondistributable.")
        || media_type.starts_with("application/vnd.docker.image.rootfs.foreign.")
}

/// What a layer is that is no tar, where its type says so.
pub fn other_than_tar(media_type: &str) -> Option<&'static str> {
    let kinds = [("+encrypted", "encrypted"), ("squashfs", "a squashfs image"), ("erofs", "an erofs image")];
    kinds.into_iter().find(|(word, _)| media_type.contains(word)).map(|(_, what)| what)
}

/// An image's config. Old registries and clients gave it the wrong types listed last, and docker still takes them.
pub fn is_config(media_type: &str) -> bool {
    matches!(media_type, OCI_CONFIG | DOCKER_CONFIG)
        || matches!(
            media_type,
            "" | "application/octet-stream" | "application/json" | "text/html" | "text/plain"
        )
}

/// What signers and builders store in the shape of an image: signatures, attestations, bills of materials.
pub fn is_statement(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.dev.cosign.")
        || media_type.starts_with("application/vnd.dev.sigstore.")
        || media_type.starts_with("application/vnd.in-toto")
        || media_type.starts_with("application/vnd.dsse.")
}
