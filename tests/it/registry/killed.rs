//! Pulls that are killed, and begun again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::{name, pull, said, stocked};
use crate::support::place::check_store;
use crate::support::place::{Place, names};
use crate::support::server::{Body, Server, answer};

const LARGE: &str =
    "layer gzip\nfile a size=1500000\nlayer zstd\nfile b size=2500000\nlayer plain\nfile c size=2000000\n";
const ROUNDS: u32 = 50;

/// Slow enough that there are moments in a pull.
fn slow() -> Server {
    Server::with(|request, shelves| {
        let mut reply = answer(request, shelves);
        if request.is("GET", "/blobs/")
            && let Body::Whole(bytes) = reply.body
        {
            reply.body = Body::Slow(bytes, Duration::from_millis(2));
        }
        Some(reply)
    })
}

#[test]
fn a_pull_that_is_killed_at_any_moment_goes_on_from_there_and_ends_right() {
    let place = Place::new();
    let server = slow();
    stocked(&place, &server, LARGE);
    let words = ["pull", "-q", "--retry-delay", "0.01", &name(&server)];
    let start = Instant::now();
    place.plyfs(&words);
    let whole = start.elapsed();
    let sizes: u64 = server.shelves.blobs.lock().unwrap().values().map(|blob| blob.len() as u64).sum();
    let mut resumed = 0;
    for turn in 0..ROUNDS {
        place.plyfs(&["rmi", &name(&server)]);
        let mut killed = place.start(&words);
        sleep(whole * turn / ROUNDS);
        killed.kill().unwrap();
        killed.wait().unwrap();
        check_store(&place.store());
        let partial = place.store().join("plyfs/partial");
        let kept: u64 = names(&partial).iter().map(|name| partial.join(name).metadata().unwrap().len()).sum();
        server.shelves.sent.store(0, Ordering::Relaxed);
        let output = pull(&place, &name(&server));
        assert!(output.status.success(), "turn {turn}: {}", said(&output));
        assert_eq!(place.plyfs(&["ls", &name(&server)]), "a\nb\nc\n", "turn {turn}");
        check_store(&place.store());
        assert_eq!(names(&partial), Vec::<String>::new(), "turn {turn}");
        let sent = server.shelves.sent.load(Ordering::Relaxed);
        assert!(sent + kept <= sizes, "turn {turn}: {sent} bytes came again, and {kept} were there");
        resumed += u32::from(kept > 0);
    }
    assert!(resumed > 0, "no pull was killed in the middle");
}

#[test]
fn pulls_of_one_image_at_once_fetch_it_once() {
    let place = Place::new();
    let server = slow();
    stocked(&place, &server, LARGE);
    let words = ["pull", "-q", &name(&server)];
    let mut pulls = [place.start(&words), place.start(&words), place.start(&words)];
    assert!(pulls.iter_mut().all(|pull| pull.wait().unwrap().success()));
    check_store(&place.store());
    let layers =
        server.log().iter().filter(|line| line.starts_with("GET") && line.contains("/blobs/")).count();
    // Each has read the config to know what it wants.
    assert_eq!(layers, 3 + 3);
}

#[test]
fn what_was_kept_and_is_damaged_is_fetched_again_from_its_start() {
    let place = Place::new();
    let cut = Arc::new(AtomicBool::new(true));
    let is_cut = cut.clone();
    let large = Arc::new(Mutex::new(0));
    let server = Server::with(move |request, shelves| {
        let reply = answer(request, shelves);
        match reply.body {
            Body::Whole(bytes)
                if request.is("GET", "/blobs/")
                    && bytes.len() > 1_000_000
                    && is_cut.load(Ordering::Relaxed) =>
            {
                *large.lock().unwrap() += 1;
                Some(crate::support::server::Reply::new(200, Body::Cut(bytes, 900_000)))
            }
            body => Some(crate::support::server::Reply { body, ..reply }),
        }
    });
    stocked(&place, &server, "layer plain\nfile c size=2000000\n");
    let output = place.run(&["pull", "--retry", "0", &name(&server)]);
    assert!(said(&output).contains("the connection was cut"), "{}", said(&output));
    let partial = place.store().join("plyfs/partial");
    let kept = partial.join(&names(&partial)[0]);
    let mut bytes = std::fs::read(&kept).unwrap();
    assert!(bytes.len() > 500_000);
    bytes[1000] ^= 1;
    std::fs::write(&kept, bytes).unwrap();
    cut.store(false, Ordering::Relaxed);
    let output = pull(&place, &name(&server));
    assert!(
        output.status.success() && said(&output).contains("it is fetched again from its start"),
        "{}",
        said(&output)
    );
    check_store(&place.store());
}
