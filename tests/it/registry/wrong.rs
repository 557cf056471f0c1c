//! Answers that no registry should give: the error says what it was, and nothing wrong is kept.

use std::time::Duration;

use plyfs::image;
use plyfs::registry::{Patience, Registries, Settings, Surroundings};
use plyfs::store::Store;

use super::{SMALL, name, pull, said, stocked};
use crate::support::place::{Place, names};
use crate::support::server::{Body, Reply, Request, Server, Shelves, blob};

/// Every large blob is answered so.
fn blobs(
    reply: impl Fn(Vec<u8>) -> Reply + Send + Sync + 'static,
) -> impl Fn(&Request, &Shelves) -> Option<Reply> + Send + Sync {
    move |request, shelves| {
        let (whole, from) = blob(request, shelves).filter(|_| request.is("GET", "/blobs/sha256"))?;
        (whole.len() > 1000).then(|| reply(whole[from..].to_vec()))
    }
}

fn flipped(mut whole: Vec<u8>) -> Reply {
    let middle = whole.len() / 2;
    whole[middle] ^= 0x10;
    Reply::new(200, Body::Whole(whole))
}

fn longer(mut whole: Vec<u8>) -> Reply {
    whole.extend([0; 10]);
    Reply::new(200, Body::Whole(whole))
}

#[test]
fn a_layer_that_comes_wrong_is_refused_by_name_and_is_not_kept() {
    type Case = (&'static str, fn(Vec<u8>) -> Reply, &'static str);
    let cases: [Case; 7] = [
        ("a flipped bit", flipped, "sha256:"),
        ("other bytes", |whole| Reply::new(200, Body::Whole(vec![0; whole.len()])), "sha256:"),
        ("too long", longer, "bytes, its descriptor says"),
        ("one without an end", |_| Reply::new(200, Body::Endless), "sha256:"),
        (
            "a range that was not asked for",
            |whole| Reply::new(206, Body::Whole(whole)).with("Content-Range", "bytes 5-9/10"),
            "answered with the range \"bytes 5-9/10\"",
        ),
        ("a redirect in circles", |_| Reply::empty(302).with("Location", "?again"), "too many redirects"),
        ("a refusal", |_| Reply::empty(403), "403 from 127.0.0.1"),
    ];
    for (case, reply, expected) in cases {
        let place = Place::new();
        let server = Server::with(blobs(reply));
        stocked(&place, &server, SMALL);
        let output = pull(&place, &name(&server));
        let said = said(&output);
        let error = said.lines().find(|line| line.starts_with("plyfs: pulling")).unwrap_or_default();
        assert!(error.contains(expected), "{case}: {said}");
        assert_eq!(output.status.code(), Some(1), "{case}");
        assert_eq!(place.plyfs(&["images", "-q"]), "", "{case}");
        crate::support::place::check_store(&place.store());
        // What was never read is as it was; what was read and is wrong is gone.
        if !case.starts_with("a re") && !case.starts_with("a ra") {
            assert_eq!(names(&place.store().join("plyfs/partial")), Vec::<String>::new(), "{case}");
        }
    }
}

#[test]
fn a_manifest_that_comes_wrong_is_refused_by_name() {
    let manifest = |reply: fn() -> Reply| {
        move |request: &Request, _: &Shelves| request.is("GET", "/manifests/").then(reply)
    };
    type Case = (fn() -> Reply, &'static str);
    let huge = || Reply::new(200, Body::Whole(vec![b' '; (4 << 20) + 1]));
    let liar = || {
        let digest = format!("sha256:{}", "0".repeat(64));
        Reply::new(200, Body::Whole(b"{}".to_vec())).with("Docker-Content-Digest", digest)
    };
    let cases: [Case; 6] = [
        (huge, "sent a manifest of more than 4194304 bytes"),
        (|| Reply::new(200, Body::Endless), "sent a manifest of more than 4194304 bytes"),
        (
            liar,
            "with another digest: sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
        ),
        (|| Reply::new(200, Body::Whole(b"<html>".to_vec())), "manifest is not JSON"),
        (
            || Reply::new(200, Body::Whole(br#"{"schemaVersion":1,"fsLayers":[]}"#.to_vec())),
            "schema version 1",
        ),
        (|| Reply::empty(204), "204 from 127.0.0.1"),
    ];
    for (reply, expected) in cases {
        let place = Place::new();
        let server = Server::with(manifest(reply));
        let output = pull(&place, &name(&server));
        assert!(said(&output).contains(expected), "{expected}: {}", said(&output));
        assert_eq!(output.status.code(), Some(1));
        super::assert_nothing(&place);
    }
}

#[test]
fn a_registry_that_falls_silent_is_given_up_and_what_came_is_kept_for_the_next_time() {
    let place = Place::new();
    let server = Server::with(blobs(|whole| {
        let half = whole.len() / 2;
        Reply::new(200, Body::Stalled(whole, half))
    }));
    stocked(&place, &server, SMALL);
    let patience = Patience {
        stall: Duration::from_secs(1),
        retries: 1,
        pause: Duration::from_millis(1),
        ..Patience::default()
    };
    let registries =
        Registries::new(Settings { patience, ..Settings::default() }, surroundings(&place)).unwrap();
    let (repository, root) = registries.find(&name(&server).parse().unwrap()).unwrap();
    let image = image::read(&repository, &root.descriptor).unwrap();
    let store = Store::open(&place.store()).unwrap();
    let error = image::load(&store, &repository, &image, &()).unwrap_err().to_string();
    assert!(error.contains("sent nothing for 1 seconds"), "{error}");
    assert_eq!(names(&place.store().join("plyfs/partial")).len(), 2);
    let sound = Server::sharing(server.shelves.clone(), |_, _| None);
    let output = pull(&place, &name(&sound));
    assert!(output.status.success(), "{}", said(&output));
    super::assert_whole(&place, &name(&sound));
}

pub fn surroundings(place: &Place) -> Surroundings {
    Surroundings {
        home: None,
        config: None,
        cache: None,
        runtime: place.path("run"),
        system: place.path("etc"),
        vendor: place.path("share"),
        docker: None,
        authfile: None,
        registries: None,
    }
}

#[test]
fn an_upload_of_what_was_damaged_in_the_store_is_not_finished() {
    let place = Place::new();
    let server = Server::plain();
    let layout = super::layout(&place, SMALL);
    place.plyfs(&["load", "-q", "-i", layout.to_str().unwrap()]);
    place.plyfs(&["tag", "small:1", &name(&server)]);
    let blobs = place.store().join("blobs/sha256");
    let large =
        names(&blobs).into_iter().find(|blob| blobs.join(blob).metadata().unwrap().len() > 1000).unwrap();
    let mut bytes = std::fs::read(blobs.join(&large)).unwrap();
    bytes[500] ^= 1;
    std::fs::write(blobs.join(&large), bytes).unwrap();
    let output = place.run(&["push", "--retry-delay", "0.01", &name(&server)]);
    assert!(said(&output).contains(&format!("blob sha256:{large} is corrupt")), "{}", said(&output));
    assert!(server.shelves.manifests.lock().unwrap().is_empty());
}
