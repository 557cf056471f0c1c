//! What is said of images in registries without fetching them: tables, JSON and errors, whole.

use super::{SMALL, name, said, stocked};
use crate::support::place::Place;
use crate::support::server::{Body, Reply, Server};

#[test]
fn a_search_lists_what_has_the_word_as_docker_does() {
    let place = Place::new();
    let server = Server::with(|request, _| {
        let hits = r#"{"num_results":2,"results":[
            {"name":"alpine","description":"A minimal image, with a long story to tell about itself\u001b[31m","star_count":9000,"is_official":true},
            {"name":"someone/alpine","description":null,"star_count":3,"is_official":false}]}"#;
        match request.target.as_str() {
            "/v2/_catalog?n=1000" => Some(Reply::empty(404)),
            "/v1/search?q=alpine&n=25" => Some(Reply::new(200, Body::Whole(hits.as_bytes().to_vec()))),
            _ => None,
        }
    });
    let at = |name: &str| format!("{}/{name}", server.address);
    let width = at("someone/alpine").len() + 3;
    let table = place.plyfs(&["search", &at("alpine")]);
    let lines = [
        format!("{:width$}{:48}{:10}OFFICIAL\n", "NAME", "DESCRIPTION", "STARS"),
        format!(
            "{:width$}{:48}{:10}[OK]\n",
            at("alpine"),
            "A minimal image, with a long story to tell a…",
            "9000"
        ),
        format!("{:width$}{:48}{:10}\n", at("someone/alpine"), "", "3"),
    ];
    assert_eq!(table, lines.concat());
    let filtered = place.plyfs(&[
        "search",
        "-f",
        "stars=10",
        "-f",
        "is-official=true",
        "--format",
        "{{.Name}} {{.StarCount}}",
        &at("alpine"),
    ]);
    assert_eq!(filtered, format!("{} 9000\n", at("alpine")));
    let whole = place.plyfs(&[
        "search",
        "--no-trunc",
        "--limit",
        "25",
        "--format",
        "{{.Description}}",
        &at("alpine"),
    ]);
    assert_eq!(whole, "A minimal image, with a long story to tell about itself\\u{1b}[31m\n\n");
}

#[test]
fn a_registry_without_a_search_is_asked_for_its_repositories() {
    let place = Place::new();
    let server = Server::plain();
    stocked(&place, &server, SMALL);
    server.stock(&place.path("layout"), "other/thing", "1");
    let search =
        |word: &str| place.plyfs(&["search", "--format", "json", &format!("{}/{word}", server.address)]);
    let row = |name: &str| {
        format!(
            "{{\"Name\":\"{}/{name}\",\"Description\":\"\",\"StarCount\":\"0\",\"IsOfficial\":\"\",\"IsAutomated\":\"\"}}\n",
            server.address
        )
    };
    assert_eq!(search("app"), row("team/app"));
    assert_eq!(search(""), row("other/thing") + &row("team/app"));
    assert_eq!(search("nothing"), "");
}

#[test]
fn a_manifest_is_shown_as_it_is_and_described_where_more_is_asked_for() {
    let place = Place::new();
    let server = Server::plain();
    let digest = stocked(&place, &server, SMALL);
    let bytes = server.shelves.blobs.lock().unwrap()[&digest.to_string()].clone();
    let text = String::from_utf8(bytes).unwrap();
    assert_eq!(place.plyfs(&["manifest", "inspect", &name(&server)]), format!("{text}\n"));
    let described: serde_json::Value =
        serde_json::from_str(&place.plyfs(&["manifest", "inspect", "-v", &name(&server)])).unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        described,
        serde_json::json!({
            "Ref": name(&server),
            "Descriptor": {"mediaType": manifest["mediaType"], "digest": digest.to_string(), "size": text.len()},
            "OCIManifest": manifest,
        })
    );
    assert_eq!(server.log().iter().filter(|line| line.contains("/blobs/")).count(), 0);
    assert_eq!(place.plyfs(&["images", "-q"]), "");
}

#[test]
fn what_a_pull_says_is_what_docker_says() {
    let place = Place::new();
    let server = Server::plain();
    let digest = stocked(&place, &server, SMALL);
    server.stock(&place.path("layout"), "team/app", "latest");
    let repository = format!("{}/team/app", server.address);
    let output = place.run(&["pull", &repository]);
    let expected = format!(
        "Using default tag: latest\nlatest: Pulling from team/app\nDigest: {digest}\n\
         Status: Downloaded newer image for {repository}:latest\n{repository}:latest\n"
    );
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
    let mut layers: Vec<String> = said(&output).lines().map(str::to_owned).collect();
    layers.sort();
    assert_eq!(layers.len(), 3);
    assert!(layers.iter().all(|line| line.contains(": Pull complete, ")), "{layers:?}");
    assert_eq!(place.plyfs(&["pull", "-q", &repository]), format!("{repository}:latest\n"));
}

#[test]
fn an_image_that_is_not_in_the_store_is_pulled_by_what_looks_into_it() {
    let place = Place::new();
    let server = Server::plain();
    stocked(&place, &server, SMALL);
    let output = place.run(&["cat", &format!("docker://{}:/etc/motd", name(&server))]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "hello\n");
    assert_eq!(
        said(&output),
        format!("plyfs: unable to find image '{}' locally, pulling it\n", name(&server))
    );
    server.log();
    assert_eq!(place.plyfs(&["cat", &format!("{}:/etc/motd", name(&server))]), "hello\n");
    assert_eq!(server.log(), Vec::<String>::new());
    // What is only asked about is not fetched.
    let output = place.run(&["inspect", &format!("{}/team/other", server.address)]);
    assert!(said(&output).starts_with("plyfs: no such image: "), "{}", said(&output));
    assert_eq!(server.log(), Vec::<String>::new());
}
