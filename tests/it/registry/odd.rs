//! Answers that the spec allows and few registries give.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{SMALL, assert_whole, name, pull, said, stocked};
use crate::support::place::Place;
use crate::support::server::{Body, Reply, Request, Server, Shelves, answer, blob};

type Quirk = Box<dyn Fn(&Request, &Shelves) -> Option<Reply> + Send + Sync>;

fn quirk(quirk: impl Fn(&Request, &Shelves) -> Option<Reply> + Send + Sync + 'static) -> Quirk {
    Box::new(quirk)
}

fn without(header: &'static str) -> Quirk {
    quirk(move |request, shelves| {
        let mut reply = answer(request, shelves);
        reply.headers.retain(|(name, _)| name != header);
        Some(reply)
    })
}

fn framed(frame: fn(Vec<u8>) -> Body) -> Quirk {
    quirk(move |request, shelves| {
        let Reply { status, headers, body } = answer(request, shelves);
        let Body::Whole(bytes) = body else { return None };
        Some(Reply {
            status,
            headers,
            body: if request.method == "GET" { frame(bytes) } else { Body::Whole(bytes) },
        })
    })
}

/// Only the first of all requests for a blob's start is answered so.
fn first_blobs(reply: impl Fn(Vec<u8>) -> Reply + Send + Sync + 'static) -> Quirk {
    quirk(move |request, shelves| {
        let (whole, from) = blob(request, shelves).filter(|_| request.is("GET", "/blobs/sha256"))?;
        let once =
            shelves.log.lock().unwrap().iter().filter(|line| line.ends_with(&request.target)).count() == 1;
        (from == 0 && once && whole.len() > 1000).then(|| reply(whole))
    })
}

#[test]
fn an_image_is_pulled_from_a_registry_that_answers_oddly() {
    let half = |whole: Vec<u8>| {
        let half = whole.len() / 2;
        Reply::new(200, Body::Cut(whole, half))
    };
    let cut_without_ranges = quirk(move |request, shelves| {
        let (whole, from) = blob(request, shelves).filter(|_| request.is("GET", "/blobs/sha256"))?;
        let half = whole.len() / 2;
        Some(Reply::new(
            200,
            if from == 0 && half > 500 { Body::Cut(whole, half) } else { Body::Whole(whole) },
        ))
    });
    let range_from_farther_back = quirk(move |request, shelves| {
        let (whole, from) = blob(request, shelves).filter(|_| request.is("GET", "/blobs/sha256"))?;
        let half = whole.len() / 2;
        match from {
            0 if half > 500 => Some(Reply::new(200, Body::Cut(whole, half))),
            0 => None,
            from => {
                let back = from - from.min(100);
                let range = format!("bytes {back}-{}/*", whole.len() - 1);
                Some(Reply::new(206, Body::Chunked(whole[back..].to_vec())).with("Content-Range", range))
            }
        }
    });
    let cases: Vec<(&str, Quirk)> = vec![
        ("by the book", quirk(|_, _| None)),
        ("no Docker-Content-Digest", without("Docker-Content-Digest")),
        ("no Content-Type", without("Content-Type")),
        ("no Content-Length", framed(Body::Unframed)),
        ("chunked", framed(Body::Chunked)),
        ("cut in the middle", first_blobs(half)),
        ("cut, and no ranges", cut_without_ranges),
        ("cut, and ranges that begin earlier", range_from_farther_back),
        ("too busy at first", first_blobs(|_| Reply::empty(429).with("Retry-After", 0))),
        ("an error at first", first_blobs(|_| Reply::empty(503))),
        (
            "a date to come back",
            first_blobs(|_| Reply::empty(503).with("Retry-After", "Wed, 21 Oct 2015 07:28:00 GMT")),
        ),
    ];
    for (case, quirk) in cases {
        let place = Place::new();
        let server = Server::with(quirk);
        let digest = stocked(&place, &server, SMALL);
        let output = pull(&place, &name(&server));
        assert!(output.status.success(), "{case}: {}", said(&output));
        assert!(String::from_utf8_lossy(&output.stdout).contains(&format!("Digest: {digest}\n")), "{case}");
        assert_whole(&place, &name(&server));
    }
}

#[test]
fn a_cut_pull_asks_for_no_byte_twice() {
    let place = Place::new();
    let server = Server::with(first_blobs(|whole| {
        let half = whole.len() / 2;
        Reply::new(200, Body::Cut(whole, half))
    }));
    stocked(&place, &server, SMALL);
    let output = pull(&place, &name(&server));
    assert!(output.status.success(), "{}", said(&output));
    let rest: u64 = server.shelves.blobs.lock().unwrap().values().map(|blob| blob.len() as u64).sum();
    assert!(server.shelves.sent.load(Ordering::Relaxed) < rest);
}

