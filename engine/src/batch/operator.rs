//! The batch operator in timely. See the picture in the parent module.

use std::sync::Arc;

use timely::progress::operate::FrontierInterest;

use super::common::{Common, Outputs};
use super::in_line::InLine;
use super::logic::{BatchLogic, Execution, PoolSpec};
use super::machine::{Failed, Machine};
use super::pool::Pool;
use super::pooled::Pooled;
use crate::error::JobError;
use crate::graph::{Input, Node, Stream};
use crate::metrics::{Activity, OperatorMetrics};
use crate::record::Data;
use crate::worker::Shared;

impl<'s, D: Data> Stream<'s, D> {
    /// Runs batch logic (inference, lookups) over the stream, on the worker that has the records or on threads
    /// beside it.
    ///
    /// # Errors
    /// When the name is taken, or `logic` cannot be made.
    pub fn batch<L: BatchLogic<In = D>>(
        self,
        name: &str,
        logic: impl FnOnce(&Arc<OperatorMetrics>) -> Result<(L, Execution<L::Work>), JobError>,
    ) -> Result<Stream<'s, L::Out>, JobError> {
        batch(self, name, logic)
    }
}

/// Returns the setting that cannot work, with its value, if there is one.
fn fault<L: BatchLogic>(logic: &L, execution: &Execution<L::Work>) -> Option<&'static str> {
    if logic.max_batch_size() == 0 {
        return Some("max_batch_size is 0: a batch has at least one record");
    }
    let Execution::Pool(PoolSpec { runners, max_in_flight, deadline, .. }) = execution else { return None };
    if runners.is_empty() {
        return Some("threads is 0: a pool has at least one thread");
    }
    if *max_in_flight == 0 {
        return Some("max_in_flight is 0: no thread would ever get a batch");
    }
    deadline.is_some_and(|deadline| deadline.is_zero()).then_some("deadline is 0: every batch would miss it")
}

/// Builds the operator on this worker.
fn batch<'s, L: BatchLogic>(
    stream: Stream<'s, L::In>,
    name: &str,
    logic: impl FnOnce(&Arc<OperatorMetrics>) -> Result<(L, Execution<L::Work>), JobError>,
) -> Result<Stream<'s, L::Out>, JobError> {
    let Stream { flow, packets, .. } = stream;
    let context = flow.claim_name(name)?;
    let metrics = flow.metrics(name, "batch");
    let (logic, execution) = logic(&metrics)?;
    if let Some(fault) = fault(&logic, &execution) {
        return Err(JobError::Invalid(format!("operator \"{name}\": {fault}")));
    }

    let mut node = flow.node(name);
    let input = node.input(packets, FrontierInterest::IfCapability);
    let (main, main_stream) = node.output();
    let (dead, dead_stream) = node.output();
    let activator = node.activator();
    // If the threads cannot be started, the first turn says so.
    activator.activate();
    let common = Common::new(logic, Outputs { main, dead }, Arc::clone(&metrics), activator, Shared::clone(&context));
    let machine: Box<dyn Machine> = match execution {
        Execution::InLine(runner) => Box::new(InLine::new(common, runner)),
        Execution::Pool(spec) => match Pool::start(name, spec, node.sync_activator()) {
            Ok(pool) => Box::new(Pooled::new(common, pool)),
            Err(failure) => Box::new(Failed(Some(failure))),
        },
    };
    run(node, input, machine, metrics, context);
    flow.add_dead_letters(dead_stream);
    Ok(flow.stream(main_stream))
}

/// Completes the operator in timely.
fn run(
    node: Node<'_>,
    mut input: Input,
    mut machine: Box<dyn Machine>,
    metrics: Arc<OperatorMetrics>,
    context: Shared,
) {
    let turn = move |meet| {
        if context.failed() {
            return false;
        }
        let mut turn = metrics.turn();
        let mut result = machine.begin(meet);
        let mut idle = true;
        input.for_each(&mut |capability, moment, packet| {
            idle = false;
            if result.is_ok() {
                metrics.records_in.add(packet.len() as u64);
                result = machine.take(capability, moment, packet);
            }
        });
        let result = result.and_then(|()| machine.work_off(idle));
        if machine.is_saturated() {
            turn.then(Activity::Elsewhere);
        }
        context.guard(result);
        false
    };
    node.build(Box::new(|_| Box::new(turn)));
}
