//! Which shards come of which, and which worker reads them. There is no I/O here.
//!
//! A shard is read by the worker that read the first of its parents, so that the records of a key stay on one worker while the
//! stream is split and merged. The first known shard of a line is dealt by where its hash keys begin: the same shard to the same
//! worker in every process.

use std::collections::BTreeMap;

use super::api::Shard;

/// The shards of a stream that are known to a worker.
#[derive(Debug)]
pub(super) struct Lineage {
    worker: usize,
    workers: usize,
    shards: BTreeMap<String, Known>,
}

#[derive(Debug)]
struct Known {
    shard: Shard,
    owner: usize,
    /// Whether the stream still has it.
    listed: bool,
}

impl Lineage {
    pub(super) fn new(worker: usize, workers: usize) -> Self {
        Self { worker, workers: workers.max(1), shards: BTreeMap::new() }
    }

    /// Takes a new list of all shards. A shard that is known keeps its worker, also when those it came of have expired.
    pub(super) fn update(&mut self, list: Vec<Shard>) {
        let listed: BTreeMap<String, Shard> = list.into_iter().map(|shard| (shard.id.clone(), shard)).collect();
        let owners: Vec<usize> = listed.values().map(|shard| self.owner_of(shard, &listed)).collect();
        self.shards.values_mut().for_each(|known| known.listed = false);
        for ((id, shard), owner) in listed.into_iter().zip(owners) {
            self.shards.insert(id, Known { shard, owner, listed: true });
        }
    }

    fn owner_of(&self, shard: &Shard, listed: &BTreeMap<String, Shard>) -> usize {
        let mut first = shard;
        // No line is longer than the list, unless it is a circle.
        for _ in 0..=listed.len() {
            if let Some(known) = self.shards.get(&first.id) {
                return known.owner;
            }
            match first.parents.first().and_then(|parent| listed.get(parent)) {
                Some(parent) => first = parent,
                None => break,
            }
        }
        dealt(*first.hash_keys.start(), self.workers)
    }

    /// Returns the worker that reads a shard.
    pub(super) fn owner(&self, id: &str) -> Option<usize> {
        self.shards.get(id).map(|known| known.owner)
    }

    pub(super) fn is_mine(&self, id: &str) -> bool {
        self.owner(id) == Some(self.worker)
    }

    /// Returns a shard that the stream has.
    pub(super) fn listed(&self, id: &str) -> Option<&Shard> {
        self.shards.get(id).filter(|known| known.listed).map(|known| &known.shard)
    }

    /// Returns the shards of this worker that the stream has.
    pub(super) fn mine(&self) -> impl Iterator<Item = &Shard> {
        self.shards.values().filter(|known| known.listed && known.owner == self.worker).map(|known| &known.shard)
    }

    /// Returns the ids of the shards that came of this one.
    pub(super) fn children<'a>(&'a self, id: &'a str) -> impl Iterator<Item = &'a str> {
        let came = move |known: &&Known| known.listed && known.shard.parents.iter().any(|parent| parent == id);
        self.shards.values().filter(came).map(|known| known.shard.id.as_str())
    }
}

/// Returns the worker to which a shard is dealt whose hash keys begin at `start`.
fn dealt(start: u128, workers: usize) -> usize {
    // The upper half is exact enough, and leaves room for the product. A stream of equal shards has rounded beginnings: a bit is
    // added, so that the one at a third is dealt to the second of three workers.
    let start = (start >> 64) + (1 << 32);
    (((start * workers as u128) >> 64) as usize).min(workers - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shard(id: u32, parents: &[u32], start: u128) -> Shard {
        let name = |id: &u32| format!("shardId-{id:012}");
        Shard {
            id: name(&id),
            parents: parents.iter().map(name).collect(),
            hash_keys: start..=u128::MAX,
            closed: false,
        }
    }

    fn id(id: u32) -> String {
        shard(id, &[], 0).id
    }

    const HALF: u128 = 1 << 127;

    #[test]
    fn a_line_stays_on_its_worker_though_its_first_shard_expires() {
        let mut lineage = Lineage::new(0, 2);
        lineage.update(vec![shard(0, &[], 0), shard(1, &[], HALF)]);
        assert!(lineage.is_mine(&id(0)) && lineage.owner(&id(1)) == Some(1));
        // A split, whose upper half would be dealt to the other worker, and a merge over the border.
        lineage.update(vec![shard(0, &[], 0), shard(2, &[0], 0), shard(3, &[0], HALF), shard(4, &[3, 1], HALF)]);
        assert_eq!([2, 3, 4].map(|n| lineage.owner(&id(n))), [Some(0); 3]);
        assert!(lineage.listed(&id(1)).is_none() && lineage.owner(&id(1)) == Some(1));
        lineage.update(vec![shard(3, &[0], HALF), shard(4, &[3, 1], HALF), shard(5, &[4], HALF)]);
        assert_eq!(lineage.owner(&id(5)), Some(0));
        assert_eq!(lineage.children(&id(4)).collect::<Vec<_>>(), [id(5)]);
        assert_eq!(lineage.mine().count(), 3);
    }

    #[test]
    fn shards_are_spread_and_circles_end() {
        for workers in [1, 2, 3, 4, 16] {
            let step = u128::MAX / workers as u128;
            let owners: Vec<usize> = (0..workers).map(|n| dealt(step * n as u128, workers)).collect();
            assert_eq!(owners, (0..workers).collect::<Vec<_>>());
        }
        assert_eq!(dealt(u128::MAX, 7), 6);
        let mut lineage = Lineage::new(0, 2);
        lineage.update(vec![shard(0, &[1], 0), shard(1, &[0], HALF), shard(2, &[2], HALF)]);
        assert!(lineage.owner(&id(0)).is_some());
    }

    proptest! {
        /// However a stream is split and merged, and whenever its list is seen, each shard has one worker: all workers agree.
        #[test]
        fn all_workers_agree(
            steps in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>(), any::<bool>()), 0..30),
            workers in 1..5_usize,
        ) {
            let mut all = vec![shard(0, &[], 0)];
            let mut open = vec![(0_u32, 0_u128, u128::MAX)];
            let mut lineages: Vec<Lineage> = (0..workers).map(|worker| Lineage::new(worker, workers)).collect();
            lineages.iter_mut().for_each(|lineage| lineage.update(all.clone()));
            for (at, split, seen) in steps {
                let at = at.index(open.len());
                let (id, start, end) = open[at];
                let next = all.len() as u32;
                if split && end - start > 2 {
                    let middle = start + (end - start) / 2;
                    all.extend([shard(next, &[id], start), shard(next + 1, &[id], middle)]);
                    open.splice(at..=at, [(next, start, middle - 1), (next + 1, middle, end)]);
                } else if at + 1 < open.len() {
                    let (other, _, end) = open[at + 1];
                    all.push(shard(next, &[id, other], start));
                    open.splice(at..at + 2, [(next, start, end)]);
                }
                // Some workers see each step, and others several at once.
                for lineage in lineages.iter_mut().filter(|lineage| seen || lineage.worker % 2 == 0) {
                    lineage.update(all.clone());
                }
            }
            lineages.iter_mut().for_each(|lineage| lineage.update(all.clone()));
            for shard in &all {
                let owners: Vec<_> = lineages.iter().map(|lineage| lineage.owner(&shard.id)).collect();
                prop_assert!(owners[0].is_some_and(|owner| owner < workers));
                prop_assert!(owners.iter().all(|owner| *owner == owners[0]));
            }
        }
    }
}
