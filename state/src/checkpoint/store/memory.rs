//! A checkpoint store in memory, for simulations: it needs no file system, and is lost with the process.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use super::contract::{BaseEntry, BaseFile, CheckpointStore};
use crate::error::StateError;
use crate::locks;

pub(crate) type Files = BTreeMap<String, Arc<[u8]>>;

/// A checkpoint store in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    files: Mutex<Files>,
}

impl MemoryStore {
    fn files(&self) -> MutexGuard<'_, Files> {
        locks::lock(&self.files)
    }

    /// Returns all files, from which [`of`](Self::of) creates the same store.
    #[cfg(test)]
    pub(crate) fn contents(&self) -> Files {
        self.files().clone()
    }

    #[cfg(test)]
    pub(crate) fn of(contents: Files) -> Self {
        Self { files: Mutex::new(contents) }
    }

    fn file(&self, name: &str) -> Result<Arc<[u8]>, StateError> {
        let missing = || StateError::Corrupt { file: self.locate(name), reason: "it is not there".to_owned() };
        self.files().get(name).cloned().ok_or_else(missing)
    }
}

impl CheckpointStore for MemoryStore {
    fn put_new(&self, name: &str, bytes: &[u8]) -> Result<(), StateError> {
        let mut files = self.files();
        if files.contains_key(name) {
            return Err(StateError::Fenced { file: self.locate(name), by: "unknown".to_owned() });
        }
        files.insert(name.to_owned(), bytes.into());
        Ok(())
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), StateError> {
        self.files().insert(name.to_owned(), bytes.into());
        Ok(())
    }

    fn get(&self, name: &str) -> Result<Vec<u8>, StateError> {
        self.file(name).map(|bytes| bytes.to_vec())
    }

    fn len(&self, name: &str) -> Result<Option<u64>, StateError> {
        Ok(self.files().get(name).map(|bytes| bytes.len() as u64))
    }

    fn list(&self, folder: &str) -> Result<Vec<String>, StateError> {
        let prefix = format!("{folder}/");
        let files = self.files();
        let within = files.range(prefix.clone()..).map_while(|(name, _)| name.strip_prefix(&prefix));
        let mut names: Vec<String> = within.filter_map(|rest| rest.split('/').next()).map(str::to_owned).collect();
        names.dedup();
        Ok(names)
    }

    fn delete(&self, name: &str) -> Result<(), StateError> {
        let folder = format!("{name}/");
        self.files().retain(|file, _| file != name && !file.starts_with(&folder));
        Ok(())
    }

    fn adopt(&self, name: &str, folder: &Path) -> Result<Vec<BaseFile>, StateError> {
        let mut files = Vec::new();
        for entry in fs::read_dir(folder).map_err(StateError::io("list", folder))? {
            let path = entry.map_err(StateError::io("list", folder))?.path();
            let bytes = fs::read(&path).map_err(StateError::io("read", &path))?;
            let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            files.push(BaseFile { name: file.clone(), len: bytes.len() as u64, crc32: Some(crc32fast::hash(&bytes)) });
            self.put(&format!("{name}/{file}"), &bytes)?;
        }
        fs::remove_dir_all(folder).map_err(StateError::io("remove", folder))?;
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(files)
    }

    fn fetch(&self, base: &BaseEntry, folder: &Path) -> Result<(), StateError> {
        fs::create_dir_all(folder).map_err(StateError::io("create", folder))?;
        for file in &base.files {
            let to = folder.join(&file.name);
            fs::write(&to, self.file(&format!("{}/{}", base.dir, file.name))?).map_err(StateError::io("write", &to))?;
        }
        Ok(())
    }

    fn locate(&self, name: &str) -> String {
        format!("{name} (in memory)")
    }
}

#[cfg(test)]
mod tests {
    use super::super::LocalStore;
    use super::*;

    /// Checks that both kinds of store behave the same.
    #[test]
    fn memory_does_what_a_folder_does() {
        let scratch = tempfile::tempdir().unwrap();
        let (memory, local) = (MemoryStore::default(), LocalStore::open(&scratch.path().join("store")).unwrap());
        for (at, store) in [&memory as &dyn CheckpointStore, &local].into_iter().enumerate() {
            store.put_new("manifests/1.json", b"one").unwrap();
            assert!(matches!(store.put_new("manifests/1.json", b"two"), Err(StateError::Fenced { .. })));
            store.put("deltas/2", b"").unwrap();
            store.put("deltas/1", b"delta").unwrap();
            let folder = scratch.path().join(format!("base-{at}"));
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("b"), b"bb").unwrap();
            fs::write(folder.join("a.sst"), b"a").unwrap();
            let files = store.adopt("bases/1", &folder).unwrap();
            assert!(!folder.exists());
            assert_eq!(files.iter().map(|f| (f.name.as_str(), f.len)).collect::<Vec<_>>(), [("a.sst", 1), ("b", 2)]);
            assert_eq!(store.list("deltas").unwrap(), ["1", "2"]);
            assert_eq!(store.list("bases").unwrap(), ["1"]);
            assert_eq!(store.get("manifests/1.json").unwrap(), b"one");
            assert_eq!((store.len("deltas/1").unwrap(), store.len("deltas/3").unwrap()), (Some(5), None));
            store.fetch(&BaseEntry { epoch: 1, dir: "bases/1".to_owned(), files }, &folder).unwrap();
            assert_eq!(fs::read(folder.join("b")).unwrap(), b"bb");
            store.delete("bases/1").unwrap();
            store.delete("deltas/1").unwrap();
            store.delete("deltas/1").unwrap();
            assert!(store.get("deltas/1").is_err());
            assert_eq!(store.len("bases/1/b").unwrap(), None);
        }
    }
}