#[test]
fn a_second_pull_fetches_no_layer_and_an_image_that_shares_them_only_what_is_its_own() {
    let place = Place::new();
    let server = Server::plain();
    stocked(&place, &server, SMALL);
    assert!(pull(&place, &name(&server)).status.success());
    server.log();
    let output = pull(&place, &name(&server));
    let up_to_date = format!("Status: Image is up to date for {}\n", name(&server));
    assert!(String::from_utf8_lossy(&output.stdout).contains(&up_to_date));
    let log = server.log();
    assert_eq!(log.iter().filter(|line| line.contains("/blobs/")).count(), 1, "the config alone: {log:?}");
}

/// What a registry has after the image was pushed to it: as many blobs, and the manifest by tag and by digest.
fn assert_pushed(server: &Server, case: &str) {
    let shelves = &server.shelves;
    assert_eq!(shelves.blobs.lock().unwrap().len(), 4, "{case}");
    let manifests = shelves.manifests.lock().unwrap();
    assert!(
        manifests.contains_key(&("team/app".to_owned(), "1".to_owned())),
        "{case}: {:?}",
        manifests.keys()
    );
}

#[test]
fn an_image_is_pushed_to_a_registry_that_answers_oddly() {
    let relative = |location: fn(&str) -> String| {
        quirk(move |request, shelves| {
            let mut reply = answer(request, shelves);
            for (name, value) in &mut reply.headers {
                if name == "Location" && value.contains("/uploads/") {
                    *value = location(value);
                }
            }
            Some(reply)
        })
    };
    // The upload of the large layer is received in part, and the connection cut.
    let cut = quirk(|request, shelves| {
        let begins = request.header("content-range").is_some_and(|range| range.starts_with("0-"));
        if !request.is("PATCH", "/uploads/") || request.body.len() < 1000 || !begins {
            return None;
        }
        let (method, target) = (request.method.clone(), request.target.clone());
        let body = request.body[..700].to_vec();
        answer(&Request { method, target, headers: Vec::new(), body, number: request.number }, shelves);
        Some(Reply::new(0, Body::Nothing))
    });
    let forgets = quirk(|request, shelves| {
        let uploads = shelves.log.lock().unwrap().iter().filter(|line| line.starts_with("PATCH")).count();
        (request.method == "PATCH" && uploads == 1).then(|| Reply::empty(404))
    });
    let cases: Vec<(&str, Quirk)> = vec![
        ("by the book", quirk(|_, _| None)),
        (
            "a Location beside the request's",
            relative(|location| location.rsplit('/').next().unwrap().to_owned()),
        ),
        ("a Location with a query", relative(|location| format!("{location}?_state=a%2Fb"))),
        ("no digests", without("Docker-Content-Digest")),
        ("cut in the middle", cut),
        ("an upload that is forgotten", forgets),
        ("no PATCH", quirk(|request, _| (request.method == "PATCH").then(|| Reply::empty(405)))),
        (
            "no uploads in parts",
            quirk(|request, _| {
                let said = br#"{"errors":[{"code":"UNSUPPORTED"}]}"#.to_vec();
                (request.method == "PATCH").then(|| Reply::new(400, Body::Whole(said)))
            }),
        ),
        (
            "too busy for a manifest at first",
            quirk(|request, shelves| {
                let tries = shelves
                    .log
                    .lock()
                    .unwrap()
                    .iter()
                    .filter(|line| line.starts_with("PUT") && line.contains("/manifests/"))
                    .count();
                (request.is("PUT", "/manifests/") && tries == 1)
                    .then(|| Reply::empty(429).with("Retry-After", 0))
            }),
        ),
    ];
    for (case, quirk) in cases {
        let place = Place::new();
        let server = Server::with(quirk);
        load(&place, &name(&server));
        let output = place.run(&["push", "--retry-delay", "0.01", &name(&server)]);
        assert!(output.status.success(), "{case}: {} {:?}", said(&output), server.log());
        assert_pushed(&server, case);
    }
}

