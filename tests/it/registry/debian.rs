//! Debian's docker-registry, on loopback: plain and with TLS, open, with passwords and with tokens; and skopeo beside us.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use super::started::{Registry, Running, digest, free_port, has, load, multi, run, wait_for};
use super::{SMALL, said};
use crate::support::place::{Place, names};

#[test]
fn what_is_pushed_can_be_read_by_skopeo_and_pulled_mounted_and_deleted() {
    let place = Place::new();
    if !has(&["docker-registry", "skopeo"], "docker-registry") {
        return;
    }
    let registry = Registry::start(&place, "", "");
    let (first, second) = (format!("{}/first:1", registry.address), format!("{}/second:1", registry.address));
    load(&place, &first);
    let pushed = place.plyfs(&["push", &first]);
    assert_eq!(pushed.matches(": Pushed\n").count(), 3, "{pushed}");
    place.plyfs(&["tag", &first, &second]);
    let pushed = place.plyfs(&["push", &second]);
    assert_eq!(pushed.matches(": Mounted from first\n").count(), 3, "{pushed}");
    let again = place.plyfs(&["push", &second]);
    assert_eq!(again.matches(": Layer already exists\n").count(), 3, "{again}");

    let copy = place.path("copy");
    let words = ["--insecure-policy", "copy", "--src-tls-verify=false", "--preserve-digests"];
    run(
        "skopeo",
        &[&words[..], &[&format!("docker://{second}"), &format!("oci:{}:1", copy.display())]].concat(),
    );
    let index: serde_json::Value =
        serde_json::from_slice(&fs::read(copy.join("index.json")).unwrap()).unwrap();
    assert_eq!(index["manifests"][0]["digest"].as_str().unwrap(), digest(&place, &second));

    let other = Place::new();
    other.plyfs(&["pull", "-q", &second]);
    super::assert_whole(&other, &second);
    assert_eq!(digest(&other, &second), digest(&place, &second));
    let deleted = other.plyfs(&["delete", &format!("docker://{second}")]);
    assert_eq!(deleted, format!("Deleted: {}/second@{}\n", registry.address, digest(&place, &second)));
    let output = other.run(&["pull", &second]);
    assert!(
        said(&output).contains(&format!("{} has no manifest second:1", registry.address)),
        "{}",
        said(&output)
    );
    other.plyfs(&["pull", "-q", &first]);
}

#[test]
fn what_skopeo_pushes_is_pulled_with_its_digests() {
    let place = Place::new();
    if !has(&["docker-registry", "skopeo"], "images of skopeo") {
        return;
    }
    let registry = Registry::start(&place, "", "");
    // docker's own format knows no zstd.
    let layout = super::layout(&place, &SMALL.replace("zstd", "gzip"));
    for (tag, format, compression) in [("gzip", "v2s2", "gzip"), ("zstd", "oci", "zstd")] {
        let name = format!("{}/app:{tag}", registry.address);
        let words = ["--insecure-policy", "copy", "--dest-tls-verify=false", "--dest-compress"];
        let how = ["--format", format, "--dest-compress-format", compression];
        let names = [format!("oci:{}:small:1", layout.display()), format!("docker://{name}")];
        run("skopeo", &[&words[..], &how, &[&names[0], &names[1]]].concat());
        place.plyfs(&["pull", "-q", &name]);
        super::assert_whole(&place, &name);
        let inspected = run(
            "skopeo",
            &["inspect", "--tls-verify=false", "--format", "{{.Digest}}", &format!("docker://{name}")],
        );
        assert_eq!(digest(&place, &name), String::from_utf8_lossy(&inspected.stdout).trim());
    }
}

#[test]
fn an_index_of_several_platforms_keeps_its_digest_here_and_back() {
    let place = Place::new();
    if !has(&["docker-registry", "skopeo"], "several platforms") {
        return;
    }
    let registry = Registry::start(&place, "", "");
    let (first, second) = (format!("{}/multi:1", registry.address), format!("{}/back:1", registry.address));
    let words = ["--insecure-policy", "copy", "--all", "--dest-tls-verify=false"];
    let names = [format!("oci:{}:multi:1", multi(&place).display()), format!("docker://{first}")];
    run("skopeo", &[&words[..], &[&names[0], &names[1]]].concat());
    let inspect = |name: &str| {
        run("skopeo", &["inspect", "--raw", "--tls-verify=false", &format!("docker://{name}")]).stdout
    };
    let pulled = place.plyfs(&["pull", "--platform", "linux/amd64", &first]);
    let expected = plyfs::oci::Digest::of(&inspect(&first)).to_string();
    assert!(pulled.contains(&format!("Digest: {expected}\n")), "{pulled}");
    place.plyfs(&["tag", &first, &second]);
    place.plyfs(&["push", "-q", &second]);
    assert_eq!(inspect(&second), inspect(&first));
    super::assert_whole(&place, &second);
}

