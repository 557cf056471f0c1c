//! Several commands in one store at once: whoever comes first, no image loses a blob and nothing is left of one that went.

use std::fs;
use std::process::Child;

use crate::support::fixture::Fixture;
use crate::support::place::{Place, check_store, names};
use crate::support::server::Server;

const SHARED: &str = "layer gzip\nfile shared size=300000\n";

/// How often each play is played: a change is tried with fewer than a release.
fn rounds() -> u32 {
    std::env::var("PLYFS_ROUNDS").map_or(100, |text| text.parse().expect("PLYFS_ROUNDS is a number"))
}

/// Two images that share a layer, each with one of its own, and the words that bring them.
struct Stage {
    place: Place,
    bring: [Vec<String>; 2],
    /// Their names in the store.
    names: [String; 2],
    can_mount: bool,
    _registry: Option<Server>,
}

fn text(name: &str) -> String {
    format!("name {name}:1\n{SHARED}layer zstd\nfile {name} size=200000\n")
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

impl Stage {
    fn of_archives() -> Self {
        let place = Place::new();
        let bring = ["one", "two"].map(|name| {
            let archive = place.image(&format!("{name}.tar"), &text(name));
            owned(&["load", "-q", "-i", archive.to_str().unwrap()])
        });
        Self::new(place, bring, ["one:1", "two:1"].map(str::to_owned), None)
    }

    fn of_a_registry() -> Self {
        let (place, registry) = (Place::new(), Server::plain());
        let names = ["one", "two"].map(|name| {
            let layout = place.path(&format!("{name}.layout"));
            Fixture::parse(&text(name)).unwrap().oci_layout(&layout).unwrap();
            registry.stock(&layout, name, "1");
            format!("{}/{name}:1", registry.address)
        });
        let bring = names.each_ref().map(|name| owned(&["pull", "-q", name]));
        Self::new(place, bring, names, Some(registry))
    }

    fn new(place: Place, bring: [Vec<String>; 2], names: [String; 2], registry: Option<Server>) -> Self {
        fs::create_dir(place.path("mnt")).unwrap();
        let can_mount = place.can_mount("a mount while images come and go");
        Self { place, bring, names, can_mount, _registry: registry }
    }

    /// Without FUSE, something else that reads all of the image.
    fn look(&self) -> Child {
        let mnt = self.place.path("mnt");
        match self.can_mount {
            true => self.place.start(&["mount", &self.names[0], mnt.to_str().unwrap()]),
            false => self.place.start(&["cp", &format!("{}:/", self.names[0]), "-"]),
        }
    }

    /// Both images brought, a prune, a removal and a mount at once, the prune first, amid or last by turns. Tells whether
    /// the image was there to be mounted.
    fn play(&self, round: u32) -> bool {
        let mut brought: Vec<Child> = self.bring.iter().map(|words| self.place.start(words)).collect();
        std::thread::sleep(std::time::Duration::from_millis(u64::from(round % 8) * 3));
        let mut prune = self.place.start(&["image", "prune", "--all", "--force"]);
        let mut look = self.look();
        let mut remove = self.place.start(&["rmi", "--force", &self.names[1]]);
        let are_here = brought.iter_mut().all(|child| child.wait().unwrap().success());
        assert!(are_here, "round {round}: an image did not come");
        assert!(prune.wait().unwrap().success(), "round {round}: the prune failed");
        let looked = look.wait().unwrap().success();
        remove.wait().unwrap();
        if looked && self.can_mount {
            self.check_mount(round);
        }
        self.check_store(round);
        looked
    }

    /// What is mounted can be read to its end, whatever has been removed, and mounted again.
    fn check_mount(&self, round: u32) {
        let mnt = self.place.path("mnt");
        let sizes = ["one", "shared"].map(|name| fs::read(mnt.join(name)).unwrap().len());
        assert_eq!(sizes, [200_000, 300_000], "round {round}");
        self.place.plyfs(&["image", "prune", "--all", "--force"]);
        let layers = names(&self.place.store().join("plyfs/indexes"));
        assert_eq!(layers.len(), 2, "round {round}: what is mounted was removed");
        self.place.plyfs(&["umount".as_ref(), mnt.as_os_str()]);
    }

    fn check_store(&self, round: u32) {
        let store = self.place.store();
        check_store(&store);
        let blobs = names(&store.join("blobs/sha256"));
        let indexes = names(&store.join("plyfs/indexes"));
        assert!(indexes.iter().all(|index| blobs.contains(index)), "round {round}: an index is of no blob");
        assert_eq!(names(&store.join("plyfs/leases")), Vec::<String>::new(), "round {round}");
    }
}

fn play(stage: &Stage) {
    let rounds = rounds();
    let looks = (0..rounds).filter(|round| stage.play(*round)).count();
    assert!(looks >= rounds as usize / 10, "of {rounds} mounts {looks} found the image there");
    stage.place.plyfs(&["image", "prune", "--all", "--force"]);
    for directory in ["blobs/sha256", "plyfs/indexes", "plyfs/trees", "plyfs/partial"] {
        assert_eq!(names(&stage.place.store().join(directory)), Vec::<String>::new(), "{directory}");
    }
}

#[test]
fn two_loads_a_removal_a_mount_and_a_prune_at_once_lose_nothing_and_leave_nothing() {
    play(&Stage::of_archives());
}

#[test]
fn two_pulls_a_removal_a_mount_and_a_prune_at_once_lose_nothing_and_leave_nothing() {
    play(&Stage::of_a_registry());
}
