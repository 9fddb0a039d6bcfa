//! The ledger against a server that numbers messages as it likes, connections that are cut anywhere, and a job that crashes
//! and is restored.

use proptest::prelude::*;

use super::*;

/// What is under way between server and client, in both directions.
#[derive(Clone, Copy)]
enum Packet {
    /// Message `what` under an id, perhaps sent again.
    Publish(u16, u64, bool),
    Acknowledge(u16),
    Ping,
}

struct World {
    /// Whether the server takes the lowest free id, or the next one of a circle.
    lowest: bool,
    last_id: u16,
    /// Messages that were not sent yet are those from this one on.
    unsent: u64,
    published: u64,
    in_flight: Vec<(u16, u64)>,
    to_client: VecDeque<Packet>,
    to_server: VecDeque<Packet>,
    ledger: Ledger<u16>,
    queue: VecDeque<u64>,
    /// What was handed out in the epoch that runs.
    running: Vec<u64>,
    /// Epochs that have ended and are not committed.
    ended: VecDeque<Ended>,
    committed: Vec<u64>,
    position: Vec<(u16, u64)>,
}

/// An epoch: its records, the number behind the last of them, and its position.
struct Ended(Vec<u64>, u64, Vec<(u16, u64)>);

const IDS: u16 = 9;

impl World {
    fn new(lowest: bool) -> Self {
        let mut ledger = Ledger::restored([]);
        ledger.connected(false);
        Self {
            lowest,
            last_id: 0,
            unsent: 0,
            published: 0,
            in_flight: Vec::new(),
            to_client: VecDeque::new(),
            to_server: VecDeque::new(),
            ledger,
            queue: VecDeque::new(),
            running: Vec::new(),
            ended: VecDeque::new(),
            committed: Vec::new(),
            position: Vec::new(),
        }
    }

    fn is_free(&self, id: u16) -> bool {
        self.in_flight.iter().all(|(used, _)| *used != id)
    }

    fn send(&mut self) {
        if self.unsent == self.published || self.in_flight.len() == usize::from(IDS) {
            return;
        }
        let mut after = if self.lowest { 0 } else { self.last_id };
        loop {
            after = after % IDS + 1;
            if self.is_free(after) {
                break;
            }
        }
        self.last_id = after;
        self.in_flight.push((after, self.unsent));
        self.to_client.push_back(Packet::Publish(after, self.unsent, false));
        self.unsent += 1;
    }

    fn server_receives(&mut self) {
        match self.to_server.pop_front() {
            Some(Packet::Acknowledge(id)) => {
                let at = self.in_flight.iter().position(|(used, _)| *used == id);
                let (_, what) = self.in_flight.remove(at.expect("it was acknowledged twice, or before it was sent"));
                assert!(self.committed.contains(&what), "{what} was acknowledged before it was committed");
            }
            Some(Packet::Ping) => self.to_client.push_back(Packet::Ping),
            _ => {}
        }
    }

    fn client_receives(&mut self) {
        match self.to_client.pop_front() {
            Some(Packet::Publish(id, what, again)) => {
                let is_new = self.ledger.arrived(Delivery { id: Some(id), fingerprint: what, again });
                self.queue.extend(is_new.then_some(what));
            }
            Some(Packet::Ping) => self.ledger.answered(usize::from(IDS)),
            _ => {}
        }
        for id in self.ledger.take_acknowledgements() {
            self.ledger.written(id);
            self.to_server.push_back(Packet::Acknowledge(id));
        }
    }

    fn hand_out(&mut self) {
        if let Some(what) = self.queue.pop_front() {
            self.ledger.hand_out();
            self.running.push(what);
        }
    }

    fn end_epoch(&mut self) {
        let records = std::mem::take(&mut self.running);
        self.ended.push_back(Ended(records, self.ledger.handed_out(), self.ledger.unacknowledged()));
    }

    fn commit(&mut self) {
        if let Some(Ended(records, end, position)) = self.ended.pop_front() {
            self.committed.extend(records);
            self.position = position;
            self.ledger.commit(end);
        }
    }

    fn ping(&mut self) {
        self.ledger.pinged();
        self.to_server.push_back(Packet::Ping);
    }

    /// Cuts the connection: what is under way is lost. The next one resumes the session.
    fn cut(&mut self) {
        self.to_client.clear();
        self.to_server.clear();
        self.ledger.disconnected();
        self.reconnect();
    }

    fn reconnect(&mut self) {
        let again = self.in_flight.iter().map(|(id, what)| Packet::Publish(*id, *what, true));
        self.to_client.extend(again);
        self.ledger.connected(true);
    }

    /// The process is killed, and restored from the last epoch that was committed.
    fn crash(&mut self) {
        self.to_client.clear();
        self.to_server.clear();
        self.queue.clear();
        self.running.clear();
        self.ended.clear();
        self.ledger = Ledger::restored(self.position.iter().copied());
        self.reconnect();
    }

