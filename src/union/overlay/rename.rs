//! Renaming. What is moved gets into the upper first; a directory that has a lower one below it, with all it shows.

use super::copy_up::Wanted;
use super::create::check_new_name;
use super::held::Held;
use super::lookup::check_live;
use super::nodes::{NameBytes, Nodes, Place};
use super::upper::{self, Dir, Entry, Moved, Source, Target};
use super::{Errno, Error, Name, NodeId, Overlay, Renaming, Result};
use crate::layer::Kind;

/// A rename, decided.
struct Plan {
    from: Dir,
    to: Dir,
    below: upper::Below,
    moved: Moved,
    target: Target,
    /// What the replaced object becomes.
    orphan: Option<Place>,
}

/// What a rename is about.
#[derive(Clone, Copy)]
struct Asked<'a> {
    from: Name<'a>,
    to: Name<'a>,
    how: Renaming,
    source: NodeId,
    replaced: Option<NodeId>,
}

impl Overlay {
    pub fn rename(&self, from: Name<'_>, to: Name<'_>, how: Renaming) -> Result<()> {
        self.upper()?;
        check_new_name(to.name).map_err(|error| match error.errno() {
            Errno::EXIST => Error::Answer(Errno::BUSY),
            _ => error,
        })?;
        while !self.try_rename(from, to, how)? {}
        Ok(())
    }

    /// `false`: another was quicker, and what was found is no longer so.
    fn try_rename(&self, from: Name<'_>, to: Name<'_>, how: Renaming) -> Result<bool> {
        let source = self.hold(from.parent, from.name)?;
        let replaced = self.hold_if_there(to)?;
        let asked =
            Asked { from, to, how, source: source.id, replaced: replaced.as_ref().map(|held| held.id) };
        if self.check_rename(&asked)? {
            return Ok(true);
        }
        self.prepare(&asked)?;
        let copying = self.copying(&asked)?;
        let _alone: Vec<_> = copying.iter().map(|lock| lock.lock()).collect();
        let mut nodes = self.nodes.write();
        let still = nodes.child(from.parent, from.name) == Some(asked.source)
            && nodes.child(to.parent, to.name) == asked.replaced;
        if still {
            let plan = self.plan_rename(&nodes, &asked)?;
            self.apply_rename(&mut nodes, &asked, plan)?;
        }
        Ok(still)
    }

