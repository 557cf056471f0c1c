//! Copying up: an object of the lower side, and first the directories above it, get their place in the upper.

use std::fs::File;
use std::os::fd::AsFd;
use std::sync::Arc;

use super::held::Held;
use super::nodes::{NameBytes, Nodes, Place};
use super::upper::{self, Alias, At, Data, Dir, New, Origin, Original, Over, Reader, Times, What};
use super::{Errno, Error, NodeId, Overlay, Result, fault};
use crate::layer::Kind;
use crate::lower::{Below, Located, Pairs, Stat};
use crate::stats::{self, Counter};
use crate::sys::namespace::has_one_id;
use crate::union::{IdMap, Ids};

/// How much of a file is wanted in the upper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    All,
    /// What is about to be written, wherever that is.
    Blocks,
    /// Its content can stay where it is.
    Attributes,
    /// It is about to be truncated.
    Nothing,
}

impl Wanted {
    /// For a new size, if there is one.
    pub fn for_size(size: Option<u64>) -> Self {
        match size {
            None => Self::Attributes,
            Some(0) => Self::Nothing,
            Some(_) => Self::All,
        }
    }

    /// Of what can't be read later.
    fn at_once(self) -> Self {
        if self == Self::Nothing { self } else { Self::All }
    }
}

/// What there is to do for one node.
enum Plan {
    /// It is done, or its name is now in a directory that has to be copied up before.
    Nothing,
    /// All of its names that show, and the directories they are in.
    Named { names: Vec<(NodeId, NameBytes)>, parents: Vec<Dir>, below: Below },
    /// Its name is gone, and someone has it open.
    Nameless { below: Below },
}

/// A lower object's facts, read before anything is written.
struct Facts {
    stat: Stat,
    xattrs: Pairs,
    target: Vec<u8>,
    located: Option<Located>,
    file: Option<Arc<File>>,
    extents: Option<Vec<(u64, u64)>>,
    /// Its content stays below.
    waits: bool,
}

impl Overlay {
    /// Has a node in the upper, and the directories above it.
    pub(super) fn copy_up(&self, id: NodeId, wanted: Wanted) -> Result<()> {
        self.upper()?;
        loop {
            let chain = self.lower_chain(id)?;
            if chain.is_empty() {
                return self.have_content(id, wanted);
            }
            // Parents first: a child published under a missing parent is lost at the next mount.
            for step in chain {
                self.copy_up_one(step, if step == id { wanted } else { Wanted::All })?;
            }
        }
    }

    /// The nodes from the root down to `id` that are not in the upper.
    fn lower_chain(&self, id: NodeId) -> Result<Vec<NodeId>> {
        let nodes = self.nodes.read();
        let (mut chain, mut at) = (Vec::new(), id);
        while let Place::Lower(_) = nodes.get(at)?.place {
            chain.push(at);
            if nodes.is_removed(at) {
                break;
            }
            at = nodes.parent(at)?;
        }
        chain.reverse();
        Ok(chain)
    }

    fn copy_up_one(&self, id: NodeId, wanted: Wanted) -> Result<()> {
        let _aliases = self.hold_aliases(id)?;
        let copying = self.nodes.read().get(id)?.copying.clone();
        let _alone = copying.lock();
        let plan = self.plan_copy_up(&self.nodes.read(), id)?;
        let (place, names) = match plan {
            Plan::Nothing => return Ok(()),
            Plan::Nameless { below } => (self.copy_nameless(&below, wanted.at_once())?, Vec::new()),
            Plan::Named { names, parents, below } => {
                (self.copy_named(&names, &parents, below, wanted)?, names)
            }
        };
        stats::count(Counter::CopyUps, 1);
        let mut nodes = self.nodes.write();
        // A name that was found meanwhile was not copied: who looks for it again finds the lower file.
        let found: Vec<_> =
            nodes.get(id)?.names.iter().filter(|name| !names.contains(name)).cloned().collect();
        for (parent, name) in found {
            nodes.unname(parent, &name);
        }
        let node = nodes.get_mut(id)?;
        node.place = place;
        // Of the lower file, which is not the one that is written.
        node.reader = None;
        Ok(())
    }

