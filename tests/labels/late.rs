//! What comes at the ends of the wait, and behind the watermark.

use tidemill::labels::{LabelLogic, Labelled};
use tidemill::prelude::*;
use tidemill::testing::LogicTest;

/// A record `n`, or a label of it.
type In = Either<u64, &'static str>;

fn test() -> LogicTest<LabelLogic<(), u64, String>> {
    LogicTest::new(Order::EventTime, |_: &Either<u64, String>| (), |states| LabelLogic::open(states, millis(10)))
}

fn push(test: &mut LogicTest<LabelLogic<(), u64, String>>, time: i64, one: In) {
    let one = match one {
        Either::First(record) => Either::First(record),
        Either::Second(label) => Either::Second(label.to_owned()),
    };
    test.push(time, one);
}

fn labelled(record: u64, at: i64, label: Option<&str>) -> Labelled<u64, String> {
    Labelled { record, at: EventTime(at), label: label.map(str::to_owned) }
}

#[test]
fn a_label_is_in_time_from_the_moment_of_its_record_to_the_end_of_the_wait() {
    for (label_at, wanted) in [(99, None), (100, Some("it")), (110, Some("it")), (111, None)] {
        let mut test = test();
        push(&mut test, label_at, Either::Second("it"));
        push(&mut test, 100, Either::First(1));
        test.watermark(200);
        assert_eq!(test.output(), [labelled(1, 100, wanted)], "a label at {label_at}");
        assert_eq!(test.side().len(), usize::from(wanted.is_none()), "a label at {label_at}");
    }
}

#[test]
fn the_first_label_counts() {
    let mut test = test();
    push(&mut test, 100, Either::First(1));
    push(&mut test, 101, Either::First(2));
    push(&mut test, 105, Either::Second("first"));
    push(&mut test, 106, Either::Second("second"));
    test.watermark(200);
    assert_eq!(test.output(), [labelled(1, 100, Some("first")), labelled(2, 101, Some("first"))]);
    assert_eq!(test.side(), [Either::Second("second".to_owned())]);
}

#[test]
fn a_late_label_is_joined_if_its_record_waits_and_a_late_record_is_not_lost() {
    let mut test = test();
    push(&mut test, 100, Either::First(1));
    test.watermark(106);
    push(&mut test, 104, Either::Second("late"));
    push(&mut test, 103, Either::First(2));
    test.watermark(200);
    assert_eq!(test.output(), [labelled(1, 100, Some("late"))]);
    assert_eq!(test.side(), [Either::First(labelled(2, 103, None))]);
}
