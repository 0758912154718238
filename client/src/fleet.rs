//! All workers of one client: which of them takes the next job. Knows load and
//! placement; knows nothing of how a job runs.

use crate::holders::Holders;
use crate::link::{Address, Introduction, Link, Place, State};
use crate::serve::Files;
use crate::traffic::Traffic;
use crate::tree::{Tree, WorkerKey};
use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// The workers.
pub struct Fleet {
    links: RefCell<Vec<Rc<Link>>>,
    introduction: Rc<Introduction>,
    tree: Arc<Tree>,
    traffic: Rc<Traffic>,
    /// Who has which content.
    pub holders: Rc<Holders>,
    /// Somebody came up, went down or freed a slot.
    changed: Rc<Notify>,
    /// Which worker ran the last job of a directory: its mirror is warm there.
    homes: RefCell<HashMap<PathBuf, WorkerKey>>,
}

/// Nobody can take the job.
#[derive(Debug, thiserror::Error)]
#[error("no worker can be reached ({0})")]
pub struct Unreachable(String);

impl Fleet {
    /// A fleet without workers.
    pub fn new(introduction: Introduction, tree: Arc<Tree>, traffic: Rc<Traffic>) -> Rc<Self> {
        Rc::new(Self {
            links: RefCell::default(),
            introduction: Rc::new(introduction),
            tree,
            traffic,
            holders: Rc::default(),
            changed: Rc::default(),
            homes: RefCell::default(),
        })
    }

    /// Adds the workers that are not known yet and begins to dial them. Within `grace` a
    /// worker that never answered yet is waited for.
    pub fn enlist(&self, addresses: &[Address], grace: Duration) {
        for address in addresses {
            let mut links = self.links.borrow_mut();
            if links.iter().any(|link| link.address == *address) {
                continue;
            }
            let key = WorkerKey(links.len() as u32);
            let traffic = Traffic::part_of(&self.traffic);
            let link = Link::new(address.clone(), key, grace, traffic.clone());
            let files = Rc::new(Files::new(self.tree.clone(), key, traffic, self.holders.clone()));
            tokio::task::spawn_local(
                link.clone()
                    .keep(self.introduction.clone(), files, self.changed.clone()),
            );
            links.push(link);
        }
    }

    /// The workers, in the order of their keys.
    pub fn links(&self) -> Vec<Rc<Link>> {
        self.links.borrow().clone()
    }

    /// Waits for a free slot: on the worker that knows the directory, if its load is
    /// not above the least; else on the least loaded. `avoid` failed this job already.
    pub async fn place(&self, cwd: &Path, avoid: &[WorkerKey]) -> Result<Place, Unreachable> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let able: Vec<_> = self
                .links()
                .into_iter()
                .filter(|link| !avoid.contains(&link.key))
                .collect();
            if let Some(place) = self.best(cwd, &able).and_then(|link| link.take(&self.changed)) {
                self.homes.borrow_mut().insert(cwd.to_path_buf(), place.link().key);
                return Ok(place);
            }
            if able.iter().all(|link| matches!(link.state(), State::Down(_))) {
                return Err(Unreachable(why(&able)));
            }
            changed.await;
        }
    }

    fn best(&self, cwd: &Path, able: &[Rc<Link>]) -> Option<Rc<Link>> {
        let home = self.homes.borrow().get(cwd).copied();
        able.iter()
            .filter_map(|link| Some((link.load()?, home != Some(link.key), link)))
            .min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)))
            .map(|(_, _, link)| link.clone())
    }
}

/// The workers' own words, the first three.
fn why(links: &[Rc<Link>]) -> String {
    let reasons: Vec<_> = links
        .iter()
        .take(3)
        .filter_map(|link| match link.state() {
            State::Down(why) => Some(format!("{}: {why}", link.address)),
            State::Dialling | State::Up(_) => None,
        })
        .collect();
    if reasons.is_empty() {
        "none is left".into()
    } else {
        reasons.join("; ")
    }
}
