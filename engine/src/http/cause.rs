//! Which operator the others wait for.
//!
//! The rule. What can be short is the time of a worker, which all operators share, and the time of the threads or the
//! writer that an operator has beside it. An operator may be the bottleneck for one of two reasons:
//!
//! 1. A worker is full: its operators take nine tenths of its time or more. Of those on it that nothing holds back, the
//!    one that takes the most of it may be the bottleneck, however little that is: a chain may have many small links.
//! 2. It is busy for at least half of the time, while a source before it is held back for at least a tenth of the time.
//!
//! Of these the busiest is the bottleneck. Of several that are about as busy it is the one nearest to the sinks: what is
//! before it may only be unable to hand on its results. The operators before it that are held back wait for it. In a job
//! that keeps up no worker is full and nothing is held back, so none is named.
//!
//! Where there is no such operator and sources are held back all the same, time is not what is short but room: for
//! records in flight, or for state. That is only said where all workers of the job are seen: the operator may be on
//! another.
//!
//! The second reason alone is not enough: a source that shares its worker with a slow operator is not called while that
//! is in its turn, and so it is never found to be held back.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::Serialize;

use crate::metrics::Topology;

/// Share of its time from which on a worker is full.
const FULL: f64 = 0.9;
/// Share of the time from which on an operator is busy.
const BUSY: f64 = 0.5;
/// Share of the time from which on an operator is held back.
const HELD_BACK: f64 = 0.1;
/// Difference of the shares of operators that are about as busy.
const ALIKE: f64 = 0.1;

/// How an operator spent the last seconds on one worker: shares of the time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Share {
    pub(super) worker: usize,
    pub(super) busy: f64,
    /// The part of `busy` in which the worker was in the operator.
    pub(super) in_turn: f64,
    pub(super) backpressured: f64,
}

/// How an operator spent the last seconds, on each worker of the process.
#[derive(Clone, Debug, Default)]
pub(super) struct Load(pub(super) Vec<Share>);

impl Load {
    /// Returns how it spent the time on the worker where it is busiest.
    fn busiest(&self) -> Share {
        self.0.iter().copied().max_by(|a, b| a.busy.total_cmp(&b.busy)).unwrap_or_default()
    }

    fn is_held_back(&self) -> bool {
        self.0.iter().any(|share| share.backpressured >= HELD_BACK)
    }
}

/// The bottleneck of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Cause {
    /// Absent when a limit of the job is the bottleneck.
    pub(super) operator: Option<String>,
    pub(super) sentence: String,
    pub(super) waiting: Vec<String>,
}

/// An operator that may be the bottleneck.
struct Candidate {
    node: usize,
    busy: f64,
    /// The worker that it fills together with others.
    full: Option<usize>,
}

/// What holds sources back besides operators.
#[derive(Clone, Copy)]
pub(super) struct Room {
    /// Number of records in flight from which on they wait.
    pub(super) in_flight: i64,
    /// Whether state has taken more memory than it may.
    pub(super) state_is_full: bool,
}

/// Returns the bottleneck, given the load of each node; `room` where all workers of the job are seen.
pub(super) fn cause(topology: &Topology, loads: &[Load], room: Option<Room>) -> Option<Cause> {
    busiest(topology, loads).or_else(|| no_room(topology, loads, room?))
}

/// Returns the operator that has no time left.
fn busiest(topology: &Topology, loads: &[Load]) -> Option<Cause> {
    let order = from_the_sinks(topology);
    let nothing = Load::default();
    let load = |node: usize| loads.get(node).unwrap_or(&nothing);
    let held_back = |node: usize| -> Vec<usize> {
        upstream(topology, node).into_iter().filter(|before| load(*before).is_held_back()).collect()
    };
    let busy = order.iter().map(|node| Candidate { node: *node, busy: load(*node).busiest().busy, full: None });
    let mut candidates: Vec<Candidate> = fill_workers(loads);
    candidates.extend(busy.filter(|one| one.busy >= BUSY && !held_back(one.node).is_empty()));
    let most = candidates.iter().map(|one| one.busy).reduce(f64::max)?;
    let distance = |node: usize| order.iter().position(|other| *other == node);
    let found = candidates.into_iter().filter(|one| one.busy >= most - ALIKE).min_by_key(|one| distance(one.node))?;
    Some(named(topology, &found, load(found.node), &held_back(found.node)))
}

