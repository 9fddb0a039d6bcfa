//! The batch operator in timely. See the picture in the parent module.

use std::sync::Arc;

use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::InputCapability;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::operate::FrontierInterest;

use super::common::{Common, Outputs};
use super::in_line::InLine;
use super::logic::{BatchLogic, BatchRunner, Execution, PoolSpec};
use super::pool::Pool;
use super::pooled::Pooled;
use crate::error::JobError;
use crate::graph::{Stream, moment_of};
use crate::metrics::OperatorMetrics;
use crate::record::{Data, Record};
use crate::time::Moment;
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
    let Stream { flow, inner } = stream;
    let context = flow.claim_name(name)?;
    let metrics = flow.metrics(name, "batch");
    let (logic, execution) = logic(&metrics)?;
    if let Some(fault) = fault(&logic, &execution) {
        return Err(JobError::Invalid(format!("operator \"{name}\": {fault}")));
    }

    let mut builder = OperatorBuilder::new(name.to_owned(), flow.scope());
    let mut input = builder.new_input(inner, Pipeline);
    builder.set_notify_for(0, FrontierInterest::IfCapability);
    let (main, main_stream) = builder.new_output();
    let (dead, dead_stream) = builder.new_output();
    let address = builder.operator_info().address;
    let activator = flow.scope().activator_for(address.clone());
    let place = match execution {
        Execution::InLine(runner) => Ok(Place::InLine(runner)),
        Execution::Pool(spec) => {
            let wake = flow.scope().worker().sync_activator_for(address.to_vec());
            Pool::start(name, spec, wake).map(|pool| Place::Beside(Box::new(pool)))
        }
    };
    if place.is_err() {
        // A builder must not be abandoned: the error stops the job in the operator's first turn instead.
        activator.activate();
    }
    let busy = Arc::clone(&metrics);
    builder.build(move |_| {
        let common = Common::new(logic, Outputs { main, dead }, metrics, activator, Shared::clone(&context));
        let mut machine = match place {
            Ok(Place::InLine(runner)) => Machine::InLine(Box::new(InLine::new(common, runner))),
            Ok(Place::Beside(pool)) => Machine::Pooled(Box::new(Pooled::new(common, *pool))),
            Err(failure) => Machine::Failed(Some(failure)),
        };
        move |frontiers| {
            if context.failed() {
                return;
            }
            let _busy = busy.busy();
            let mut result = machine.begin(Moment::meet_of(&frontiers[0].frontier()));
            let mut idle = true;
            input.for_each(|capability, records| {
                idle = false;
                let Some(moment) = moment_of(&capability) else { return };
                if result.is_ok() {
                    busy.records_in.add(records.len() as u64);
                    result = machine.take(&capability, moment, records);
                }
            });
            let result = result.and_then(|()| machine.work_off(idle));
            context.guard(result);
        }
    });
    flow.add_dead_letters(dead_stream);
    Ok(flow.stream(main_stream))
}

enum Place<W> {
    InLine(Box<dyn BatchRunner<W>>),
    Beside(Box<Pool<W>>),
}

enum Machine<L: BatchLogic> {
    InLine(Box<InLine<L>>),
    Pooled(Box<Pooled<L>>),
    /// The threads could not be started.
    Failed(Option<JobError>),
}

impl<L: BatchLogic> Machine<L> {
    /// Begins a turn, with the meet of the input's frontier. Sends the results that threads have finished.
    fn begin(&mut self, meet: Option<Moment>) -> Result<(), JobError> {
        match self {
            Self::InLine(machine) => {
                machine.common.gather.saw(meet);
                Ok(())
            }
            Self::Pooled(machine) => {
                machine.common.gather.saw(meet);
                machine.collect()
            }
            Self::Failed(error) => error.take().map_or(Ok(()), Err),
        }
    }

    /// Gathers a message's records.
    fn take(
        &mut self,
        capability: &InputCapability<Moment>,
        moment: Moment,
        records: &mut Vec<Record<L::In>>,
    ) -> Result<(), JobError> {
        match self {
            Self::InLine(machine) => machine.take(capability, moment, records),
            Self::Pooled(machine) => {
                machine.take(capability, moment, records);
                Ok(())
            }
            Self::Failed(_) => Ok(()),
        }
    }

    /// Ends a turn: runs the batches that are due. `idle` means that the turn brought no input.
    fn work_off(&mut self, idle: bool) -> Result<(), JobError> {
        match self {
            Self::InLine(machine) => machine.work_off(idle),
            Self::Pooled(machine) => machine.work_off(idle),
            Self::Failed(_) => Ok(()),
        }
    }
}
