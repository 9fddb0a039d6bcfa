//! The page of a job of two processes, one of which stands still for a while.

use serde_json::json;
use testkit::free_address;

use crate::browser::Browser;
use crate::job::Job;
use crate::picture::{DESK, PHONE, axe, keep_picture};

#[test]
fn all_processes_are_on_the_page_and_one_that_stands_still_looks_so() {
    let (folder, pages) = (tempfile::tempdir().unwrap(), [free_address(), free_address()]);
    let hosts = format!("{},{}", free_address(), free_address());
    let start = |process: usize| Job::start_one_of_two(process, &hosts, pages[process], folder.path());
    let (_first, second) = (start(0), start(1));
    let browser = Browser::start();
    browser.show_as(DESK, "light");
    browser.open(&format!("http://{}/#op=score&tail=score", pages[0]));
    browser.until("both processes", "document.querySelectorAll('#processes-table tbody tr').length === 2");
    browser.until("both run", "document.querySelector('#processes-table').innerText.match(/● running/g)?.length === 2");
    browser.until("all workers", "document.querySelectorAll('#workers-table tbody tr').length === 4");
    assert!(browser.text("#processes-words").contains("of all processes together"));
    let both = "['process 0', 'process 1'].every(name => document.querySelector('#tail-box').innerText.includes(name))";
    browser.until("records of both", both);
    let parts = "document.querySelectorAll('#phases-table tbody tr').length === 4";
    browser.until("parts of all workers", parts);
    let colours = "const of = (box, name) => [...document.querySelectorAll(box)].map(one => [name(one), one.dataset.phase]); \
                   const heads = of('#phases-table .swatch', one => one.parentNode.innerText); \
                   const bars = of('#phases-table td.bar i', one => one.title); \
                   return heads.length > 3 && bars.every(([name, phase]) => heads.some(([head, of]) => head === name && of === phase))";
    assert_eq!(browser.run(colours), json!(true), "a phase has one colour in the head and another one in the bars");
    browser.run("document.querySelector('#processes').scrollIntoView()");
    keep_picture(&browser, "processes");

    second.signal("-STOP");
    browser.until("one is silent", "document.querySelector('#processes-table').innerText.includes('✖ silent')");
    assert!(browser.text("#processes-words").contains("process 1 (it did not answer within 1 s)"));
    browser.until("workers that are known", "document.querySelectorAll('#workers-table tbody tr').length === 2");
    let axe = axe();
    for (size, theme) in [(DESK, "light"), (PHONE, "dark")] {
        browser.show_as(size, theme);
        assert_eq!(browser.violations(&axe), Vec::<String>::new(), "{theme}");
    }
    let wider = browser.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth");
    assert_eq!(wider, json!(0), "the page scrolls sideways");
    browser.run("document.querySelector('#processes').scrollIntoView()");
    keep_picture(&browser, "processes-silent");
    second.signal("-CONT");
    browser.until("it is back", "document.querySelectorAll('#workers-table tbody tr').length === 4");
    assert_eq!(browser.errors(), Vec::<String>::new());
}
