//! Calendar windows are compared with Python's zoneinfo, and with civil dates computed by arithmetic.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

fn window(period: Period, zone: &str, time: i64) -> (i64, i64) {
    let window = period.window(Zone::named(zone), EventTime(time));
    (window.start.0, window.end.0)
}

/// Returns the windows from the one that begins at `start` to the one that ends at `end`.
fn walk(period: Period, zone: &str, start: i64, end: i64) -> Vec<(i64, i64)> {
    let mut windows = Vec::new();
    let mut at = start;
    while at < end {
        let found = window(period, zone, at);
        assert_eq!(found.0, at, "{zone}: windows lie end to end");
        assert_eq!(window(period, zone, found.1 - 1), found, "{zone}");
        windows.push(found);
        at = found.1;
    }
    assert_eq!(at, end, "{zone}");
    windows
}

#[test]
fn days_are_as_long_as_another_library_has_them() {
    let text: String = include_str!("odd_days.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .fold(String::new(), |text, line| if line.starts_with(' ') { text + line } else { text + "\n" + line });
    let mut zones = 0;
    for line in text.lines().filter(|line| !line.is_empty()) {
        let mut words = line.split_whitespace();
        let zone = words.next().unwrap();
        let first: i64 = words.next().unwrap().trim_end_matches(':').parse().unwrap();
        let mut odd = BTreeMap::new();
        let mut end = 0;
        for word in words {
            match word.split_once('=') {
                Some((start, length)) => {
                    odd.insert(start.parse::<i64>().unwrap(), length.parse::<i64>().unwrap());
                }
                None => end = word.trim_end_matches('.').parse().unwrap(),
            }
        }
        let days = walk(Period::Day, zone, first * MINUTE, end * MINUTE);
        let found = days.iter().filter(|(start, end)| end - start != DAY);
        let found: BTreeMap<i64, i64> = found.map(|(start, end)| (start / MINUTE, (end - start) / MINUTE)).collect();
        assert_eq!(found, odd, "{zone}");
        zones += 1;
    }
    assert_eq!(zones, 23);
}

/// Returns the days since 1970 of a civil date (Hinnant, "chrono-compatible low-level date algorithms").
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// None of these zones skips a date in that time.
#[test]
fn weeks_months_and_years_are_days() {
    for zone in ["Europe/Vienna", "America/Sao_Paulo", "America/St_Johns", "Asia/Beirut", "Australia/Lord_Howe", "UTC"]
    {
        // 1 January 1990 was a Monday: years, months and weeks all begin there.
        let first = days_from_civil(1990, 1, 1);
        let begin = window(Period::Day, zone, first * DAY + 12 * HOUR).0;
        let day_after = days_from_civil(2024, 1, 1);
        let end = window(Period::Day, zone, day_after * DAY + 12 * HOUR).0;
        let days = walk(Period::Day, zone, begin, end);
        let starts: Vec<i64> = days.iter().map(|(start, _)| *start).chain([end]).collect();
        assert_eq!(starts.len() as i64 - 1, day_after - first, "{zone}");
        let of = |day: i64| starts[(day - first) as usize];
        let months = (1990..2024).flat_map(|year| (1..=12).map(move |month| (year, month)));
        let months: Vec<i64> = months.map(|(year, month)| of(days_from_civil(year, month, 1))).collect();
        let found = |period| walk(period, zone, begin, end).into_iter().map(|(start, _)| start).collect::<Vec<i64>>();
        assert_eq!(found(Period::Month), months, "{zone}");
        assert_eq!(found(Period::Year), months.iter().copied().step_by(12).collect::<Vec<_>>(), "{zone}");
        for (from, name) in (0..).zip([Weekday::Monday, Weekday::Tuesday, Weekday::Wednesday, Weekday::Sunday]) {
            let from = if name == Weekday::Sunday { 6 } else { from };
            let weeks: Vec<i64> = (first + from..day_after - 7).step_by(7).map(of).collect();
            let last = of(first + from + 7 * weeks.len() as i64);
            let found = walk(Period::Week { from: name }, zone, weeks[0], last);
            assert_eq!(found.into_iter().map(|(start, _)| start).collect::<Vec<i64>>(), weeks, "{zone} {name:?}");
        }
    }
}

fn hours(zone: &str, around: i64, days: i64) -> Vec<i64> {
    let (mut at, mut hours) = (window(Period::Day, zone, around).0, Vec::new());
    for _ in 0..days {
        let (start, end) = window(Period::Day, zone, at);
        hours.push((end - start) / HOUR);
        at = end;
    }
    hours
}

#[test]
fn the_days_that_others_got_wrong() {
    let noon = |year, month, day| days_from_civil(year, month, day) * DAY + 12 * HOUR;
    assert_eq!(hours("Europe/Vienna", noon(2025, 3, 29), 3), [24, 23, 24]);
    assert_eq!(hours("Europe/Vienna", noon(2025, 10, 25), 3), [24, 25, 24]);
    // The clocks of São Paulo went forward at midnight: that day began at 01:00.
    let (start, end) = window(Period::Day, "America/Sao_Paulo", noon(2018, 11, 4));
    assert_eq!(
        (start, end),
        (days_from_civil(2018, 11, 4) * DAY + 3 * HOUR, days_from_civil(2018, 11, 5) * DAY + 2 * HOUR)
    );
    // Samoa had no 30 December 2011: the 29th ends where the 31st begins, and a week has six days.
    let (start, end) = window(Period::Day, "Pacific/Apia", days_from_civil(2011, 12, 30) * DAY);
    assert_eq!(
        (start, end),
        (days_from_civil(2011, 12, 29) * DAY + 10 * HOUR, days_from_civil(2011, 12, 30) * DAY + 10 * HOUR)
    );
    let (start, end) = window(Period::Week { from: Weekday::Monday }, "Pacific/Apia", start);
    assert_eq!((end - start) / HOUR, 6 * 24);
    // Toronto's clocks went from 23:30 to 00:30: the day begins at half past midnight.
    let (start, end) = window(Period::Day, "America/Toronto", noon(1919, 3, 31));
    assert_eq!(
        (start, end - start),
        (days_from_civil(1919, 3, 31) * DAY + 4 * HOUR + 30 * MINUTE, 23 * HOUR + 30 * MINUTE)
    );
}

#[test]
fn a_zone_that_is_not_known_is_an_error_with_its_name() {
    assert_eq!(check(Zone::named("Europe/Vienna")), Ok(()));
    let error = check(Zone::named("Europe/Wien")).unwrap_err();
    assert!(
        error.contains("\"Europe/Wien\"") && error.contains("\"Europe/Vienna\"") && error.contains("20"),
        "{error}"
    );
    assert_eq!(Zone::named("europe/vienna"), Zone::named("Europe/Vienna"));
    assert_ne!(Zone::named("Europe/Vienna"), Zone::named("Europe/Berlin"));
}

#[test]
fn beyond_the_calendar_there_is_one_window_on_each_side() {
    for zone in ["UTC", "Pacific/Apia", "America/Sao_Paulo"] {
        for period in [Period::Day, Period::Week { from: Weekday::Sunday }, Period::Month, Period::Year] {
            let (start, end) = window(period, zone, i64::MIN);
            assert_eq!((start, window(period, zone, end - 1)), (i64::MIN, (start, end)), "{zone}");
            assert_eq!(window(period, zone, end).0, end, "{zone}");
            let (start, end) = window(period, zone, i64::MAX);
            assert_eq!((end, window(period, zone, start)), (i64::MAX, (start, end)), "{zone}");
            assert_eq!(window(period, zone, start - 1).1, start, "{zone}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn each_time_is_in_one_window_of_each_period(
        time in prop_oneof![any::<i64>(), -5_000_000_000_000..5_000_000_000_000_i64],
        zone in prop::sample::select(&["Africa/Cairo", "America/St_Johns", "Pacific/Apia", "Asia/Manila", "Africa/Monrovia"][..]),
        from in prop::sample::select(&[Weekday::Monday, Weekday::Saturday][..]),
    ) {
        let day = window(Period::Day, zone, time);
        for period in [Period::Day, Period::Week { from }, Period::Month, Period::Year] {
            let (start, end) = window(period, zone, time);
            prop_assert!(start <= time && (time < end || end == i64::MAX));
            prop_assert_eq!(window(period, zone, start), (start, end));
            prop_assert!(start <= day.0 && day.1 <= end, "a day is in one {:?}", period);
            if end < i64::MAX {
                prop_assert_eq!(window(period, zone, end - 1), (start, end));
                prop_assert_eq!(window(period, zone, end).0, end);
            }
        }
    }
}
