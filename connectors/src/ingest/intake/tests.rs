use std::time::Duration;

use proptest::prelude::*;
use tidemill_engine::metrics::Metrics;

use super::super::budget::Budget;
use super::super::records::json;
use super::*;

fn intake(restored: Vec<Known>) -> Arc<Intake<u64>> {
    limited(restored, Limits { bytes: 1 << 20, records: 3, takes_malformed: false })
}

fn limited(restored: Vec<Known>, limits: Limits) -> Arc<Intake<u64>> {
    let counts = Counts::new(&Metrics::default().operator("in", "source", 0));
    let window = Window::new(9, Duration::from_secs(60));
    Intake::new(Arc::new(json()), limits, window, restored, Clock::default(), Waker::default(), counts)
}

fn request(key: Option<&str>, body: &str) -> Received {
    Received {
        from: "somewhere".to_owned(),
        key: key.map(str::to_owned),
        form: Form::Lines,
        encoding: Encoding::Identity,
        headers: HeaderMap::new(),
        body: body.as_bytes().to_vec(),
        reserved: Budget::new(1 << 20).reserve(),
    }
}

impl Intake<u64> {
    fn send(&self, key: Option<&str>, body: &str) -> Result<Accepted, u16> {
        self.accept(request(key, body)).map_err(|refusal| refusal.status.as_u16())
    }

    /// Hands out all that is queued.
    fn take_all(&self) -> Vec<u64> {
        let requests = std::iter::from_fn(|| self.take());
        requests.flat_map(|queued| queued.items).map(|item| item.ok().unwrap()).collect()
    }

    fn position(&self) -> (u64, Vec<Known>) {
        self.with_handed_out(|end, keys| (end, keys.copied().collect()))
    }
}

impl Accepted {
    fn is_committed(&mut self) -> bool {
        self.committed.as_mut().is_none_or(|commit| commit.try_recv().is_ok())
    }
}

#[test]
fn a_request_is_answered_with_its_epoch_and_known_by_its_key_afterwards() {
    let intake = intake(Vec::new());
    let (mut one, mut other) = (intake.send(Some("a"), "1\n2").unwrap(), intake.send(None, "3").unwrap());
    let mut again = intake.send(Some("a"), "1\n2").unwrap();
    assert_eq!((one.records, one.repeated, again.records, again.repeated), (2, false, 2, true));
    assert_eq!(intake.position(), (0, Vec::new()), "what waits is in no position");
    assert_eq!(intake.take_all(), [1, 2, 3]);
    let (end, keys) = intake.position();
    assert_eq!((end, keys.len()), (2, 1));
    let mut later = intake.send(Some("b"), "4").unwrap();
    assert!(!one.is_committed() && !other.is_committed() && !again.is_committed());
    intake.commit(end);
    assert!(one.is_committed() && other.is_committed() && again.is_committed() && !later.is_committed());
    assert!(intake.send(Some("a"), "1\n2").unwrap().committed.is_none());
    assert_eq!(intake.send(Some("a"), "1").err(), Some(422));
    assert_eq!(intake.take_all(), [4], "what came again was not queued again");
    intake.commit(3);
    assert!(later.is_committed());
}

#[test]
fn a_restart_knows_the_keys_of_its_checkpoint_and_no_others() {
    let before = intake(Vec::new());
    let _ = before.send(Some("a"), "1").unwrap();
    assert_eq!(before.take_all(), [1]);
    let (_, keys) = before.position();
    let _ = before.send(Some("b"), "2").unwrap();
    let after = intake(keys);
    assert!(after.send(Some("a"), "1").unwrap().committed.is_none());
    let mut new = after.send(Some("b"), "2").unwrap();
    assert!(!new.repeated && after.take_all() == [2]);
    let (end, keys) = after.position();
    assert_eq!((end, keys.len()), (2, 2));
    after.commit(end);
    assert!(new.is_committed());
}

#[test]
fn nothing_is_taken_of_what_cannot_be_decoded_or_is_too_much_and_its_key_stays_free() {
    let intake = intake(Vec::new());
    for (body, status) in [("1\nx\n3", 400), ("1\n2\n3\n4", 413), ("-1", 400)] {
        assert_eq!(intake.send(Some("a"), body).err(), Some(status), "{body}");
    }
    assert!(intake.take_all().is_empty());
    assert!(!intake.send(Some("a"), "").unwrap().repeated, "a request without records is one, too");
    let lenient = limited(Vec::new(), Limits { bytes: 9, records: 9, takes_malformed: true });
    assert_eq!(lenient.send(None, "1\n\nx\n3").unwrap().records, 3);
    let items = lenient.take().unwrap().items;
    let bad: Vec<_> = items.iter().filter_map(|item| item.as_ref().err()).collect();
    assert!(bad.len() == 1 && bad[0].number == 3 && bad[0].payload == b"x", "{:?}", bad[0].reason);
}