    /// Makes the other names of a hardlink known, and has the directories that hold them in the upper. What was opened
    /// or looked up by one name is what was by another, so none of those may be left with the lower file.
    fn hold_aliases(&self, id: NodeId) -> Result<Vec<Held<'_>>> {
        let (below, known) = {
            let nodes = self.nodes.read();
            let node = nodes.get(id)?;
            match &node.place {
                Place::Lower(below) => (below.clone(), node.names.clone()),
                _ => return Ok(Vec::new()),
            }
        };
        for (parent, _) in known.iter().skip(1) {
            self.copy_up(*parent, Wanted::All)?;
        }
        let stat = below.stat().map_err(fault("copying up"))?;
        if stat.kind == Kind::Directory || stat.links < 2 {
            return Ok(Vec::new());
        }
        let mut kept = Vec::new();
        for path in below.aliases().map_err(fault("looking for a file's other names"))? {
            let Some((_, parents)) = path.split_last() else { continue };
            let Some(way) = self.hold_path(&path)? else { continue };
            if way.last().is_some_and(|last| last.id == id) {
                let parent = way.get(parents.len().wrapping_sub(1)).map_or(NodeId::ROOT, |held| held.id);
                self.copy_up(parent, Wanted::All)?;
                kept.extend(way);
            }
        }
        Ok(kept)
    }

    /// The nodes along a path from the root; `None` where it does not show.
    fn hold_path(&self, path: &[Vec<u8>]) -> Result<Option<Vec<Held<'_>>>> {
        let mut way: Vec<Held<'_>> = Vec::new();
        for name in path {
            match self.hold(way.last().map_or(NodeId::ROOT, |held| held.id), name) {
                Ok(held) => way.push(held),
                Err(Error::Answer(Errno::NOENT | Errno::NOTDIR)) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Ok(Some(way))
    }

    fn plan_copy_up(&self, nodes: &Nodes, id: NodeId) -> Result<Plan> {
        let node = nodes.get(id)?;
        let Place::Lower(below) = &node.place else { return Ok(Plan::Nothing) };
        let below = below.clone();
        let in_upper =
            |parent: &NodeId| nodes.get(*parent).is_ok_and(|node| matches!(node.place, Place::Upper { .. }));
        let names: Vec<_> = node.names.iter().filter(|(parent, _)| in_upper(parent)).cloned().collect();
        match (node.names.is_empty(), names.is_empty()) {
            (true, _) => return Ok(Plan::Nameless { below }),
            (false, true) => return Ok(Plan::Nothing),
            (false, false) => {}
        }
        let parents: Result<Vec<Dir>> =
            names.iter().map(|(parent, _)| self.directory(nodes, *parent)).collect();
        Ok(Plan::Named { names, parents: parents?, below })
    }

    fn copy_named(
        &self,
        names: &[(NodeId, NameBytes)],
        parents: &[Dir],
        below: Below,
        wanted: Wanted,
    ) -> Result<Place> {
        let upper = self.upper()?;
        let facts = self.facts(&below, wanted)?;
        let stays = facts.stat.kind == Kind::Directory || facts.waits;
        let object = facts.with_original(&below, wanted, |original| match (names, parents) {
            ([(_, name)], [parent]) => Ok(upper.copy_up(parent, name, original)?),
            _ => {
                let places = parents.iter().zip(names);
                let aliases: Vec<Alias<'_>> =
                    places.map(|(parent, (_, name))| Alias { parent, name }).collect();
                Ok(upper.copy_up_links(&aliases, original)?)
            }
        })?;
        Ok(Place::Upper { inode: object.stat.number.inode, below: stays.then_some(below) })
    }

    fn facts(&self, below: &Below, wanted: Wanted) -> Result<Facts> {
        let mut facts = Facts::read(below, wanted, |stat| self.may_wait(below, stat.size, wanted))?;
        facts.stat.user = self.owner.user.unwrap_or(facts.stat.user);
        facts.stat.group = self.owner.group.unwrap_or(facts.stat.group);
        Ok(facts)
    }

    /// An open object whose name is gone is copied to one that has none.
    fn copy_nameless(&self, below: &Below, wanted: Wanted) -> Result<Place> {
        let facts = self.facts(below, wanted)?;
        let upper = self.upper()?;
        let file = facts.with_original(below, wanted, |original| {
            let new = New {
                what: original.what,
                permissions: original.permissions,
                user: original.user,
                group: original.group,
                xattrs: original.xattrs,
                over: Over::Nothing,
            };
            let file = upper.temporary(&new)?;
            if original.what == What::File {
                upper.fill_nameless(file.as_fd(), &original.data)?;
            }
            let (accessed, modified) = (Times::Set(original.accessed), Times::Set(original.modified));
            upper.set_times(At::Open(file.as_fd()), accessed, modified)?;
            Ok(file)
        })?;
        let inode = rustix::fs::fstat(&file)?.st_ino;
        Ok(Place::Orphan { inode, file: Arc::new(file), below: None })
    }
}

