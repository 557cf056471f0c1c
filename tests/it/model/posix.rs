//! A file system as POSIX has it, in memory.

use std::collections::BTreeMap;

use plyfs::layer::Kind;
use plyfs::union::Errno;
use plyfs::union::overlay::Renaming;

use super::Operation;
use crate::support::world::{Result, Shown};

/// Paths, and the objects they lead to; several may lead to one.
pub struct Posix {
    names: BTreeMap<String, usize>,
    objects: Vec<Object>,
}

struct Object {
    shown: Shown,
    /// A new object's number is whatever the union gave it, but stays.
    number: Option<u64>,
}

impl Posix {
    pub fn of(tree: &BTreeMap<String, Shown>) -> Self {
        let mut posix = Self { names: BTreeMap::new(), objects: Vec::new() };
        for (path, shown) in tree {
            posix.names.insert(path.clone(), posix.objects.len());
            posix.objects.push(Object { number: Some(shown.number), shown: shown.clone() });
        }
        posix
    }

    pub fn tree(&self) -> BTreeMap<String, Shown> {
        self.names.iter().map(|(path, object)| (path.clone(), self.objects[*object].shown.clone())).collect()
    }

    /// What a path leads to; the root is nothing's object.
    fn find(&self, path: &str) -> Result<usize> {
        self.check_parent(path)?;
        self.names.get(path).copied().ok_or(Errno::NOENT)
    }

    /// That all above a path are directories.
    fn check_parent(&self, path: &str) -> Result<()> {
        for (at, _) in path.match_indices('/') {
            match self.names.get(&path[..at]) {
                None => return Err(Errno::NOENT),
                Some(object) if self.kind(*object) != Kind::Directory => return Err(Errno::NOTDIR),
                Some(_) => {}
            }
        }
        Ok(())
    }

    fn kind(&self, object: usize) -> Kind {
        self.objects[object].shown.kind
    }

    fn check_empty(&self, path: &str) -> Result<()> {
        let below = format!("{path}/");
        let is_empty = !self.names.keys().any(|name| name.starts_with(&below));
        if is_empty { Ok(()) } else { Err(Errno::NOTEMPTY) }
    }

    fn add(&mut self, path: &str, kind: Kind, permissions: u16, data: &[u8]) -> Result<()> {
        self.check_parent(path)?;
        if self.names.contains_key(path) {
            return Err(Errno::EXIST);
        }
        let shown = Shown { kind, permissions, number: 0, data: data.to_vec() };
        self.names.insert(path.to_owned(), self.objects.len());
        self.objects.push(Object { shown, number: None });
        Ok(())
    }

    /// Takes the numbers of new objects from what the union shows.
    pub fn learn(&mut self, tree: &BTreeMap<String, Shown>) {
        for (path, object) in &self.names {
            let object = &mut self.objects[*object];
            if let (None, Some(shown)) = (object.number, tree.get(path)) {
                object.number = Some(shown.number);
                object.shown.number = shown.number;
            }
        }
    }

    fn file(&mut self, path: &str) -> Result<&mut Vec<u8>> {
        let object = self.find(path)?;
        match self.kind(object) {
            Kind::File => Ok(&mut self.objects[object].shown.data),
            Kind::Directory => Err(Errno::ISDIR),
            _ => Err(Errno::INVAL),
        }
    }

    pub fn apply(&mut self, operation: &Operation) -> Result<()> {
        match operation {
            Operation::Create(path) => self.add(path, Kind::File, 0o644, b""),
            Operation::Write(path, offset, data) => {
                let file = self.file(path)?;
                let (start, end) = (*offset as usize, *offset as usize + data.len());
                if !data.is_empty() {
                    file.resize(file.len().max(end), 0);
                    file[start..end].copy_from_slice(data);
                }
                Ok(())
            }
            Operation::Truncate(path, size) => {
                self.file(path)?.resize(*size as usize, 0);
                Ok(())
            }
            Operation::Mkdir(path) => self.add(path, Kind::Directory, 0o755, b""),
            Operation::Symlink(path, target) => self.add(path, Kind::Symlink, 0o777, target.as_bytes()),
            Operation::Link(from, to) => self.link(from, to),
            Operation::Unlink(path) => match self.kind(self.find(path)?) {
                Kind::Directory => Err(Errno::ISDIR),
                _ => self.names.remove(path).map(drop).ok_or(Errno::NOENT),
            },
            Operation::Rmdir(path) => match self.kind(self.find(path)?) {
                Kind::Directory => {
                    self.check_empty(path)?;
                    self.names.remove(path).map(drop).ok_or(Errno::NOENT)
                }
                _ => Err(Errno::NOTDIR),
            },
            Operation::Rename(from, to, how) => self.rename(from, to, *how),
            Operation::Chmod(path, mode) => {
                let object = self.find(path)?;
                if self.kind(object) == Kind::Symlink {
                    return Err(Errno::OPNOTSUPP);
                }
                self.objects[object].shown.permissions = *mode;
                Ok(())
            }
            Operation::Remount => Ok(()),
        }
    }

    fn link(&mut self, from: &str, to: &str) -> Result<()> {
        let object = self.find(from)?;
        self.check_parent(to)?;
        if self.kind(object) == Kind::Directory {
            return Err(Errno::PERM);
        }
        if self.names.contains_key(to) {
            return Err(Errno::EXIST);
        }
        self.names.insert(to.to_owned(), object);
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str, how: Renaming) -> Result<()> {
        self.check_parent(from)?;
        self.check_parent(to)?;
        let source = self.find(from)?;
        let moves = self.kind(source) == Kind::Directory;
        let target = self.names.get(to).copied();
        if moves && (to == from && how != Renaming::NoReplace || to.starts_with(&format!("{from}/"))) {
            return if to == from { Ok(()) } else { Err(Errno::INVAL) };
        }
        match (how, target) {
            (Renaming::Exchange, None) => return Err(Errno::NOENT),
            (Renaming::NoReplace, Some(_)) => return Err(Errno::EXIST),
            (_, Some(target)) if target == source => return Ok(()),
            (Renaming::Exchange, Some(target)) => return self.exchange(from, to, target),
            (Renaming::Replace, Some(target)) => match (moves, self.kind(target) == Kind::Directory) {
                (true, false) => return Err(Errno::NOTDIR),
                (false, true) => return Err(Errno::ISDIR),
                (true, true) => self.check_empty(to)?,
                (false, false) => {}
            },
            (_, None) => {}
        }
        self.names.remove(to);
        let moved = self.take(from);
        self.put(to, moved);
        Ok(())
    }

    fn exchange(&mut self, from: &str, to: &str, target: usize) -> Result<()> {
        if self.kind(target) == Kind::Directory && from.starts_with(&format!("{to}/")) {
            return Err(Errno::INVAL);
        }
        let (one, other) = (self.take(from), self.take(to));
        self.put(to, one);
        self.put(from, other);
        Ok(())
    }

    /// Takes a path and all below it out; what is left of each is what stood behind the path.
    fn take(&mut self, path: &str) -> Vec<(String, usize)> {
        let below = format!("{path}/");
        let is_taken = |name: &String| name == path || name.starts_with(&below);
        let taken: Vec<String> = self.names.keys().filter(|name| is_taken(name)).cloned().collect();
        taken
            .into_iter()
            .filter_map(|name| self.names.remove(&name).map(|object| (name[path.len()..].to_owned(), object)))
            .collect()
    }

    fn put(&mut self, path: &str, taken: Vec<(String, usize)>) {
        self.names.extend(taken.into_iter().map(|(rest, object)| (format!("{path}{rest}"), object)));
    }
}
