//! The walk: through what an upper has, or through all that a tree has, with what lies below beside it.

use super::super::partial;
use super::super::upper::{Dir, Elsewhere, Entry, Object, View};
use super::super::{Errno, Error, Result};
use super::content::Content;
use super::level::{Level, Step};
use super::{Against, Below, Change, Changed, Diff, Facts, Opaque, Owners, Print, Sides, What};
use crate::layer::Kind;
use crate::layer::write::join;

pub(super) struct Walk<'a> {
    diff: &'a Diff,
    visit: &'a mut dyn FnMut(&Change<'_>) -> Result<()>,
    levels: Vec<Level>,
    print: blake3::Hasher,
}

/// What lies below at a path.
struct Beneath {
    /// What shows there where the upper has nothing.
    through: Option<Below>,
    /// What it is compared with.
    at: Option<Below>,
    was: Option<Facts>,
}

impl<'a> Walk<'a> {
    pub fn new(diff: &'a Diff, visit: &'a mut dyn FnMut(&Change<'_>) -> Result<()>) -> Self {
        Self { diff, visit, levels: Vec::new(), print: blake3::Hasher::new() }
    }

    pub fn run(mut self) -> Result<Print> {
        self.root()?;
        while let Some(level) = self.levels.last_mut() {
            match level.todo.pop() {
                Some((name, step)) => self.step(&name, step)?,
                None => drop(self.levels.pop()),
            }
        }
        Ok(Print(self.print.finalize()))
    }

    fn root(&mut self) -> Result<()> {
        let (level, facts) = match &self.diff.sides {
            Sides::Upper { upper, below, against, .. } => {
                let root = upper.root();
                let Entry::Object(object) = upper.entry(&root, b".")? else {
                    return Err(Errno::NOTDIR.into());
                };
                self.note(b"", &object);
                let was = below.as_ref().map(Facts::of_lower).transpose()?;
                let facts = self.facts(upper, (&root, b"."), &object, was.as_ref())?;
                let through = below.clone().filter(|_| !object.opaque);
                let is_compared = *against == Against::Below;
                let at = below.clone().filter(|_| is_compared);
                let level = Level::new(Vec::new(), Some(root), through, at);
                (Level { is_shared: is_compared && !object.opaque, ..level }, facts)
            }
            Sides::Trees { before, after } => {
                let level = Level::new(Vec::new(), None, Some(after.clone()), before.clone());
                (level, self.told(Facts::of_lower(after)?))
            }
        };
        let was = level.at.as_ref().map(Facts::of_lower).transpose()?;
        // What is not told now is not told for what is in it either: there always is a root.
        if was.as_ref() != Some(&facts) {
            self.tell_object(b"", &facts, Content::None, was.as_ref())?;
        }
        self.enter(level)
    }

    fn step(&mut self, name: &[u8], step: Step) -> Result<()> {
        let Some(level) = self.levels.last() else { return Ok(()) };
        let path = join(&level.path, name);
        let stepped = match step {
            Step::Deleted(facts) => self.tell(&Change { path: &path, what: What::Deleted(&facts) }),
            Step::Shown => self.shown(&path, name),
        };
        stepped.map_err(|error| at(error, &path))
    }

    fn shown(&mut self, path: &[u8], name: &[u8]) -> Result<()> {
        let Some(level) = self.levels.last() else { return Ok(()) };
        let at = level.at(name)?;
        let through = if level.is_shared { at.clone() } else { level.through(name)? };
        let was = at.as_ref().map(Facts::of_lower).transpose()?;
        let beneath = Beneath { through, at, was };
        let is_shared = level.is_shared;
        let (Some(directory), Sides::Upper { upper, .. }) = (level.upper.clone(), &self.diff.sides) else {
            return self.in_lower(path, beneath);
        };
        match upper.entry(&directory, name)? {
            Entry::Object(object) => {
                self.note(path, &object);
                self.in_upper(path, upper, (&directory, name), &object, beneath)
            }
            Entry::Absent if !is_shared => self.in_lower(path, beneath),
            // It went away since it was listed.
            Entry::Absent | Entry::Whiteout => Ok(()),
        }
    }

    fn in_upper(
        &mut self,
        path: &[u8],
        view: &View,
        (directory, name): (&Dir, &[u8]),
        object: &Object,
        beneath: Beneath,
    ) -> Result<()> {
        let Beneath { mut through, at, was } = beneath;
        if let Some(redirect) = &object.redirect {
            through = self.redirected(redirect)?;
        }
        let facts = match (&through, object.implicit) {
            (Some(through), true) => self.told(Facts::of_lower(through)?),
            _ => {
                let replaced = self.replaced(was.as_ref(), through.as_ref())?;
                self.facts(view, (directory, name), object, replaced.as_ref())?
            }
        };
        if facts.kind != Kind::Directory {
            let (inode, lacking) = (object.stat.number.inode, self.lacking(object)?);
            let content = match &lacking {
                None => Content::Upper { view, directory, name, inode },
                Some(below) => Content::Partial { view, directory, name, inode, below },
            };
            return self.leaf(path, &facts, content, at.as_ref().zip(was.as_ref()));
        }
        let opened = view.open_dir(directory, name)?;
        let level = Level::new(path.to_vec(), Some(opened), through.filter(|_| !object.opaque), at);
        let is_shared = self.levels.last().is_some_and(|level| level.is_shared)
            && !object.opaque
            && object.redirect.is_none();
        self.directory(Level { is_shared, ..level }, facts, was.as_ref())
    }

    /// What a tree shows, or a directory of the upper that shows another one of the lower side.
    fn in_lower(&mut self, path: &[u8], beneath: Beneath) -> Result<()> {
        let Beneath { through: Some(through), at, was } = beneath else { return Ok(()) };
        let facts = self.told(Facts::of_lower(&through)?);
        match facts.kind {
            Kind::Directory => {
                self.directory(Level::new(path.to_vec(), None, Some(through), at), facts, was.as_ref())
            }
            _ => self.leaf(path, &facts, Content::Below(&through), at.as_ref().zip(was.as_ref())),
        }
    }

    /// Anything but a directory. One that may have got other names is told whatever it was, so that its names stay
    /// together.
    fn leaf(
        &mut self,
        path: &[u8],
        facts: &Facts,
        content: Content<'_>,
        before: Option<(&Below, &Facts)>,
    ) -> Result<()> {
        if let Some((below, was)) = before
            && was == facts
            && (facts.links < 2 || content.is_named_as(below)?)
            && (facts.kind != Kind::File || content.is_same_as(below, facts.size)?)
        {
            return Ok(());
        }
        self.tell_object(path, facts, content, before.map(|(_, was)| was))
    }

    fn tell_object(
        &mut self,
        path: &[u8],
        facts: &Facts,
        content: Content<'_>,
        was: Option<&Facts>,
    ) -> Result<()> {
        let changed = Changed { facts, content };
        let what = if was.is_some() { What::Changed(changed) } else { What::Added(changed) };
        self.tell(&Change { path, what })
    }

    fn directory(&mut self, mut level: Level, facts: Facts, was: Option<&Facts>) -> Result<()> {
        if was == Some(&facts) {
            level.untold = Some(facts);
        } else {
            self.tell_object(&level.path, &facts, Content::None, was)?;
        }
        self.enter(level)
    }

    fn enter(&mut self, mut level: Level) -> Result<()> {
        level.keep_directories()?;
        let is_emptied = self.diff.opaque == Opaque::Marker && !level.is_shared && level.at.is_some();
        if is_emptied {
            level.at = None;
        }
        let path = level.path.clone();
        match &self.diff.sides {
            Sides::Upper { upper, .. } => level.list(Some(upper), &mut self.print),
            Sides::Trees { .. } => level.list(None, &mut self.print),
        }
        .map_err(|error| at(error, &path))?;
        self.levels.push(level);
        match is_emptied {
            true => self.tell(&Change { path: &path, what: What::Emptied }),
            false => Ok(()),
        }
    }

    /// Tells a change, and first of the directories above that differ in nothing else.
    fn tell(&mut self, change: &Change<'_>) -> Result<()> {
        for level in &mut self.levels {
            if let Some(facts) = level.untold.take() {
                let what = What::Changed(Changed { facts: &facts, content: Content::None });
                (self.visit)(&Change { path: &level.path, what })?;
            }
        }
        (self.visit)(change)
    }

    fn facts(
        &self,
        view: &View,
        (directory, name): (&Dir, &[u8]),
        object: &Object,
        was: Option<&Facts>,
    ) -> Result<Facts> {
        let mut facts = Facts::of_upper(view, directory, name, object)?;
        if let Owners::Lost(own) = self.diff.owners {
            if facts.user != own {
                return Err(foreign(facts.user));
            }
            let kept = was.filter(|was| was.kind == facts.kind);
            (facts.user, facts.group) = kept.map_or((0, 0), |was| (was.user, was.group));
        }
        Ok(self.told(facts))
    }

    /// What an object of the upper stands in the place of, which may have an owner that it keeps.
    fn replaced(&self, was: Option<&Facts>, through: Option<&Below>) -> Result<Option<Facts>> {
        match &self.diff.sides {
            Sides::Upper { against: Against::Nothing, .. } => through.map(Facts::of_lower).transpose(),
            _ => Ok(was.cloned()),
        }
    }

    /// Facts as they are told.
    fn told(&self, mut facts: Facts) -> Facts {
        if let Some(latest) = self.diff.latest {
            facts.modified = facts.modified.min(latest);
        }
        facts
    }

    /// The lower file that has what a file of the upper lacks.
    fn lacking(&self, object: &Object) -> Result<Option<Below>> {
        let beside = |name: &[u8]| self.levels.last().map_or(Ok(None), |level| level.through(name));
        match (&object.unfilled, &self.diff.sides) {
            (None, _) => Ok(None),
            (Some(unfilled), Sides::Upper { below: Some(below), follows: true, .. }) => {
                partial::content(below, unfilled, beside)?.map(Some).ok_or(Errno::PERM.into())
            }
            (Some(_), _) => Err(Errno::PERM.into()),
        }
    }

    /// The lower directory that a redirect of the kernel's leads to.
    fn redirected(&self, redirect: &Elsewhere) -> Result<Option<Below>> {
        let Sides::Upper { below: Some(below), follows: true, .. } = &self.diff.sides else {
            return Err(Errno::PERM.into());
        };
        partial::moved_from(below, redirect, self.levels.last().and_then(|level| level.through.as_ref()))
    }

    fn note(&mut self, path: &[u8], object: &Object) {
        let stat = &object.stat;
        let seen = format!("\0{} {} {:?}\0", stat.number.inode, stat.size, stat.changed);
        self.print.update(path).update(seen.as_bytes());
    }
}

fn foreign(user: u32) -> Error {
    Error::Fault {
        doing: format!("it belongs to user {user}"),
        source: "an upper that was written to in `plyfs unshare` is read there".into(),
    }
}

/// Names the object, where that was not done.
fn at(error: Error, path: &[u8]) -> Error {
    let shown = format!("/{}", path.escape_ascii());
    match error {
        Error::Answer(errno) => Error::Fault { doing: shown, source: Box::new(errno) },
        Error::Fault { doing, source } if doing.starts_with('/') => Error::Fault { doing, source },
        Error::Fault { doing, source } => Error::Fault { doing: format!("{shown}: {doing}"), source },
    }
}
