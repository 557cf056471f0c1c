//! Passwords and tokens: where they go, and where they never do.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{SMALL, assert_whole, name, pull, said, stocked};
use crate::support::place::Place;
use crate::support::server::{Body, Reply, Request, Server, Shelves, blob};

const ME: &str = "Basic bWU6c2VjcmV0";

/// Lets in who has the header, and says to all others how to come by it.
fn guarded(authorization: &'static str, challenge: String) -> impl Fn(&Request, &Shelves) -> Option<Reply> {
    move |request, _| {
        let known = request.header("authorization") == Some(authorization);
        (!known).then(|| Reply::empty(401).with("WWW-Authenticate", &challenge))
    }
}

fn token(words: &str) -> Reply {
    Reply::new(200, Body::Whole(words.as_bytes().to_vec()))
}

#[test]
fn a_password_is_shown_to_the_registry_and_to_no_one_that_it_redirects_to() {
    let place = Place::new();
    let elsewhere = Server::with(|request, _| {
        let told = request.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization"));
        told.then(|| Reply::empty(400))
    });
    let there = elsewhere.address.clone();
    let guard = guarded(ME, "Basic realm=\"here\"".to_owned());
    let server = Server::with(move |request, shelves| {
        guard(request, shelves).or_else(|| {
            let to = format!("http://{there}{}", request.target);
            request.is("GET", "/blobs/sha256").then(|| Reply::empty(307).with("Location", to))
        })
    });
    stocked(&place, &server, SMALL);
    elsewhere.stock(&place.path("layout"), "team/app", "1");
    let output = pull(&place, &name(&server));
    let host = &server.address;
    let expected = format!("pulling {}: 401 from {host}\nhint: run `plyfs login {host}`\n", name(&server));
    assert!(said(&output).ends_with(&expected), "{}", said(&output));
    let output = place.run(&["pull", "--creds", "me:secret", &name(&server)]);
    assert!(output.status.success(), "{}", said(&output));
    assert_whole(&place, &name(&server));
    assert_eq!(elsewhere.log().iter().filter(|line| line.contains("/blobs/")).count(), 4);
}

#[test]
fn a_token_is_fetched_for_what_is_done_and_again_when_it_runs_out_in_the_middle() {
    let place = Place::new();
    let tokens = Server::with(|request, shelves| {
        let count = shelves.log.lock().unwrap().len();
        let known = request.header("authorization") == Some(ME);
        Some(if known {
            token(&format!(r#"{{"token":"t{count}","expires_in":300}}"#))
        } else {
            Reply::empty(401)
        })
    });
    let challenge = format!("Bearer realm=\"http://{}/token?x=1\",service=\"s s\"", tokens.address);
    let oldest = Arc::new(AtomicUsize::new(1));
    let server = Server::with(move |request, shelves| {
        let held =
            request.header("authorization").and_then(|header| header.strip_prefix("Bearer t")?.parse().ok());
        if held.is_none_or(|held: usize| held < oldest.load(Ordering::Relaxed)) {
            return Some(Reply::empty(401).with("WWW-Authenticate", &challenge));
        }
        // The large layer is cut once, and from then on the token is no more.
        let (whole, from) = blob(request, shelves).filter(|_| request.is("GET", "/blobs/sha256"))?;
        let half = whole.len() / 2;
        (from == 0 && whole.len() > 1000).then(|| {
            oldest.store(held.unwrap_or(0) + 1, Ordering::Relaxed);
            Reply::new(200, Body::Cut(whole, half))
        })
    });
    stocked(&place, &server, SMALL);
    let output = place.run(&["pull", "--retry-delay", "0.01", "--creds", "me:secret", &name(&server)]);
    assert!(output.status.success(), "{}", said(&output));
    assert_whole(&place, &name(&server));
    let log = tokens.log();
    assert_eq!(
        log[0],
        "GET /token?x=1&service=s%20s&scope=repository:team/app:pull&account=me&client_id=plyfs"
    );
    assert!(log.len() >= 2, "{log:?}");
}

/// Runs plyfs with an own home and what it is to read.
fn at_home(place: &Place, words: &[&str], input: &str) -> (String, bool) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plyfs"));
    command.env_clear().env("HOME", place.path("home")).env("PLYFS_ROOT", place.store());
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("XDG_RUNTIME_DIR", place.path("run"));
    command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (String::from_utf8(text).unwrap(), output.status.success())
}

#[test]
fn a_login_is_tried_kept_used_and_forgotten() {
    let place = Place::new();
    let server = Server::with(guarded(ME, "Basic realm=\"here\"".to_owned()));
    stocked(&place, &server, SMALL);
    let host = server.address.as_str();
    let login = ["login", "-u", "me", "--password-stdin", host];
    let (refused, success) = at_home(&place, &login, "wrong\n");
    assert!(
        !success && refused.starts_with(&format!("plyfs: logging in to {host}: 401 from {host}\n")),
        "{refused}"
    );
    assert!(!at_home(&place, &["pull", "-q", &name(&server)], "").1);
    let kept = place.path("home/.docker/config.json");
    let (said, success) = at_home(&place, &login, "secret\n");
    let warning = format!("plyfs: warning: the login is kept unencrypted in {}\n", kept.display());
    assert!(success, "{said}");
    assert_eq!(said, format!("Login Succeeded\n{warning}"));
    let (said, success) = at_home(&place, &["pull", "-q", "-v", &name(&server)], "");
    assert!(
        success && said.contains(&format!("{host}: the password of me from {}\n", kept.display())),
        "{said}"
    );
    assert_eq!(at_home(&place, &["logout", host], "").0, format!("Removed login credentials for {host}\n"));
    assert_eq!(at_home(&place, &["logout", host], "").0, format!("Not logged in to {host}\n"));
    assert!(!at_home(&place, &["pull", "-q", &name(&server)], "").1);
}

#[test]
fn a_login_at_a_registry_with_tokens_keeps_what_stands_for_the_password() {
    let place = Place::new();
    let tokens = Server::with(|request, _| {
        let form = String::from_utf8_lossy(&request.body).into_owned();
        let refreshed = request.method == "POST" && form.contains("refresh_token=stands-for-me");
        let known = request.header("authorization") == Some(ME);
        let refresh = if request.target.contains("offline_token=true") {
            r#","refresh_token":"stands-for-me""#
        } else {
            ""
        };
        Some(match refreshed || known {
            true => token(&format!(r#"{{"access_token":"good"{refresh}}}"#)),
            false => Reply::empty(401),
        })
    });
    let server =
        Server::with(guarded("Bearer good", format!("Bearer realm=\"http://{}/token\"", tokens.address)));
    stocked(&place, &server, SMALL);
    let (said, success) =
        at_home(&place, &["login", "-u", "me", "--password-stdin", &server.address], "secret");
    assert!(success, "{said}");
    let kept = std::fs::read_to_string(place.path("home/.docker/config.json")).unwrap();
    assert!(kept.contains("stands-for-me") && !kept.contains("bWU6c2VjcmV0"), "{kept}");
    let (said, success) = at_home(&place, &["pull", "-q", &name(&server)], "");
    assert!(success, "{said}");
    assert_eq!(tokens.log().last().unwrap(), "POST /token");
}
