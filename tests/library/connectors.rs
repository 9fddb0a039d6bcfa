//! Sources and sinks that need no server, in simulated worlds: each record appears once, whatever crashes when.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use tidemill::prelude::*;
use tidemill::testing::Simulation;

use testkit::script::{Event, sorted};

#[test]
fn generated_records_come_once() {
    Simulation::check(100, |sim| {
        let (count, out) = (sim.draw(1..3000_u64), sim.sink::<u64>());
        let mut numbers = Generator::new(count, |n| (EventTime(n as i64), n));
        if sim.draw(0..2) == 0 {
            numbers = numbers.rate(f64::from(sim.draw(2_000..200_000_u32)));
        }
        let to = out.clone();
        sim.run(move |flow| flow.source("numbers", &numbers)?.sink("out", &to));
        assert_eq!(sorted(out.output()), (0..count).collect::<Vec<_>>());
    });
}

/// Returns the counts of windows of 100 ms in the published files of a folder.
fn counts_in(folder: &Path) -> Vec<(u8, i64, u64)> {
    let parts = fs::read_dir(folder).unwrap().map(|part| part.unwrap().path());
    let shown = parts.filter(|part| part.extension().is_some_and(|extension| extension == "jsonl"));
    let lines: String = shown.map(|part| fs::read_to_string(part).unwrap()).collect();
    sorted(lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

/// The files are real, and the checkpoints are simulated.
#[test]
fn lines_of_files_are_counted_once() {
    Simulation::check(30, |sim| {
        let scratch = tempfile::tempdir().unwrap();
        let mut expected: BTreeMap<(u8, i64), u64> = BTreeMap::new();
        let paths = ["a.jsonl", "b.jsonl"].map(|name| scratch.path().join(name));
        for path in &paths {
            let mut lines = String::new();
            let mut now = 0;
            // Enough lines for several chunks of 64 KiB, of which each worker reads one at a time.
            for id in 0..sim.draw(0..4000_u32) {
                now += sim.draw(0..3_i64);
                let event = Event { time: now - sim.draw(0..10_i64), id, key: sim.draw(0..4_u8), value: 0 };
                lines += &serde_json::to_string(&event).unwrap();
                lines.push('\n');
                *expected.entry((event.key, event.time.div_euclid(100) * 100)).or_default() += 1;
            }
            fs::write(path, lines).unwrap();
        }
        let bound = std::time::Duration::from_millis(10);
        let source = FileSource::new(paths, |event: &Event| EventTime(event.time)).max_out_of_orderness(bound);
        let folder = scratch.path().join("counts");
        let to = folder.clone();
        sim.run(move |flow| {
            let windows = flow
                .source("events", &source)?
                .key_by(|event| event.key)
                .window("100ms", Assigner::tumbling(millis(100)));
            let counts = windows.aggregate(counting())?.results.map(|w| (w.key, w.window.start.0, w.value));
            counts.sink("counts", &FileSink::json_lines(&to))
        });
        let expected: Vec<_> = expected.into_iter().map(|((key, start), count)| (key, start, count)).collect();
        assert_eq!(counts_in(&folder), expected);
    });
}