/// Returns which limit of the job holds sources back, if one does.
fn no_room(topology: &Topology, loads: &[Load], room: Room) -> Option<Cause> {
    let waits_most = |load: &Load| load.0.iter().any(|share| share.backpressured >= BUSY);
    let held_back = topology.nodes.iter().zip(loads).filter(|(_, load)| waits_most(load));
    let waiting: Vec<String> = held_back.map(|(node, _)| node.name.clone()).collect();
    let waits = wait_in_words(&waiting)?;
    let why = if room.state_is_full {
        "state takes all the memory that it may (`state_memory`)".to_owned()
    } else {
        let limit = room.in_flight;
        format!("the limit of records in flight is too low for the time that each takes (`max_in_flight` is {limit})")
    };
    Some(Cause { operator: None, sentence: format!("no operator is busy, and {waits}: {why}"), waiting })
}

/// Returns for each full worker the operator that takes the most of its time.
fn fill_workers(loads: &[Load]) -> Vec<Candidate> {
    let mut workers: BTreeMap<usize, (f64, Option<Candidate>)> = BTreeMap::new();
    for (node, load) in loads.iter().enumerate() {
        for share in &load.0 {
            let (all, largest) = workers.entry(share.worker).or_default();
            *all += share.in_turn;
            let is_larger = largest.as_ref().is_none_or(|largest| share.in_turn > largest.busy);
            if is_larger && share.in_turn > 0.0 && !load.is_held_back() {
                *largest = Some(Candidate { node, busy: share.in_turn, full: Some(share.worker) });
            }
        }
    }
    workers.into_values().filter(|(all, _)| *all >= FULL).filter_map(|(_, largest)| largest).collect()
}

fn named(topology: &Topology, found: &Candidate, load: &Load, waiting: &[usize]) -> Cause {
    let name = |node: usize| topology.nodes.get(node).map(|node| node.name.clone()).unwrap_or_default();
    let (operator, waiting): (_, Vec<String>) = (name(found.node), waiting.iter().map(|node| name(*node)).collect());
    let is_source = topology.edges.iter().all(|edge| edge.to != found.node);
    let waits = match (wait_in_words(&waiting), found.full) {
        (Some(wait), _) => format!("{wait} for it"),
        (None, Some(worker)) if !is_source => format!("it takes the most of worker {worker}, which has no time left"),
        (None, _) => "nothing holds it back".to_owned(),
    };
    let sentence = format!("`{operator}` is the bottleneck ({}); {waits}", busy_in_words(load));
    Cause { operator: Some(operator), sentence, waiting }
}

/// Returns that these operators wait; `None` if there is none.
fn wait_in_words(waiting: &[String]) -> Option<String> {
    match waiting {
        [] => None,
        [one] => Some(format!("`{one}` waits")),
        several => Some(format!("`{}` wait", several.join("`, `"))),
    }
}

/// Returns how busy an operator is, and on which worker if it is busy on one of several.
fn busy_in_words(load: &Load) -> String {
    let percent = |share: f64| share.min(1.0) * 100.0;
    let (most, workers) = (load.busiest(), load.0.len());
    let others = load.0.iter().filter(|share| share.worker != most.worker).map(|share| share.busy);
    match others.reduce(f64::max) {
        Some(other) if other <= most.busy / 2.0 => {
            let (busy, other) = (percent(most.busy), percent(other));
            let others = if workers == 2 { "the other".to_owned() } else { format!("the other {}", workers - 1) };
            format!("busy {busy:.0} % on worker {}, at most {other:.0} % on {others}", most.worker)
        }
        _ => format!("busy {:.0} %, {workers} worker{}", percent(most.busy), if workers == 1 { "" } else { "s" }),
    }
}

