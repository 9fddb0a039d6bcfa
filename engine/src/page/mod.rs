//! The files of the page, which are part of the program: nothing is fetched from elsewhere, and nothing has to be built.
//!
//! ```text
//! index.html ─▶ main.js ─▶ a module for each panel ─▶ store.js (what is known of the job) · dom.js · format.js
//!                      └─▶ live.js (the connection) ─▶ api.js (requests, the stream of events)
//! ```
//! Scripts are modules as browsers run them. `vendor/` has uPlot, which draws the charts; `cargo xtask vendor` compares
//! it with its package.

/// A file of the page.
#[derive(Debug)]
pub(crate) struct Asset {
    pub(crate) path: &'static str,
    pub(crate) content_type: &'static str,
    pub(crate) body: &'static str,
}

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const IMAGE: &str = "image/svg+xml";
const TEXT: &str = "text/plain; charset=utf-8";

macro_rules! asset {
    ($file:literal, $content_type:expr) => {
        Asset { path: concat!("/app/", $file), content_type: $content_type, body: include_str!($file) }
    };
}

/// All files of the page.
pub(crate) static ASSETS: &[Asset] = &[
    Asset { path: "/", content_type: HTML, body: include_str!("index.html") },
    asset!("style.css", STYLE),
    asset!("icon.svg", IMAGE),
    asset!("main.js", SCRIPT),
    asset!("actions.js", SCRIPT),
    asset!("api.js", SCRIPT),
    asset!("charts.js", SCRIPT),
    asset!("checkpoints.js", SCRIPT),
    asset!("cluster.js", SCRIPT),
    asset!("detail.js", SCRIPT),
    asset!("dom.js", SCRIPT),
    asset!("drift.js", SCRIPT),
    asset!("format.js", SCRIPT),
    asset!("graph.js", SCRIPT),
    asset!("hash.js", SCRIPT),
    asset!("headline.js", SCRIPT),
    asset!("inference.js", SCRIPT),
    asset!("live.js", SCRIPT),
    asset!("log.js", SCRIPT),
    asset!("operators.js", SCRIPT),
    asset!("route.js", SCRIPT),
    asset!("rules.js", SCRIPT),
    asset!("save.js", SCRIPT),
    asset!("store.js", SCRIPT),
    asset!("tail.js", SCRIPT),
    asset!("versions.js", SCRIPT),
    asset!("vendor/uPlot.iife.min.js", SCRIPT),
    asset!("vendor/uPlot.min.css", STYLE),
    asset!("vendor/uPlot.LICENSE", TEXT),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    fn files(folder: &Path, prefix: &str) -> BTreeSet<String> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
        let found = entries.flat_map(|entry| {
            let name = format!("{prefix}{}", entry.file_name().display());
            if entry.path().is_dir() { files(&entry.path(), &format!("{name}/")) } else { BTreeSet::from([name]) }
        });
        found.filter(|name| !name.ends_with(".rs")).collect()
    }

    #[test]
    fn each_file_of_the_folder_is_served() {
        let served = ASSETS.iter().map(|asset| asset.path.strip_prefix("/app/").unwrap_or("index.html").to_owned());
        let there = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/page"), "");
        assert_eq!(served.collect::<BTreeSet<_>>(), there);
    }

    /// Returns the texts between `before` and the next quote.
    fn between<'t>(text: &'t str, before: &str) -> Vec<&'t str> {
        text.split(before).skip(1).filter_map(|rest| rest.split('"').next()).collect()
    }

    #[test]
    fn what_is_loaded_is_served() {
        let paths: BTreeSet<&str> = ASSETS.iter().map(|asset| asset.path).collect();
        let mut imports = 0;
        for asset in ASSETS.iter().filter(|asset| asset.content_type == SCRIPT && !asset.path.contains("vendor")) {
            for import in between(asset.body, "from \"./") {
                imports += 1;
                let path = format!("/app/{import}");
                assert!(paths.contains(path.as_str()), "{} imports {path}", asset.path);
            }
        }
        let loaded = [between(ASSETS[0].body, "src=\""), between(ASSETS[0].body, "href=\"/app")].concat();
        let missing = |path: &&&str| !paths.contains(**path) && !paths.contains(format!("/app{path}").as_str());
        assert_eq!(loaded.iter().filter(missing).collect::<Vec<_>>(), Vec::<&&str>::new());
        assert!(imports > 40 && loaded.len() >= 5, "the test finds only {imports} imports and {loaded:?}");
    }

    /// The policy of the answers forbids it: a browser would not run such a script, nor load anything from elsewhere.
    #[test]
    fn nothing_is_inline_and_nothing_comes_from_elsewhere() {
        let html = ASSETS[0].body;
        for inline in ["<style", "<script>", " style=", " onclick=", "http:", "https:"] {
            assert!(!html.contains(inline), "{inline}");
        }
        for asset in ASSETS.iter().filter(|asset| asset.content_type == SCRIPT && !asset.path.contains("vendor")) {
            // What records and operators are called is text.
            for forbidden in ["innerHTML", "insertAdjacentHTML", "document.write", "eval(", "https:"] {
                assert!(!asset.body.contains(forbidden), "{}: {forbidden}", asset.path);
            }
        }
    }
}
