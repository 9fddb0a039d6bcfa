//! `content_recommendation`, compared with a plain loop that computes which posts are the best and which of them were
//! clicked.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;
use tidemill::infer::Features;

use crate::job::parsed;
use crate::setting::{RankFeatures, expected};
use testkit::{example, finish, same_lines};

const CLICK_DELAY_MS: i64 = 20_000;

fn number(line: &Value, field: &str) -> u64 {
    line[field].as_u64().unwrap_or_else(|| panic!("no {field}: {line}"))
}

fn run(input: &Path, top: &str, workers: &str, out: &Path) {
    let mut command = example("content_recommendation");
    command.arg("--input").arg(input).args(["--top", top, "--workers", workers, "--print", "0"]);
    for place in ["predictions", "examples", "not-shown", "checkpoint-dir"] {
        command.arg(format!("--{place}")).arg(out.join(place));
    }
    finish(command.args(["--checkpoint-interval", "50ms"]));
}

/// Returns the user, time and click of each scroll in the input.
fn scrolls(input: &Path) -> BTreeMap<u64, (u64, i64, u64)> {
    let mut reader = csv::Reader::from_path(input).unwrap();
    reader
        .deserialize()
        .map(|row| row.unwrap())
        .map(|(id, ts, user, click): (u64, i64, u64, u64)| (id, (user, ts, click)))
        .collect()
}

#[test]
fn the_best_posts_are_shown_and_clicks_find_the_impression_that_showed_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let input = path("scrolls.csv");
    finish(example("content_recommendation").args(["--count", "3000", "--write-input"]).arg(&input));
    let scrolls = scrolls(&input);
    assert_eq!(scrolls.len(), 3000);
    // This run shows all candidates with their features, which are scored and sorted here.
    run(&input, "20", "1", &path("all"));
    run(&input, "5", "1", &path("one"));
    run(&input, "5", "2", &path("two"));
    for place in ["predictions", "examples", "not-shown"] {
        same_lines(&path("one").join(place), &path("two").join(place));
    }

    let candidates = parsed(&path("all").join("examples"));
    let cell = |line: &Value, name: &str| line["features"][name].as_f64().unwrap() as f32;
    let rows: Vec<f32> =
        candidates.iter().flat_map(|line| RankFeatures::NAMES.iter().map(|name| cell(line, name))).collect();
    let mut best: BTreeMap<u64, Vec<(f32, u64)>> = BTreeMap::new();
    for (line, score) in candidates.iter().zip(expected(&rows)) {
        best.entry(number(line, "scroll_id")).or_default().push((score, number(line, "post_id")));
    }
    let mut shown: BTreeSet<(u64, u64)> = BTreeSet::new();
    let recommendations = parsed(&path("one").join("predictions"));
    assert_eq!(recommendations.len(), 3000);
    for line in &recommendations {
        let scroll_id = number(line, "scroll_id");
        let all = best.get_mut(&scroll_id).unwrap();
        assert_eq!(all.len(), 20);
        // Of posts with the same score, the newer one comes first.
        all.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.cmp(&a.1)));
        let posts: Vec<u64> = line["posts"].as_array().unwrap().iter().map(|post| number(post, "post_id")).collect();
        let wanted: Vec<u64> = all.iter().take(5).map(|(_, post)| *post).collect();
        assert_eq!(posts, wanted, "{line}");
        shown.extend(posts.iter().map(|post| (scroll_id, *post)));
    }

    // Each post that was shown is one example, which is labeled as clicked exactly if the input says so.
    let examples = parsed(&path("one").join("examples"));
    let ids: BTreeSet<(u64, u64)> =
        examples.iter().map(|line| (number(line, "scroll_id"), number(line, "post_id"))).collect();
    assert_eq!((examples.len(), &ids), (shown.len(), &shown));
    let mut clicked = 0;
    for line in &examples {
        let was = scrolls[&number(line, "scroll_id")].2 == number(line, "post_id");
        assert_eq!(number(line, "clicked"), u64::from(was), "{line}");
        clicked += number(line, "clicked");
    }
    // Clicks on posts that were not shown are not lost.
    let found: BTreeSet<(u64, u64)> = parsed(&path("one").join("not-shown"))
        .iter()
        .map(|line| (number(line, "scroll_id"), number(line, "post_id")))
        .collect();
    let clicks = scrolls.iter().filter(|(_, (_, _, click))| *click > 0).map(|(id, (_, _, click))| (*id, *click));
    let not_shown: BTreeSet<(u64, u64)> = clicks.filter(|click| !shown.contains(click)).collect();
    assert!(clicked > 0 && !not_shown.is_empty(), "the data prove nothing");
    assert_eq!(found, not_shown);

    // A user's clicks count from the time at which they are known.
    for line in &candidates {
        let (user, ts, _) = scrolls[&number(line, "scroll_id")];
        let known = |(of, at, click): &&(u64, i64, u64)| *of == user && *click > 0 && at + CLICK_DELAY_MS <= ts;
        let expected = scrolls.values().filter(known).count();
        assert_eq!(line["features"]["recent_clicks"].as_f64().unwrap() as usize, expected, "{line}");
    }
}