fn certificates(place: &Place) -> std::path::PathBuf {
    let folder = place.directory("certificates");
    let script = "set -e; cd \"$1\"
        openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=plyfs-test -keyout ca.pem -out ca.crt
        openssl req -newkey rsa:2048 -nodes -subj /CN=registry -keyout server.pem -out server.csr
        printf 'subjectAltName=IP:127.0.0.1\\nbasicConstraints=CA:FALSE\\n' >extensions
        openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.pem -days 2 -extfile extensions -out server.pub
        openssl req -newkey rsa:2048 -nodes -subj /CN=client -keyout client.key -out client.csr
        printf 'basicConstraints=CA:FALSE\\n' >extensions
        openssl x509 -req -in client.csr -CA ca.crt -CAkey ca.pem -days 2 -extfile extensions -out client.cert";
    run("sh", &["-c", script, "sh", folder.to_str().unwrap()]);
    folder
}

#[test]
fn a_registry_with_tls_is_believed_by_its_roots_and_asks_who_we_are() {
    let place = Place::new();
    if !has(&["docker-registry", "openssl"], "TLS") {
        return;
    }
    let folder = certificates(&place);
    let file = |name: &str| folder.join(name).display().to_string();
    let http = format!(
        "  tls:\n    certificate: {}\n    key: {}\n    clientcas: [{}]\n",
        file("server.pub"),
        file("server.pem"),
        file("ca.crt")
    );
    let registry = Registry::start(&place, &http, "");
    let name = format!("{}/app:1", registry.address);
    load(&place, &name);
    let chosen = folder.to_str().unwrap();
    place.plyfs(&["push", "-q", "--cert-dir", chosen, &name]);
    place.plyfs(&["rmi", "-f", &name]);
    place.plyfs(&["pull", "-q", "--cert-dir", chosen, &name]);
    super::assert_whole(&place, &name);

    let stranger = place.directory("stranger");
    fs::copy(folder.join("ca.crt"), stranger.join("ca.crt")).unwrap();
    let output = place.run(&["pull", "--cert-dir", stranger.to_str().unwrap(), &name]);
    assert!(!output.status.success(), "a client certificate is asked for");
    let output = place.run(&["pull", "--tls-verify", &name]);
    assert!(said(&output).contains("invalid peer certificate"), "{}", said(&output));
}

#[test]
fn a_registry_with_passwords_lets_in_who_has_one() {
    let place = Place::new();
    if !has(&["docker-registry", "htpasswd"], "passwords") {
        return;
    }
    let users = place.path("users");
    fs::write(&users, run("htpasswd", &["-Bbn", "me", "secret"]).stdout).unwrap();
    let settings = format!("auth:\n  htpasswd: {{realm: here, path: {}}}\n", users.display());
    let registry = Registry::start(&place, "", &settings);
    let name = format!("{}/app:1", registry.address);
    load(&place, &name);
    let output = place.run(&["push", &name]);
    let hint = format!("hint: run `plyfs login {}`\n", registry.address);
    assert!(said(&output).ends_with(&hint), "{}", said(&output));
    place.plyfs(&["push", "-q", "--creds", "me:secret", &name]);
    let logins = place.path("logins.json");
    let words =
        ["login", "-u", "me", "-p", "secret", "--authfile", logins.to_str().unwrap(), &registry.address];
    assert_eq!(place.plyfs(&words), "Login Succeeded\n");
    place.plyfs(&["rmi", "-f", &name]);
    place.plyfs(&["pull", "-q", "--authfile", logins.to_str().unwrap(), &name]);
    super::assert_whole(&place, &name);
}

