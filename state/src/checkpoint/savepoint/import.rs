//! How the files of a savepoint come into the checkpoint directory of the job that is restored from it.

use super::open::Savepoint;
use crate::checkpoint::store::CheckpointStore;
use crate::error::StateError;

impl Savepoint {
    /// Brings the files into the store of a job, under the names that they have here. What is there already stays if it
    /// is as it should be. Returns the files and folders that were not there before.
    ///
    /// Files of this start's claim are never pruned, so the claim must be there before.
    ///
    /// # Errors
    /// When a file cannot be read or written. Then what was brought so far is removed again.
    pub(in crate::checkpoint) fn import(&self, into: &dyn CheckpointStore) -> Result<Vec<String>, StateError> {
        let mut brought = Vec::new();
        let done = self.bring(into, &mut brought);
        if done.is_err() {
            brought.iter().try_for_each(|name| into.delete(name))?;
        }
        done.map(|()| brought)
    }

    fn bring(&self, into: &dyn CheckpointStore, brought: &mut Vec<String>) -> Result<(), StateError> {
        for worker in &self.manifest.workers {
            let new_base = match &worker.base {
                Some(base) if into.list(&base.dir)?.is_empty() => Some(base.dir.as_str()),
                _ => None,
            };
            brought.extend(new_base.map(str::to_owned));
            for file in worker.files() {
                let there = into.checksum(&file.name)?;
                if there.is_some_and(|(len, crc32)| len == file.len && file.crc32.is_none_or(|wanted| wanted == crc32))
                {
                    continue;
                }
                let of_new_base = new_base.is_some_and(|dir| file.name.starts_with(dir));
                if there.is_none() && !of_new_base {
                    brought.push(file.name.clone());
                }
                into.copy_in(&file.name, &self.place.join(&file.name))?;
            }
        }
        Ok(())
    }
}
