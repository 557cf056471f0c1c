//! Several commands in one store at once: whoever comes first, no image loses a blob and nothing is left of one that went.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;

use crate::support::place::{Place, check_store, names};

const SHARED: &str = "layer gzip\nfile shared size=300000\n";

/// Two images that share a layer, and what each has of its own.
struct Stage {
    place: Place,
    archives: [PathBuf; 2],
    can_mount: bool,
}

impl Stage {
    fn new() -> Self {
        let place = Place::new();
        let archive = |name: &str| {
            let layers = format!("name {name}:1\n{SHARED}layer zstd\nfile {name} size=200000\n");
            place.image(&format!("{name}.tar"), &layers)
        };
        let archives = ["one", "two"].map(archive);
        fs::create_dir(place.path("mnt")).unwrap();
        let can_mount = place.can_mount("a mount while images come and go");
        Self { place, archives, can_mount }
    }

    fn load(&self, archive: &Path) -> Child {
        self.place.start(&["load".as_ref(), "-q".as_ref(), "-i".as_ref(), archive.as_os_str()])
    }

    /// Without FUSE, something else that reads all of the image.
    fn look(&self) -> Child {
        let mnt = self.place.path("mnt");
        match self.can_mount {
            true => self.place.start(&["mount".as_ref(), "one:1".as_ref(), mnt.as_os_str()]),
            false => self.place.start(&["cp", "one:1:/", "-"]),
        }
    }

    /// Two loads, a prune, a removal and a mount at once, the prune first, amid or last by turns. Tells whether the
    /// image was there to be mounted.
    fn play(&self, round: u32) -> bool {
        let mut loads: Vec<Child> = self.archives.iter().map(|archive| self.load(archive)).collect();
        std::thread::sleep(std::time::Duration::from_millis(u64::from(round % 8) * 3));
        let mut prune = self.place.start(&["image", "prune", "--all", "--force"]);
        let mut look = self.look();
        let mut remove = self.place.start(&["rmi", "--force", "two:1"]);
        assert!(loads.iter_mut().all(|load| load.wait().unwrap().success()), "round {round}: a load failed");
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

#[test]
fn two_loads_a_removal_a_mount_and_a_prune_at_once_lose_nothing_and_leave_nothing() {
    let stage = Stage::new();
    let looks = (0..200).filter(|round| stage.play(*round)).count();
    assert!((20..200).contains(&looks), "of 200 mounts {looks} found the image there");
    stage.place.plyfs(&["image", "prune", "--all", "--force"]);
    for directory in ["blobs/sha256", "plyfs/indexes", "plyfs/trees"] {
        assert_eq!(names(&stage.place.store().join(directory)), Vec::<String>::new(), "{directory}");
    }
}
