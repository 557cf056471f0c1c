//! Real images of many writers, where a folder with them is given: `PLYFS_SHARED` names it, and `images/README.tsv` in
//! it says what each must be read as.

use std::collections::HashMap;
use std::path::Path;

use super::*;

type Row = HashMap<String, String>;

fn rows(folder: &Path) -> Vec<Row> {
    let table = std::fs::read_to_string(folder.join("README.tsv")).unwrap();
    let mut lines = table.lines().map(|line| line.split('\t').map(str::to_owned));
    let names: Vec<String> = lines.next().unwrap().collect();
    lines.map(|cells| names.iter().cloned().zip(cells).collect()).collect()
}

/// What the table says and what is read, in the same words; only what the table says is compared.
fn outcome(store: &Store, folder: &Path, row: &Row) -> String {
    let select: Vec<&str> = row["select"].split(' ').collect();
    let (wanted, platform) = match select[..] {
        ["--ref", tag] => (Some(tag.to_owned()), None),
        ["--index", _] => (row["tags"].split(',').next().map(str::to_owned), None),
        ["--platform", platform] => (None, Some(platform.parse::<Platform>().unwrap())),
        _ => (None, None),
    };
    let path = folder.join(&row["name"]);
    let location = Location { form: Form::Any, path, reference: None };
    let opened = Archive::open(store, &location);
    let read = opened.and_then(|archive| {
        let (image, _) = archive.image(wanted.as_deref(), platform.as_ref())?;
        let layers = image
            .layers()
            .map_err(|source| Error::Image { path: location.path.clone(), source: Box::new(source) })?;
        for layer in &layers {
            let mut blob = archive.blob(&layer.descriptor).unwrap();
            let size = std::io::copy(&mut blob, &mut std::io::sink()).unwrap();
            assert_eq!(size, layer.descriptor.size, "{}", row["name"]);
        }
        Ok(image)
    });
    let said = |column: &str, found: String| match row[column].as_str() {
        "-" => "-".to_owned(),
        _ => found,
    };
    match read {
        Ok(image) => format!(
            "load {} {} {}",
            said("manifest_digest", image.descriptor.digest.to_string()),
            said("config_digest", image.id().to_string()),
            said("layers", image.diff_ids().len().to_string()),
        ),
        Err(error) => {
            assert!(row["verdict"].starts_with("refuse"), "{}: {error}", row["name"]);
            "refuse".to_owned()
        }
    }
}

fn expected(row: &Row) -> String {
    match row["verdict"].starts_with("refuse") {
        true => "refuse".to_owned(),
        false => format!("load {} {} {}", row["manifest_digest"], row["config_digest"], row["layers"]),
    }
}

#[test]
fn real_images_are_read_as_the_table_says_and_the_same_the_second_time() {
    let Some(shared) = std::env::var_os("PLYFS_SHARED") else { return };
    let folder = Path::new(&shared).join("images");
    let place = place();
    let rows: Vec<Row> = rows(&folder)
        .into_iter()
        .filter(|row| !row["select"].starts_with("--stack") && !row["select"].starts_with("--no-verify"))
        .filter(|row| !row["name"].starts_with("tar-corpus") && folder.join(&row["name"]).exists())
        .collect();
    let named = |row: &Row, outcome: String| format!("{} {} {outcome}", row["name"], row["variant"]);
    let wanted: Vec<String> = rows.iter().map(|row| named(row, expected(row))).collect();
    for _ in 0..2 {
        let found = rows.iter().map(|row| named(row, outcome(&place.store, &folder, row)));
        let different: Vec<_> = found.zip(&wanted).filter(|(found, wanted)| found != *wanted).collect();
        assert_eq!(different, vec![]);
    }
}

#[test]
fn hostile_images_are_refused_and_nothing_outside_is_read() {
    let Some(shared) = std::env::var_os("PLYFS_SHARED") else { return };
    let folder = Path::new(&shared).join("hostile");
    let table = std::fs::read(folder.join("manifest.json")).unwrap();
    let table: serde_json::Value = serde_json::from_slice(&table).unwrap();
    let place = place();
    let mut accepted = Vec::new();
    for case in table["image_cases"].as_array().unwrap() {
        let path = folder.join(case["path"].as_str().unwrap());
        if case["policy"] != "reject" || !path.exists() {
            continue;
        }
        let location = Location { form: Form::Any, path, reference: None };
        let read = Archive::open(&place.store, &location).and_then(|archive| {
            let (image, _) = archive.image(None, None)?;
            let faulty = |source| Error::Image { path: location.path.clone(), source: Box::new(source) };
            image::load(&place.store, &archive, &image, &()).map_err(faulty)
        });
        if read.is_ok() {
            accepted.push(case["name"].clone());
        }
    }
    assert_eq!(accepted, Vec::<serde_json::Value>::new());
}
