//! Listing directories.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use parking_lot::Mutex;

use super::listing::{Listing, Seen};
use super::nodes::{Nodes, Place, compose, upper_number};
use super::upper::Shown;
use super::{Attributes, Errno, Error, Handle, Listed, NodeId, Overlay, Result, fault};
use crate::layer::Kind;

/// The cookies behind `.` and `..`.
const SELF: u64 = 1;
const PARENT: u64 = 2;

impl Overlay {
    pub fn open_directory(&self, node: NodeId) -> Result<Handle> {
        let mut nodes = self.nodes.write();
        nodes.directory(node)?;
        nodes.get_mut(node)?.opens += 1;
        Ok(Handle::new(node.number()))
    }

    pub fn release_directory(&self, handle: Handle) {
        self.release(handle);
    }

    /// Gives `take` the entries from `cookie` on, until it breaks or they end.
    pub fn read_directory(
        &self,
        handle: Handle,
        cookie: u64,
        mut take: impl FnMut(&Listed) -> ControlFlow<()>,
    ) -> Result<()> {
        let id = NodeId::new(handle.number());
        let listing = self.listing(id)?;
        let mut listing = listing.lock();
        self.bring_up_to_date(id, cookie, &mut listing)?;
        let mut cookie = cookie;
        while let Some(listed) = self.next(id, cookie, &listing)? {
            cookie = listed.next;
            if take(&listed).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Counts one lookup for each entry that was taken (`Continue`), `.` and `..` excepted.
    pub fn read_directory_plus(
        &self,
        handle: Handle,
        cookie: u64,
        mut take: impl FnMut(&Listed, &Attributes) -> ControlFlow<()>,
    ) -> Result<()> {
        let id = NodeId::new(handle.number());
        let listing = self.listing(id)?;
        let mut listing = listing.lock();
        self.bring_up_to_date(id, cookie, &mut listing)?;
        let mut cookie = cookie;
        while let Some(listed) = self.next(id, cookie, &listing)? {
            cookie = listed.next;
            let is_dot = cookie <= PARENT;
            let looked_up = if is_dot { self.attributes(listed.node) } else { self.lookup(id, &listed.name) };
            let attributes = match looked_up {
                Ok(attributes) => attributes,
                // Gone since it was listed.
                Err(Error::Answer(Errno::NOENT | Errno::STALE)) => continue,
                Err(error) => return Err(error),
            };
            if take(&listed, &attributes).is_break() {
                if !is_dot {
                    self.forget(attributes.node, 1);
                }
                break;
            }
        }
        Ok(())
    }

    fn listing(&self, id: NodeId) -> Result<Arc<Mutex<Listing>>> {
        let mut nodes = self.nodes.write();
        nodes.directory(id)?;
        Ok(nodes.get_mut(id)?.listing.get_or_insert_default().clone())
    }

    /// A listing from the start sees all that has changed.
    fn bring_up_to_date(&self, id: NodeId, cookie: u64, listing: &mut Listing) -> Result<()> {
        let nodes = self.nodes.read();
        let version = nodes.directory(id)?.version;
        let is_fresh = listing.is_of(version) || (cookie != 0 && listing.was_read());
        if !is_fresh {
            let seen = if nodes.is_removed(id) { Vec::new() } else { self.merged(&nodes, id)? };
            listing.refresh(version, seen);
        }
        Ok(())
    }

    fn next(&self, id: NodeId, cookie: u64, listing: &Listing) -> Result<Option<Listed>> {
        let dot = |node, name: &[u8], next| Listed { node, name: name.to_vec(), kind: Kind::Directory, next };
        Ok(match cookie {
            0 => Some(dot(id, b".", SELF)),
            SELF => Some(dot(self.nodes.read().parent(id)?, b"..", PARENT)),
            _ => listing.after(cookie).map(|(next, seen)| Listed {
                node: seen.node,
                name: seen.name.to_vec(),
                kind: seen.kind,
                next,
            }),
        })
    }

    /// What a directory shows of both sides.
    pub(super) fn merged(&self, nodes: &Nodes, id: NodeId) -> Result<Vec<Seen>> {
        let node = nodes.directory(id)?;
        let (mut seen, mut decided) = (Vec::new(), HashSet::new());
        if let Place::Upper { .. } = node.place {
            for listed in self.upper()?.list(&self.directory(nodes, id)?)? {
                if let Shown::Object { kind, number } = &listed.shown {
                    let number = NodeId::new(upper_number(number, self.home));
                    seen.push(Seen { name: listed.name.as_slice().into(), kind: *kind, node: number });
                }
                decided.insert(listed.name);
            }
        }
        if let Some(below) = node.below() {
            for child in below.children().map_err(fault("listing a directory"))? {
                if !decided.contains(&child.name) {
                    let number = NodeId::new(compose(child.number.file_system, child.number.inode));
                    seen.push(Seen { name: child.name.into(), kind: child.kind, node: number });
                }
            }
        }
        for entry in &mut seen {
            entry.node = nodes.child(id, &entry.name).unwrap_or(entry.node);
        }
        Ok(seen)
    }
}