    fn hold_if_there(&self, at: Name<'_>) -> Result<Option<Held<'_>>> {
        match self.hold(at.parent, at.name) {
            Ok(held) => Ok(Some(held)),
            Err(Error::Answer(Errno::NOENT)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The locks of what is moved and replaced, in their order.
    fn copying(&self, asked: &Asked<'_>) -> Result<Vec<std::sync::Arc<parking_lot::Mutex<()>>>> {
        let mut ids: Vec<NodeId> = [Some(asked.source), asked.replaced].into_iter().flatten().collect();
        ids.sort_by_key(|id| id.number());
        let nodes = self.nodes.read();
        ids.iter().map(|id| Ok(nodes.get(*id)?.copying.clone())).collect()
    }

    /// Whether there is nothing to do; the reasons against it.
    fn check_rename(&self, asked: &Asked<'_>) -> Result<bool> {
        let nodes = self.nodes.read();
        check_live(&nodes, asked.from.parent)?;
        check_live(&nodes, asked.to.parent)?;
        let is_directory = |id| Ok::<_, Error>(nodes.get(id)?.kind == Kind::Directory);
        let moves = is_directory(asked.source)?;
        if moves && is_within(&nodes, asked.source, asked.to.parent)? {
            return Err(Errno::INVAL.into());
        }
        let Some(replaced) = asked.replaced else {
            return if asked.how == Renaming::Exchange { Err(Errno::NOENT.into()) } else { Ok(false) };
        };
        match asked.how {
            Renaming::NoReplace => Err(Errno::EXIST.into()),
            // Two names of one file.
            _ if replaced == asked.source => Ok(true),
            Renaming::Exchange if is_directory(replaced)? => {
                let contains = is_within(&nodes, replaced, asked.from.parent)?;
                if contains { Err(Errno::INVAL.into()) } else { Ok(false) }
            }
            Renaming::Exchange => Ok(false),
            Renaming::Replace => match (moves, is_directory(replaced)?) {
                (true, false) => Err(Errno::NOTDIR.into()),
                (false, true) => Err(Errno::ISDIR.into()),
                (true, true) => self.check_empty(&nodes, replaced).map(|()| false),
                (false, false) => Ok(false),
            },
        }
    }

    /// Gets into the upper what has to be there.
    fn prepare(&self, asked: &Asked<'_>) -> Result<()> {
        self.prepare_moved(asked.source)?;
        if let (Renaming::Exchange, Some(other)) = (asked.how, asked.replaced) {
            self.prepare_moved(other)?;
        }
        self.copy_up(asked.from.parent, Wanted::All)?;
        self.copy_up(asked.to.parent, Wanted::All)
    }

    fn prepare_moved(&self, id: NodeId) -> Result<()> {
        let is_merged = {
            let nodes = self.nodes.read();
            let node = nodes.get(id)?;
            node.kind == Kind::Directory && node.below().is_some()
        };
        if is_merged { self.materialise(id) } else { self.copy_up(id, Wanted::Attributes) }
    }

    fn plan_rename(&self, nodes: &Nodes, asked: &Asked<'_>) -> Result<Plan> {
        check_live(nodes, asked.from.parent)?;
        check_live(nodes, asked.to.parent)?;
        let sides = self.sides(nodes, asked.to.parent, asked.to.name)?;
        let target = match (asked.how, asked.replaced, &sides.upper) {
            (Renaming::Exchange, Some(other), _) => Target::Exchange(self.moved(nodes, other, asked.from)?),
            (_, _, Entry::Whiteout) => Target::Whiteout,
            (_, _, Entry::Absent) => Target::Nothing,
            (_, _, Entry::Object(object)) if object.stat.kind == Kind::Directory => Target::Directory,
            (_, _, Entry::Object(_)) => Target::Other,
        };
        let orphan = match asked.replaced {
            Some(replaced) if asked.how == Renaming::Replace => self.orphan(nodes, asked.to, replaced)?,
            _ => None,
        };
        if target == Target::Directory
            && let Some(replaced) = asked.replaced
        {
            self.check_empty(nodes, replaced)?;
        }
        Ok(Plan {
            from: self.directory(nodes, asked.from.parent)?,
            to: self.directory(nodes, asked.to.parent)?,
            below: self.below(nodes, asked.from)?,
            moved: self.moved(nodes, asked.source, asked.to)?,
            target,
            orphan,
        })
    }

    /// How an object has to be moved to a name.
    fn moved(&self, nodes: &Nodes, id: NodeId, to: Name<'_>) -> Result<Moved> {
        let node = nodes.get(id)?;
        if node.kind != Kind::Directory {
            return Ok(Moved::Other);
        }
        if node.below().is_some() {
            return Ok(Moved::Materialised);
        }
        Ok(match self.below(nodes, to)? {
            upper::Below::Something => Moved::OpaqueDirectory,
            upper::Below::Nothing => Moved::Directory,
        })
    }

    fn apply_rename(&self, nodes: &mut Nodes, asked: &Asked<'_>, plan: Plan) -> Result<()> {
        let source =
            Source { parent: &plan.from, name: asked.from.name, below: plan.below, moved: plan.moved };
        let to = (&plan.to, asked.to.name);
        self.upper()?.rename(&upper::Rename { from: source, to, target: plan.target })?;
        match (asked.how, asked.replaced) {
            (Renaming::Exchange, Some(other)) => {
                nodes.unname(asked.from.parent, asked.from.name);
                nodes.unname(asked.to.parent, asked.to.name);
                nodes.name(other, asked.from.parent, asked.from.name)?;
                self.settle(nodes, other)?;
            }
            (_, Some(replaced)) => {
                nodes.unname(asked.from.parent, asked.from.name);
                self.leave(nodes, asked.to, replaced, plan.orphan);
            }
            (_, None) => drop(nodes.unname(asked.from.parent, asked.from.name)),
        }
        nodes.name(asked.source, asked.to.parent, asked.to.name)?;
        self.settle(nodes, asked.source)?;
        nodes.changed(asked.from.parent);
        nodes.changed(asked.to.parent);
        Ok(())
    }

    /// Nothing lower shows in a directory that was moved, nor in those in it that are where their lower ones were.
    fn settle(&self, nodes: &mut Nodes, moved: NodeId) -> Result<()> {
        let mut waiting = vec![moved];
        while let Some(id) = waiting.pop() {
            let node = nodes.get_mut(id)?;
            if node.anchored && id != moved {
                continue;
            }
            node.anchored = false;
            if let (Kind::Directory, Place::Upper { below, .. }) = (node.kind, &mut node.place) {
                *below = None;
            }
            let children: Vec<(&NameBytes, &NodeId)> = node.children.iter().collect();
            waiting.extend(children.into_iter().map(|(_, id)| *id));
        }
        Ok(())
    }
}

/// Whether `inner` is `outer`, or somewhere in it.
fn is_within(nodes: &Nodes, outer: NodeId, inner: NodeId) -> Result<bool> {
    let mut at = inner;
    while at != outer && at != NodeId::ROOT {
        at = nodes.parent(at)?;
    }
    Ok(at == outer)
}