/// Returns the nodes from the sinks to the sources, each after everything that it sends to.
fn from_the_sinks(topology: &Topology) -> Vec<usize> {
    let mut open = vec![0_usize; topology.nodes.len()];
    topology.edges.iter().for_each(|edge| open[edge.from] += 1);
    let mut next: VecDeque<usize> = (0..open.len()).filter(|node| open[*node] == 0).collect();
    let mut order = Vec::new();
    while let Some(node) = next.pop_front() {
        order.push(node);
        for edge in topology.edges.iter().filter(|edge| edge.to == node) {
            open[edge.from] -= 1;
            if open[edge.from] == 0 {
                next.push_back(edge.from);
            }
        }
    }
    order
}

/// Returns all nodes whose records reach `node`. Not only its neighbours: an operator between it and the source that
/// is held back only does as it is told.
fn upstream(topology: &Topology, node: usize) -> BTreeSet<usize> {
    let (mut found, mut open) = (BTreeSet::new(), vec![node]);
    while let Some(node) = open.pop() {
        for edge in topology.edges.iter().filter(|edge| edge.to == node && !edge.dead_letters) {
            if found.insert(edge.from) {
                open.push(edge.from);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{TopologyEdge, TopologyNode};

    /// Two sources, features, a model with threads of its own, and two sinks, one of them for dead letters of the
    /// features.
    fn graph() -> Topology {
        let names = ["transactions", "chargebacks", "features", "score", "alerts", "letters"];
        let node = |name: &str| TopologyNode { name: name.to_owned(), kind: "any".to_owned() };
        let edge = |(from, to): (usize, usize)| TopologyEdge { from, to, exchange: false, dead_letters: to == 5 };
        let edges = [(0, 2), (1, 2), (2, 3), (2, 5), (3, 4)].map(edge).to_vec();
        Topology { nodes: names.map(node).to_vec(), edges }
    }

    const MODEL: usize = 3;
    const ROOM: Room = Room { in_flight: 100, state_is_full: false };

    /// The loads of the six on one worker, each as busy and held back in percent.
    fn worker(worker: usize, of: [(u32, u32); 6]) -> [Share; 6] {
        let share = |percent: u32| f64::from(percent) / 100.0;
        std::array::from_fn(|node| {
            let (busy, backpressured) = (share(of[node].0), share(of[node].1));
            // The model's threads are at work, and hardly its worker.
            let in_turn = if node == MODEL { busy / 20.0 } else { busy };
            Share { worker, busy, in_turn, backpressured }
        })
    }

    fn of_workers(workers: &[[Share; 6]]) -> Option<Cause> {
        let load = |node: usize| Load(workers.iter().map(|shares| shares[node]).collect());
        cause(&graph(), &(0..6).map(load).collect::<Vec<_>>(), Some(ROOM))
    }

    /// As a process says it that does not see the workers of others.
    fn of_a_part(of: [(u32, u32); 6]) -> Option<Cause> {
        cause(&graph(), &worker(0, of).map(|share| Load(vec![share])), None)
    }

    /// Two workers that are alike.
    fn found(of: [(u32, u32); 6]) -> Option<Cause> {
        of_workers(&[worker(0, of), worker(1, of)])
    }

    fn bottleneck(of: [(u32, u32); 6]) -> Option<(String, Vec<String>)> {
        found(of).map(|cause| (cause.operator.unwrap(), cause.waiting))
    }

    #[test]
    fn a_slow_model() {
        let cause = found([(5, 90), (1, 40), (20, 0), (97, 0), (2, 0), (0, 0)]).unwrap();
        let sentence = "`score` is the bottleneck (busy 97 %, 2 workers); `transactions`, `chargebacks` wait for it";
        assert_eq!((cause.operator.as_deref(), &*cause.sentence), (Some("score"), sentence));
    }

    #[test]
    fn a_slow_sink() {
        let found = bottleneck([(5, 90), (0, 0), (10, 0), (55, 20), (80, 0), (0, 0)]);
        let waiting = vec!["transactions".to_owned(), "score".to_owned()];
        assert_eq!(found, Some(("alerts".to_owned(), waiting)));
    }

    #[test]
    fn a_sink_without_time_leaves_the_model_before_it_waiting_for_its_turn() {
        let found = bottleneck([(1, 90), (0, 0), (3, 0), (100, 0), (93, 0), (0, 0)]);
        assert_eq!(found.map(|(name, _)| name), Some("alerts".to_owned()));
    }

    #[test]
    fn one_worker_of_a_skewed_key_is_enough() {
        let other = worker(0, [(5, 60), (5, 60), (8, 0), (10, 0), (62, 0), (0, 0)]);
        let cause = of_workers(&[other, worker(1, [(0, 0), (0, 0), (99, 0), (2, 0), (1, 0), (0, 0)])]).unwrap();
        let sentence = "`features` is the bottleneck (busy 99 % on worker 1, at most 8 % on the other); \
                        `transactions`, `chargebacks` wait for it";
        assert_eq!(cause.sentence, sentence);
    }

    #[test]
    fn a_slow_source_that_nothing_holds_back() {
        let cause = found([(92, 0), (1, 0), (4, 0), (5, 0), (2, 0), (0, 0)]).unwrap();
        let sentence = "`transactions` is the bottleneck (busy 92 %, 2 workers); nothing holds it back";
        assert_eq!((&*cause.sentence, cause.waiting.len()), (sentence, 0));
    }

    #[test]
    fn a_slow_operator_whose_source_has_no_turn_in_which_it_could_be_held_back() {
        let cause = found([(2, 0), (0, 0), (96, 0), (1, 0), (1, 0), (0, 0)]).unwrap();
        let sentence = "`features` is the bottleneck (busy 96 %, 2 workers); it takes the most of worker 0, which has no time left";
        assert_eq!(cause.sentence, sentence);
    }

    #[test]
    fn the_largest_of_many_small_on_one_worker() {
        let found = bottleneck([(25, 0), (10, 0), (35, 0), (0, 0), (28, 0), (0, 0)]);
        assert_eq!(found, Some(("features".to_owned(), Vec::new())));
    }

    #[test]
    fn what_is_held_back_is_not_what_holds_back() {
        let found = bottleneck([(60, 30), (0, 0), (20, 0), (0, 0), (15, 0), (0, 0)]);
        assert_eq!(found, Some(("features".to_owned(), vec!["transactions".to_owned()])));
    }

    #[test]
    fn no_bottleneck_while_no_worker_is_full_and_nobody_waits_for_who_is_busy() {
        assert_eq!(bottleneck([(5, 0), (1, 0), (20, 0), (49, 0), (2, 0), (0, 0)]), None);
        assert_eq!(bottleneck([(5, 0), (1, 0), (20, 0), (97, 0), (2, 0), (0, 0)]), None);
        assert_eq!(bottleneck([(70, 0), (1, 0), (5, 0), (5, 0), (2, 0), (0, 0)]), None);
        // The operator that is busy may be on a worker that is not seen.
        assert_eq!(of_a_part([(5, 90), (1, 0), (20, 0), (49, 0), (2, 0), (0, 0)]), None);
    }

    #[test]
    fn a_source_that_waits_while_nobody_is_busy_has_too_few_records_in_flight() {
        let cause = found([(5, 90), (1, 60), (20, 0), (9, 0), (2, 0), (0, 0)]).unwrap();
        let sentence = "no operator is busy, and `transactions`, `chargebacks` wait: the limit of records in flight is too low \
                        for the time that each takes (`max_in_flight` is 100)";
        assert_eq!((cause.operator, &*cause.sentence, cause.waiting.len()), (None, sentence, 2));
    }

    #[test]
    fn a_sink_of_dead_letters_holds_up_nobody_else() {
        let found = bottleneck([(5, 90), (1, 0), (10, 0), (97, 0), (2, 0), (60, 0)]);
        assert_eq!(found.map(|(name, _)| name), Some("score".to_owned()));
    }

    #[test]
    fn nothing_is_known_of_an_empty_graph() {
        assert_eq!(cause(&Topology::default(), &[], Some(ROOM)), None);
        assert_eq!(cause(&graph(), &[], Some(ROOM)), None);
    }
}