    fn step(&mut self, step: u8) {
        match step {
            0..=39 => self.published += 1,
            40..=89 => self.send(),
            90..=139 => self.client_receives(),
            140..=179 => self.hand_out(),
            180..=209 => self.server_receives(),
            210..=224 => self.end_epoch(),
            225..=239 => self.commit(),
            240..=246 => self.ping(),
            247..=251 => self.cut(),
            _ => self.crash(),
        }
    }

    fn finish(&mut self) {
        for _ in 0..self.published + 8 {
            (0..IDS).for_each(|_| self.send());
            (0..4 * IDS).for_each(|_| self.client_receives());
            (0..4 * IDS).for_each(|_| self.hand_out());
            self.end_epoch();
            (0..4).for_each(|_| self.commit());
            self.ping();
            self.client_receives();
            (0..4 * IDS).for_each(|_| self.server_receives());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512 * testkit::times() as u32, ..ProptestConfig::default() })]

    /// Each message is committed exactly once, acknowledged only afterwards, and forgotten when the server has forgotten it.
    #[test]
    fn each_message_is_committed_once_through_any_cuts_and_crashes(
        lowest in any::<bool>(), steps in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        let mut world = World::new(lowest);
        steps.into_iter().for_each(|step| world.step(step));
        world.finish();
        world.committed.sort_unstable();
        prop_assert_eq!(&world.committed, &(0..world.published).collect::<Vec<_>>());
        prop_assert_eq!(world.in_flight.len(), 0, "not all were acknowledged");
        prop_assert_eq!(world.ledger.unacknowledged(), []);
    }
}

fn message(id: u16, fingerprint: u64, again: bool) -> Delivery<u16> {
    Delivery { id: Some(id), fingerprint, again }
}

/// hivemq-mqtt-client#481 and its repair: an acknowledgement on the next connection, before the message has come again there,
/// may be taken for that of another message.
#[test]
fn nothing_is_acknowledged_on_a_connection_on_which_it_has_not_come() {
    let mut ledger = Ledger::restored([]);
    ledger.connected(false);
    assert!(ledger.arrived(message(5, 77, false)));
    ledger.hand_out();
    ledger.connected(true);
    ledger.commit(1);
    assert_eq!(ledger.take_acknowledgements(), [] as [u16; 0]);
    assert!(!ledger.arrived(message(5, 77, true)));
    assert_eq!(ledger.take_acknowledgements(), [5]);
    assert!(!ledger.arrived(message(5, 77, true)), "a broker that repeats itself on one connection");
    assert_eq!(ledger.take_acknowledgements(), [] as [u16; 0], "and the id may be another message's by then");
}

/// LabOverWire/mqtt-lib#118: what is known of a lost session must not suppress messages of the next one, which has the same ids.
#[test]
fn ids_of_a_lost_session_are_free_for_other_messages() {
    let mut ledger = Ledger::restored([(1, 10), (2, 20)]);
    ledger.connected(false);
    assert!(ledger.arrived(message(1, 10, false)) && ledger.arrived(message(2, 20, true)));
    ledger.commit(4);
    assert_eq!(ledger.take_acknowledgements(), [1, 2]);
}

#[test]
fn an_equal_message_under_the_same_id_that_comes_for_the_first_time_is_new() {
    let mut ledger = Ledger::restored([]);
    ledger.connected(false);
    assert!(ledger.arrived(message(1, 10, false)));
    ledger.hand_out();
    ledger.commit(1);
    assert_eq!(ledger.take_acknowledgements(), [1]);
    ledger.written(1);
    assert!(ledger.arrived(message(1, 10, false)), "the server has the acknowledgement, and uses the id again");
    let mut restored = Ledger::restored([(1, 10)]);
    restored.connected(true);
    assert!(restored.arrived(message(1, 10, false)));
}

#[test]
fn a_message_without_an_id_counts_as_handed_out_and_leaves_no_entry() {
    let mut ledger = Ledger::<u16>::restored([]);
    ledger.connected(false);
    assert!(ledger.arrived(Delivery { id: None, fingerprint: 1, again: false }));
    assert!(ledger.arrived(message(3, 30, false)));
    (0..2).for_each(|_| ledger.hand_out());
    assert_eq!((ledger.handed_out(), ledger.unacknowledged()), (2, vec![(3, 30)]));
}

/// Found by the property above: the answer to a first ping was taken for that to a later one.
#[test]
fn an_answer_proves_only_what_was_written_before_the_first_open_ping() {
    let mut ledger = Ledger::restored([]);
    ledger.connected(false);
    for id in [1, 2] {
        assert!(ledger.arrived(message(id, id.into(), false)));
        ledger.hand_out();
        ledger.commit(id.into());
        assert_eq!(ledger.take_acknowledgements(), [id]);
        ledger.written(id);
        ledger.pinged();
    }
    ledger.answered(9);
    assert_eq!(ledger.unacknowledged(), [(2, 2)]);
    ledger.answered(9);
    assert_eq!(ledger.unacknowledged(), []);
}