#[test]
fn whoever_waits_when_the_job_ends_has_no_answer_and_nothing_more_is_accepted() {
    let intake = intake(Vec::new());
    let mut one = intake.send(None, "1").unwrap();
    intake.end();
    assert!(one.committed.as_mut().unwrap().try_recv() == Err(oneshot::error::TryRecvError::Closed));
    assert_eq!(intake.send(None, "2").err(), Some(503));
}

/// Two that come at once under one key (mastodon/mastodon#37879): one of them is taken.
#[test]
fn of_equal_requests_at_the_same_time_one_is_taken() {
    let intake = intake(Vec::new());
    let fresh: usize = std::thread::scope(|scope| {
        let send = || intake.send(Some("a"), "1\n2").unwrap();
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(send)).collect();
        threads.into_iter().map(|thread| usize::from(!thread.join().unwrap().repeated)).sum()
    });
    assert_eq!((fresh, intake.take_all()), (1, vec![1, 2]));
}

/// What an epoch has: its records, the number behind its last request, and the keys in its position.
struct Ended(Vec<u64>, u64, Vec<Known>);

/// An intake, the engine around it, and callers that repeat what has no answer.
struct World {
    intake: Arc<Intake<u64>>,
    /// Requests that have no answer yet, by their number, as far as the running intake has accepted them.
    open: BTreeMap<u64, Option<Accepted>>,
    sent: u64,
    running: Vec<u64>,
    ended: VecDeque<Ended>,
    /// What is durable: records, and the keys of the last position.
    committed: Vec<u64>,
    position: Vec<Known>,
}

impl World {
    fn new() -> Self {
        let (running, ended, committed, position) = (Vec::new(), VecDeque::new(), Vec::new(), Vec::new());
        Self { intake: intake(Vec::new()), open: BTreeMap::new(), sent: 0, running, ended, committed, position }
    }

    fn send(&mut self, number: u64) {
        let body = format!("{}\n{}", 2 * number, 2 * number + 1);
        let accepted = self.intake.send(Some(&number.to_string()), &body).unwrap();
        self.open.insert(number, Some(accepted));
    }

    /// Callers look for their answers. Whoever has one finds its records durable.
    fn hear(&mut self) {
        let committed = &self.committed;
        self.open.retain(|number, accepted| {
            let is_answered = accepted.as_mut().is_some_and(Accepted::is_committed);
            assert!(!is_answered || committed.contains(&(2 * number)), "{number} was answered before its commit");
            !is_answered
        });
    }

    fn end_epoch(&mut self) {
        let (end, keys) = self.intake.position();
        self.ended.push_back(Ended(std::mem::take(&mut self.running), end, keys));
    }

    fn commit(&mut self) {
        if let Some(Ended(records, end, keys)) = self.ended.pop_front() {
            self.committed.extend(records);
            self.position = keys;
            self.intake.commit(end);
        }
    }

    /// The process is killed, and restored from the last epoch that was committed.
    fn crash(&mut self) {
        self.intake.end();
        self.running.clear();
        self.ended.clear();
        self.intake = intake(self.position.clone());
        self.open.values_mut().for_each(|accepted| *accepted = None);
    }

    fn step(&mut self, step: u8) {
        match step {
            // No more are open than keys are remembered.
            0..=59 if self.open.len() < 5 => {
                self.sent += 1;
                self.send(self.sent - 1);
            }
            60..=119 => {
                let again = self.open.keys().nth(usize::from(step) % self.open.len().max(1)).copied();
                again.into_iter().for_each(|number| self.send(number));
            }
            120..=179 => {
                let items = self.intake.take().into_iter().flat_map(|queued| queued.items);
                self.running.extend(items.map(|item| item.ok().unwrap()));
            }
            180..=214 => self.end_epoch(),
            215..=244 => self.commit(),
            245..=255 => self.crash(),
            _ => {}
        }
        self.hear();
    }

    fn finish(&mut self) {
        self.open.keys().copied().collect::<Vec<_>>().into_iter().for_each(|number| self.send(number));
        self.running.extend(self.intake.take_all());
        self.end_epoch();
        while !self.ended.is_empty() {
            self.commit();
        }
        self.hear();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512 * testkit::times() as u32, ..ProptestConfig::default() })]

    /// Each record is committed exactly once, before its caller has an answer, and each caller has one in the end.
    #[test]
    fn each_request_is_committed_once_through_any_repeats_and_crashes(steps in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut world = World::new();
        steps.into_iter().for_each(|step| world.step(step));
        world.finish();
        prop_assert!(world.open.is_empty());
        world.committed.sort_unstable();
        prop_assert_eq!(world.committed, (0..2 * world.sent).collect::<Vec<_>>());
    }
}