#[test]
fn a_registry_with_a_token_server_lets_in_whom_that_knows() {
    let place = Place::new();
    if !has(&["docker-registry", "openssl", "python3"], "tokens") {
        return;
    }
    let folder = certificates(&place);
    let port = free_port();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/outside/token-server");
    let mut server = Command::new("python3");
    server.arg(script).arg(port.to_string()).arg(&folder).stdout(Stdio::null()).stderr(Stdio::null());
    let _server = Running(server.spawn().unwrap());
    let address = format!("127.0.0.1:{port}");
    wait_for(&address);
    let settings = format!(
        "auth:\n  token: {{realm: 'http://{address}/token', service: here, issuer: plyfs-test, rootcertbundle: {}}}\n",
        folder.join("ca.crt").display()
    );
    let registry = Registry::start(&place, "", &settings);
    let (first, second) = (format!("{}/first:1", registry.address), format!("{}/second:1", registry.address));
    load(&place, &first);
    assert!(said(&place.run(&["push", &first])).contains("401 from"));
    place.plyfs(&["push", "-q", "--creds", "me:secret", &first]);
    place.plyfs(&["tag", &first, &second]);
    let pushed = place.plyfs(&["push", "--creds", "me:secret", &second]);
    assert_eq!(pushed.matches(": Mounted from first\n").count(), 3, "{pushed}");
    let other = Place::new();
    other.plyfs(&["pull", "-q", "--creds", "me:secret", &second]);
    super::assert_whole(&other, &second);
    other.plyfs(&["delete", "--creds", "me:secret", &format!("docker://{second}")]);
}

/// What a proxy does to a connection once some bytes of the answer went through.
#[derive(Clone, Copy, Debug)]
enum Mischief {
    Cut,
    Delay,
    Flip,
    /// Ends as if all were said.
    Truncate,
}

/// Passes connections on; every other one is met with mischief after `after` bytes.
fn proxy(to: String, mischief: Mischief, after: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for (number, near) in listener.incoming().flatten().enumerate() {
            let Ok(far) = TcpStream::connect(&to) else { return };
            let (mut up, mut down) = (near.try_clone().unwrap(), far.try_clone().unwrap());
            thread::spawn(move || std::io::copy(&mut up, &mut down));
            let mischief = (number % 2 == 0).then_some(mischief);
            thread::spawn(move || pass(far, near, mischief, after));
        }
    });
    address
}

fn pass(mut from: TcpStream, mut to: TcpStream, mischief: Option<Mischief>, after: usize) {
    let (mut buffer, mut passed) = (vec![0; 8192], 0);
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let due = passed <= after && after < passed + count;
        match mischief.filter(|_| due) {
            Some(Mischief::Cut | Mischief::Truncate) => {
                let _ = to.write_all(&buffer[..after - passed]);
                break;
            }
            Some(Mischief::Delay) => thread::sleep(Duration::from_millis(300)),
            Some(Mischief::Flip) => buffer[after - passed] ^= 1,
            None => {}
        }
        passed += count;
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

#[test]
fn through_a_proxy_that_cuts_delays_corrupts_and_truncates_nothing_wrong_is_kept() {
    let place = Place::new();
    if !has(&["docker-registry"], "a bad proxy") {
        return;
    }
    let registry = Registry::start(&place, "", "");
    let name = format!("{}/app:1", registry.address);
    load(&place, &name);
    place.plyfs(&["push", "-q", &name]);
    for mischief in [Mischief::Cut, Mischief::Delay, Mischief::Flip, Mischief::Truncate] {
        for after in [10, 2_000, 100_000, 290_000] {
            let address = proxy(registry.address.clone(), mischief, after);
            let other = Place::new();
            let through = format!("{address}/app:1");
            let output = super::pull(&other, &through);
            crate::support::place::check_store(&other.store());
            match output.status.success() {
                true => super::assert_whole(&other, &through),
                false => {
                    assert!(
                        said(&output).contains("plyfs: pulling "),
                        "{mischief:?} {after}: {}",
                        said(&output)
                    );
                    assert_eq!(other.plyfs(&["images", "-q"]), "");
                }
            }
            let is_patient =
                matches!(mischief, Mischief::Delay) || (matches!(mischief, Mischief::Cut) && after > 10);
            assert!(output.status.success() || !is_patient, "{mischief:?} {after}: {}", said(&output));
        }
    }
    assert_eq!(names(&place.store().join("plyfs/partial")), Vec::<String>::new());
}
