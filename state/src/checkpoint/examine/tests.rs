use super::*;
use crate::checkpoint::sample::{checkpoint, files};
use crate::checkpoint::store::{LocalStore, MemoryStore};

#[test]
fn each_changed_byte_of_each_file_is_found_and_located_outside_of_the_manifest() {
    let store = MemoryStore::default();
    let manifest = checkpoint(&store, 5);
    let whole = examine(&store, None).unwrap();
    assert_eq!((whole.whole, whole.findings, whole.notices), (vec![5], vec![], vec![]));
    let mut count = 0;
    for file in files(&manifest) {
        let bytes = store.get(&file).unwrap();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            store.put(&file, &changed).unwrap();
            let found = examine(&store, Some(5)).unwrap();
            let [finding] = &found.findings[..] else { panic!("{file}, byte {at}: {:?}", found.findings) };
            assert_eq!((&finding.file, &finding.epochs[..], &found.whole[..]), (&file, &[5][..], &[][..]), "byte {at}");
            if !file.starts_with("manifests") {
                assert_eq!((finding.fault, finding.offset), (Fault::Changed, Some(at as u64)), "{file}");
            }
            count += 1;
        }
        store.put(&file, &bytes).unwrap();
    }
    assert!(examine(&store, None).unwrap().findings.is_empty());
    println!("{count} bytes");
}

#[test]
fn a_missing_a_cut_and_a_longer_file_are_found() {
    let store = MemoryStore::default();
    let manifest = checkpoint(&store, 5);
    for file in files(&manifest).into_iter().filter(|file| !file.starts_with("manifests")) {
        let bytes = store.get(&file).unwrap();
        let len = bytes.len() as u64;
        let longer = [&bytes[..], b"!"].concat();
        let cases = [
            (None, Fault::Missing, None),
            (Some(&bytes[..bytes.len() / 2]), Fault::Truncated, Some(len / 2)),
            (Some(&longer[..]), Fault::TooLong, Some(len)),
        ];
        for (contents, fault, offset) in cases {
            // RocksDB's log has no bytes, and cannot be cut.
            if fault == Fault::Truncated && len == 0 {
                continue;
            }
            store.delete(&file).unwrap();
            contents.iter().for_each(|bytes| store.put(&file, bytes).unwrap());
            let found = examine(&store, None).unwrap();
            let [finding] = &found.findings[..] else { panic!("{file}: {:?}", found.findings) };
            assert_eq!((&finding.file, finding.fault, finding.offset), (&file, fault, offset));
            assert!(finding.expected.contains(&len.to_string()), "{finding:?}");
        }
        store.put(&file, &bytes).unwrap();
    }
}

#[test]
fn an_extra_file_is_found_and_what_a_crash_leaves_is_a_notice() {
    let scratch = tempfile::tempdir().unwrap();
    let store = LocalStore::open(scratch.path()).unwrap();
    let manifest = checkpoint(&store, 5);
    let base = manifest.workers[0].base.as_ref().unwrap().dir.clone();
    let old = "deltas/00000000000000000003-w000-0000000000000001.delta";
    let open = "deltas/00000000000000000009-w001-0000000000000001.delta";
    let lost = "deltas/00000000000000000010-w000-0000000000000001.delta";
    let cut = "manifests/00000000000000000006.json.77-0.tmp";
    let extra = [
        "notes.txt".to_owned(),
        "deltas/copy.delta".to_owned(),
        "manifests/5.json.bak".to_owned(),
        format!("{base}/LOG"),
    ];
    for file in extra.iter().map(String::as_str).chain([old, open, lost, cut]) {
        std::fs::write(scratch.path().join(file), b"x").unwrap();
    }
    let found = examine(&store, None).unwrap();
    let faults: Vec<(String, Fault)> = found.findings.into_iter().map(|found| (found.file, found.fault)).collect();
    let mut expected: Vec<(String, Fault)> = extra.into_iter().map(|file| (file, Fault::Unexpected)).collect();
    expected.push((lost.to_owned(), Fault::ManifestLost));
    expected.sort();
    assert_eq!(faults, expected);
    assert_eq!(found.notices.iter().map(|notice| notice.file.as_str()).collect::<Vec<_>>(), [old, open, cut]);
    assert_eq!(found.whole, [5], "no extra file is needed by a checkpoint");
}
