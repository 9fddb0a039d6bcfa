//! The logic of every window operator. It picks one of three, depending on the windows.

use tidemill_engine::shell::{KeyedLogic, LogicError, States};
use tidemill_engine::{Data, EventTime, JobError, ProcessingTime, Record};
use tidemill_state::Key;

use super::aggregate::Aggregate;
use super::assigner::{Cut, Slices};
use super::counted::CountedWindows;
use super::each::EachWindow;
use super::result::{WindowContext, Windowed};
use super::sliced::SlicedWindows;
use super::spec::{TimeDomain, WindowSpec};
use crate::length::invalid;

/// The logic of every window operator. Late records go to the side output.
pub struct WindowLogic<K: Key, A: Aggregate>(Kind<K, A>);

enum Kind<K: Key, A: Aggregate> {
    Each(EachWindow<K, A>),
    Sliced(TimeDomain, SlicedWindows<K, A>),
    Counted(CountedWindows<K, A>),
}

impl<K: Key + Data, A: Aggregate> WindowLogic<K, A>
where
    A::In: Data,
{
    /// Opens the state of the windows that `spec` describes.
    ///
    /// # Errors
    /// When the settings are invalid, or the state cannot be opened.
    pub fn open(states: &mut States<'_, K>, spec: WindowSpec, aggregate: A) -> Result<Self, JobError> {
        let plan = spec.plan().map_err(|fault| invalid(states.operator(), fault))?;
        let mut states = states.with_parameters(plan.state_parameters(&aggregate.parameters()));
        let states = &mut states;
        Ok(Self(match plan.cut {
            Cut::Count { size, every } => {
                Kind::Counted(CountedWindows::open(states, (size, every), plan.clock, aggregate)?)
            }
            Cut::Sliding { size_ms, slide_ms, offset_ms } if plan.shares_slices() => {
                let slices = Slices::new(size_ms, slide_ms, offset_ms);
                Kind::Sliced(plan.clock, SlicedWindows::open(states, plan, slices, aggregate)?)
            }
            _ => Kind::Each(EachWindow::open(states, plan, aggregate)?),
        }))
    }

    fn on_time(&self, ctx: &mut WindowContext<'_, K, A>, of: TimeDomain, at: EventTime) -> Result<(), LogicError> {
        match &self.0 {
            Kind::Each(windows) => windows.on_time(ctx, of, at),
            // At the end of event time no more records come, so windows of either clock end.
            Kind::Sliced(clock, windows) if *clock == of || at == EventTime::MAX => windows.on_time(ctx, at),
            Kind::Sliced(..) | Kind::Counted(_) => Ok(()),
        }
    }
}

impl<K: Key + Data, A: Aggregate> KeyedLogic for WindowLogic<K, A>
where
    A::In: Data,
{
    type Key = K;
    type In = A::In;
    type Out = Windowed<K, A::Out>;
    type Side = A::In;

    fn on_record(&mut self, ctx: &mut WindowContext<'_, K, A>, record: Record<A::In>) -> Result<(), LogicError> {
        match &self.0 {
            Kind::Each(windows) => windows.on_record(ctx, record),
            Kind::Sliced(_, windows) => windows.on_record(ctx, record),
            Kind::Counted(windows) => windows.on_record(ctx, record),
        }
    }

    fn on_timer(&mut self, ctx: &mut WindowContext<'_, K, A>, at: EventTime) -> Result<(), LogicError> {
        self.on_time(ctx, TimeDomain::Event, at)
    }

    fn on_processing_timer(&mut self, ctx: &mut WindowContext<'_, K, A>, at: ProcessingTime) -> Result<(), LogicError> {
        self.on_time(ctx, TimeDomain::Processing, EventTime(at.0))
    }
}