/// Who owns what is copied up, if not who owned it below: where everything belongs to one, whose files they are on disk
/// matters to nobody, and those of who can give none to another are its own.
#[derive(Default)]
pub(super) struct Owner {
    user: Option<u32>,
    group: Option<u32>,
}

impl Owner {
    pub(super) fn of_copies(ids: &IdMap) -> Result<Self> {
        let is_one = |ids: &Ids| matches!(ids, Ids::All(_));
        let (users, groups) = (is_one(&ids.users), is_one(&ids.groups));
        if !(users || groups) || !has_no_other_id()? {
            return Ok(Self::default());
        }
        Ok(Self {
            user: users.then(|| rustix::process::geteuid().as_raw()),
            group: groups.then(|| rustix::process::getegid().as_raw()),
        })
    }
}

impl Facts {
    fn what(&self) -> What<'_> {
        let (major, minor) = self.stat.device;
        match self.stat.kind {
            Kind::Directory => What::Directory,
            Kind::Symlink => What::Symlink(&self.target),
            Kind::CharDevice => What::CharDevice(major, minor),
            Kind::BlockDevice => What::BlockDevice(major, minor),
            Kind::Fifo => What::Fifo,
            Kind::Socket => What::Socket,
            Kind::File | Kind::Whiteout | Kind::LowerLink => What::File,
        }
    }

    fn read(below: &Below, wanted: Wanted, may_wait: impl FnOnce(&Stat) -> Result<bool>) -> Result<Self> {
        let told = || fault("copying up");
        let stat = below.stat().map_err(told())?;
        let has_content = stat.kind == Kind::File && wanted != Wanted::Nothing && stat.size > 0;
        let waits = has_content && may_wait(&stat)?;
        let is_copied = has_content && !waits;
        let file = if is_copied { below.file().map_err(told())? } else { None };
        let extents = if is_copied && file.is_none() { extents(below, stat.size)? } else { None };
        Ok(Self {
            xattrs: below.xattrs().map_err(told())?,
            target: if stat.kind == Kind::Symlink { below.target().map_err(told())? } else { Vec::new() },
            located: below.located().map_err(told())?,
            file,
            extents,
            waits,
            stat,
        })
    }

    fn with_original<R>(
        &self,
        below: &Below,
        wanted: Wanted,
        copy: impl FnOnce(&Original<'_>) -> Result<R>,
    ) -> Result<R> {
        let stat = &self.stat;
        let read = |offset: u64, length: u32, take: &mut dyn FnMut(&[u8])| {
            below.read(offset, length, take).map_err(Into::into)
        };
        let reader = Reader { size: stat.size, extents: self.extents.as_deref(), read: &read };
        let data = match &self.file {
            _ if wanted == Wanted::Nothing || stat.size == 0 => Data::Empty,
            _ if self.waits => Data::Later { size: stat.size, path: below.path() },
            Some(file) => Data::File(file.as_fd()),
            None => Data::Read(reader),
        };
        copy(&Original {
            what: self.what(),
            data,
            permissions: stat.permissions,
            user: stat.user,
            group: stat.group,
            accessed: stat.accessed,
            modified: stat.modified,
            xattrs: &self.xattrs,
            origin: Origin {
                file_system: stat.number.file_system,
                inode: stat.number.inode,
                object: self
                    .located
                    .as_ref()
                    .map(|at| upper::Located { object: at.object.as_fd(), uuid: at.uuid }),
            },
        })
    }
}

/// Of a plain user, and of root of a namespace in which there is nobody else.
fn has_no_other_id() -> Result<bool> {
    let told =
        |source| Error::Fault { doing: "asking which ids there are".to_owned(), source: Box::new(source) };
    Ok(!rustix::process::geteuid().is_root() || has_one_id().map_err(told)?)
}

/// Where a file has data; `None` for one without holes.
fn extents(below: &Below, size: u64) -> Result<Option<Vec<(u64, u64)>>> {
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(run) = below.data(at).map_err(fault("looking for a file's holes"))? {
        found.push((run.start, run.end - run.start));
        at = run.end;
    }
    Ok((found != [(0, size)]).then_some(found))
}
