//! A directory that is being walked: what the upper has in it, what shows through, and what the lower side has at the
//! same path. The last two are one, unless the directory was moved or hides what is below.

use std::collections::BTreeMap;

use super::super::upper::{Dir, Shown, View};
use super::{Below, Facts, Result, below_fault, look};
use crate::layer::Kind;

pub(super) struct Level {
    pub path: Vec<u8>,
    /// None where only the lower side shows.
    pub upper: Option<Dir>,
    pub through: Option<Below>,
    pub at: Option<Below>,
    /// What shows through is what is at the path, so that what the upper does not have is no change.
    pub is_shared: bool,
    /// Of a directory that differs in nothing, until something in it does.
    pub untold: Option<Facts>,
    /// The last one first.
    pub todo: Vec<(Vec<u8>, Step)>,
}

pub(super) enum Step {
    Deleted(Facts),
    Shown,
}

impl Level {
    pub fn new(path: Vec<u8>, upper: Option<Dir>, through: Option<Below>, at: Option<Below>) -> Self {
        Self { path, upper, through, at, is_shared: false, untold: None, todo: Vec::new() }
    }

    /// What is no directory holds nothing.
    pub fn keep_directories(&mut self) -> Result<()> {
        for side in [&mut self.through, &mut self.at] {
            if let Some(below) = side
                && below.stat().map_err(below_fault)?.kind != Kind::Directory
            {
                *side = None;
            }
        }
        Ok(())
    }

    pub fn at(&self, name: &[u8]) -> Result<Option<Below>> {
        self.at.as_ref().map_or(Ok(None), |at| look(at, name))
    }

    pub fn through(&self, name: &[u8]) -> Result<Option<Below>> {
        self.through.as_ref().map_or(Ok(None), |through| look(through, name))
    }

    /// Finds what there is to do, and notes what is hidden.
    pub fn list(&mut self, view: Option<&View>, print: &mut blake3::Hasher) -> Result<()> {
        let (mut shown, mut hidden) = (BTreeMap::new(), Vec::new());
        let listed = self.upper.as_ref().zip(view).map(|(upper, view)| view.list(upper)).transpose()?;
        for entry in listed.unwrap_or_default() {
            match entry.shown {
                Shown::Object { .. } => drop(shown.insert(entry.name, Step::Shown)),
                Shown::Whiteout => hidden.push(entry.name),
            }
        }
        hidden.sort();
        for name in &hidden {
            print.update(&self.path).update(b"/").update(name).update(b"\0");
        }
        if !self.is_shared {
            let children = self.through.as_ref().map(|through| through.children()).transpose();
            for child in children.map_err(below_fault)?.unwrap_or_default() {
                if hidden.binary_search(&child.name).is_err() {
                    shown.entry(child.name).or_insert(Step::Shown);
                }
            }
            hidden = self.names_at()?;
        }
        let mut deleted = Vec::new();
        for name in hidden.into_iter().filter(|name| !shown.contains_key(name)) {
            if let Some(below) = self.at(&name)? {
                deleted.push((name, Step::Deleted(Facts::of_lower(&below)?)));
            }
        }
        self.todo = shown.into_iter().rev().chain(deleted.into_iter().rev()).collect();
        Ok(())
    }

    fn names_at(&self) -> Result<Vec<Vec<u8>>> {
        let children = self.at.as_ref().map(|at| at.children()).transpose().map_err(below_fault)?;
        let mut names: Vec<_> = children.unwrap_or_default().into_iter().map(|child| child.name).collect();
        names.sort();
        Ok(names)
    }
}
