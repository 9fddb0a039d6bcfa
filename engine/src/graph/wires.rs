//! Records which operator sends to which, while a worker builds its graph.

use std::cell::RefCell;
use std::rc::Rc;

use crate::metrics::Wiring;

/// What has been recorded of a graph. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Wires(Rc<RefCell<Wiring>>);

/// Stands for all that differential dataflow computes between streams that become tables and tables that become
/// streams: a number that no operator has.
#[cfg(feature = "tables")]
const TABLES: usize = usize::MAX;

impl Wires {
    /// Records an operator, by its number in the scope.
    pub(super) fn operator(&self, at: usize, name: &str) {
        self.0.borrow_mut().operator(at, name);
    }

    /// Records that operator `to` reads a stream of operator `from`.
    pub(super) fn connect(&self, from: usize, to: usize, exchange: bool) {
        self.0.borrow_mut().edge(from, to, exchange, false);
    }

    /// Records that the streams of the operators `from` go on as `to`; `dead_letters` says whether that is what they
    /// carry.
    pub(super) fn join(&self, from: &[usize], to: usize, dead_letters: bool) {
        from.iter().for_each(|from| self.0.borrow_mut().edge(*from, to, false, dead_letters));
    }

    /// Records that a stream of operator `from` becomes a table, by the operator `by`.
    #[cfg(feature = "tables")]
    pub(super) fn enter_tables(&self, from: usize, by: usize) {
        self.connect(from, by, false);
        self.0.borrow_mut().edge(by, TABLES, false, false);
    }

    /// Records that a table becomes a stream, by the operator `by`.
    #[cfg(feature = "tables")]
    pub(super) fn leave_tables(&self, by: usize) {
        self.0.borrow_mut().edge(TABLES, by, false, false);
    }

    /// Returns what was recorded.
    pub(super) fn wiring(&self) -> Wiring {
        self.0.borrow().clone()
    }
}