#[test]
fn a_blob_that_is_too_large_for_one_request_goes_in_parts_that_are_as_large_as_the_registry_wants() {
    let place = Place::new();
    let server = Server::with(|request, shelves| {
        if request.method == "PATCH" && request.body.len() > 20 << 20 {
            return Some(Reply::empty(413));
        }
        let reply = answer(request, shelves);
        Some(if request.method == "POST" { reply.with("OCI-Chunk-Min-Length", 17 << 20) } else { reply })
    });
    let image = place.image("large.tar", "layer plain\nfile a size=40000000\n");
    place.plyfs(&["load", "-q", "-i", image.to_str().unwrap()]);
    let id = place.plyfs(&["images", "-q"]);
    place.plyfs(&["tag", id.trim(), &name(&server)]);
    server.log();
    let output = place.run(&["push", "--retry-delay", "0.01", &name(&server)]);
    assert!(output.status.success(), "{}", said(&output));
    let log = server.log();
    let count = |method: &str| log.iter().filter(|line| line.starts_with(method)).count();
    // The config in one; of the layer all, then 16 MiB that are 17, twice, and the rest.
    assert_eq!((count("PATCH"), count("PUT")), (1 + 1 + 3, 3), "{log:?}");
    place.plyfs(&["rmi", "-f", &name(&server)]);
    assert!(pull(&place, &name(&server)).status.success());
}

fn load(place: &Place, name: &str) {
    let layout = super::layout(place, SMALL);
    place.plyfs(&["load", "-q", "-i", layout.to_str().unwrap()]);
    place.plyfs(&["tag", "small:1", name]);
}

#[test]
fn what_another_repository_has_is_mounted_and_nothing_is_sent_twice() {
    let place = Place::new();
    let server = Server::with(|request, shelves| {
        // Blobs are a repository's own: this one has none before it is given them.
        let mounted =
            shelves.log.lock().unwrap().iter().any(|line| line.contains("second/blobs/uploads/?mount"));
        (request.is("HEAD", "second/blobs/sha256") && !mounted).then(|| Reply::empty(404))
    });
    let (first, second) = (format!("{}/first:1", server.address), format!("{}/second:1", server.address));
    load(&place, &first);
    place.plyfs(&["push", &first]);
    place.plyfs(&["tag", &first, &second]);
    server.log();
    let pushed = place.plyfs(&["push", &second]);
    let log = server.log();
    assert!(pushed.contains("Mounted from first"), "{pushed}");
    assert!(!log.iter().any(|line| line.starts_with("PATCH")), "{log:?}");
}

#[test]
fn a_mirror_is_asked_first_and_the_registry_where_the_mirror_has_nothing() {
    let place = Place::new();
    let (mirror, home) = (Server::plain(), Server::plain());
    stocked(&place, &home, SMALL);
    let configuration = place.path("registries.conf");
    let text = format!(
        "[[registry]]\nprefix = \"far.example\"\nlocation = \"{}\"\n[[registry.mirror]]\nlocation = \"{}/hub\"\n",
        home.address, mirror.address
    );
    std::fs::write(&configuration, text).unwrap();
    let pull = || {
        let output = place.run_with(
            &["pull", "far.example/team/app:1"],
            &[("CONTAINERS_REGISTRIES_CONF", configuration.to_str().unwrap())],
        );
        assert!(output.status.success(), "{}", said(&output));
    };
    pull();
    assert_eq!(mirror.log().iter().filter(|line| line.contains("/hub/team/app/")).count(), 1);
    assert_whole(&place, "far.example/team/app:1");
    mirror.stock(&place.path("layout"), "hub/team/app", "1");
    home.log();
    pull();
    assert_eq!(home.log(), Vec::<String>::new());
}

#[test]
fn all_tags_are_pulled_and_pushed() {
    let place = Place::new();
    let shelves = Arc::<Shelves>::default();
    // The list comes in pages.
    let server = Server::sharing(shelves, |request, _| {
        let page = |tags: &str| {
            Reply::new(200, Body::Whole(format!(r#"{{"name":"team/app","tags":{tags}}}"#).into_bytes()))
        };
        match request.target.as_str() {
            "/v2/team/app/tags/list?n=1000" => {
                Some(page(r#"["1"]"#).with("Link", "</v2/team/app/tags/list?last=1>; rel=\"next\""))
            }
            "/v2/team/app/tags/list?last=1" => Some(page(r#"["2"]"#)),
            _ => None,
        }
    });
    stocked(&place, &server, SMALL);
    server.stock(&place.path("layout"), "team/app", "2");
    let repository = format!("{}/team/app", server.address);
    place.plyfs(&["pull", "-q", "-a", &repository]);
    let tags = place.plyfs(&["images", "--format", "{{.Tag}}"]);
    assert_eq!(tags, "1\n2\n");
    server.shelves.manifests.lock().unwrap().clear();
    place.plyfs(&["push", "-q", "-a", &repository]);
    let mut pushed: Vec<String> = server
        .shelves
        .manifests
        .lock()
        .unwrap()
        .keys()
        .map(|(_, tag)| tag.clone())
        .filter(|tag| tag.len() == 1)
        .collect();
    pushed.sort();
    assert_eq!(pushed, ["1", "2"]);
}
