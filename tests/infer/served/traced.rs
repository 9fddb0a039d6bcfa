//! Calls to model servers are spans in the trace of their epoch, and the servers are told of them: in all four
//! protocols, and only if the job sends spans to a collector.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use testkit::collector::{Collector, Manner};
use tidemill::prelude::*;
use ureq::http::HeaderMap;

use super::{connect, grpc, rest};
use crate::fake::{Act, Item, args, item, settings, threads};

/// The headers `traceparent` that the servers of this process were sent.
static PARENTS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Keeps the header of a request.
pub fn note(headers: &HeaderMap) {
    let parent = headers.get("traceparent").map(|parent| parent.to_str().unwrap().to_owned());
    PARENTS.lock().unwrap_or_else(PoisonError::into_inner).extend(parent);
}

#[test]
fn a_server_is_told_of_the_call_and_the_call_is_in_the_trace_of_its_epoch() {
    let of = |scheme: &str, port: u16| format!("{scheme}://127.0.0.1:{port}/m");
    let urls = [
        of("oip+grpc", grpc::serve(grpc::oip)),
        of("tfs+grpc", grpc::serve(grpc::tfs)),
        of("oip+http", rest::serve(|path, body| rest::oip(path, body, rest::WRITTEN[0], -1))),
        of("tfs+http", rest::serve(|path, body| rest::tfs(path, body, rest::WRITTEN[0]))),
    ];
    for url in urls {
        let collector = Collector::start(Manner::Take);
        let served = connect(&url);
        let mut args = args(2);
        args.settings.otlp_endpoint = Some(collector.url.clone());
        let items: Vec<Item> = (0..100).map(|id| item(id, Act::Score)).collect();
        let source = vec_source(items.into_iter().map(|item| (EventTime(item.id as i64), item)).collect());
        let out = CollectSink::default();
        let sink = out.clone();
        let job = Job::new("traced", args).run(move |flow| {
            let items = flow.source("items", &source)?;
            items.infer("score", &served, &settings(10, threads(2, true)), |item: &Item| &item.wish)?.sink("out", &sink)
        });
        job.unwrap();
        assert_eq!(out.data().len(), 100);
        let spans = collector.spans();
        let epochs: BTreeSet<(&str, &str)> =
            spans.iter().filter(|span| span.name == "epoch").map(|span| (&*span.trace, &*span.id)).collect();
        let calls: Vec<_> = spans.iter().filter(|span| span.name == "infer").collect();
        assert!(calls.len() >= 10, "{url}: {spans:#?}");
        let told: BTreeSet<String> = PARENTS.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect();
        for call in &calls {
            assert!(epochs.contains(&(&*call.trace, &*call.parent)), "{url}: {call:?}");
            assert!(told.contains(&format!("00-{}-{}-01", call.trace, call.id)), "{url}: {call:?} of {told:?}");
            let says = |name: &str| call.attributes.get(name).map(String::as_str);
            assert_eq!((says("tidemill.operator"), says("tidemill.model")), (Some("score"), Some("m")));
            assert_eq!((says("server.address"), call.kind, &call.error), (Some("127.0.0.1"), 3, &None));
        }
        // Other tests of this process use servers at the same time, and send no spans: theirs are told of nothing.
        assert_eq!(told.len(), calls.len(), "{url}");
        let rows = |call: &&testkit::collector::Span| call.attributes["tidemill.batch.records"].parse::<u64>().unwrap();
        assert_eq!(calls.iter().map(rows).sum::<u64>(), 100);
    }
}
