//! Files that are closed when too many are open, so that a job can read more files than a process may have open.
//!
//! ```text
//! Handle ─▶ Slot: path, identity, the file while it is open      all slots of the process: the least recently used
//!                                                                files are closed when there are too many, and
//!                                                                opened again when they are read
//! ```

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use super::folder;
use super::stamp::FileId;
use tidemill_engine::locks::lock;

/// A file that can be read at any time, whether it is open or not. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Handle(Arc<Slot>);

#[derive(Debug)]
struct Slot {
    /// The name of the file when it was last opened.
    path: Mutex<PathBuf>,
    id: FileId,
    /// Length of the file when it was first opened, in bytes.
    length: u64,
    file: Mutex<Option<Arc<File>>>,
    /// The value of `USES` when the file was last used.
    used: AtomicU64,
}

/// The slots of all files that have a handle.
static SLOTS: Mutex<Vec<Weak<Slot>>> = Mutex::new(Vec::new());
/// Number of uses of all files.
static USES: AtomicU64 = AtomicU64::new(0);

/// Returns the maximum number of open files: half of the limit of the process. The other half is for checkpoints,
/// state and connections.
fn most_open() -> usize {
    let soft = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(soft / 2).unwrap_or(usize::MAX).clamp(4, 8192)
}

fn make_room(most: usize) {
    let mut slots = lock(&SLOTS);
    slots.retain(|slot| slot.strong_count() > 0);
    close_unused(slots.iter().filter_map(Weak::upgrade), most);
}

/// Closes the least recently used files, so that fewer than `most` are open. Closes several at once, so that not
/// every opening has to close a file.
fn close_unused(slots: impl Iterator<Item = Arc<Slot>>, most: usize) {
    // A file whose lock is taken is in use or being opened.
    let is_open = |slot: &Arc<Slot>| slot.file.try_lock().is_ok_and(|file| file.is_some());
    let mut open: Vec<Arc<Slot>> = slots.filter(is_open).collect();
    if open.len() < most {
        return;
    }
    let close = (open.len() + 1 - most).max(most / 8);
    open.sort_by_key(|slot| slot.used.load(Ordering::Relaxed));
    for slot in open.iter().take(close) {
        if let Ok(mut file) = slot.file.try_lock() {
            *file = None;
        }
    }
}

/// Closes all files of a folder, as the opening of other files can.
#[cfg(test)]
pub(crate) fn close_all_in(folder: &Path) {
    let slots: Vec<Arc<Slot>> = lock(&SLOTS).iter().filter_map(Weak::upgrade).collect();
    slots.iter().filter(|slot| lock(&slot.path).starts_with(folder)).for_each(|slot| *lock(&slot.file) = None);
}

fn open(path: &Path) -> io::Result<File> {
    make_room(most_open());
    File::open(path).or_else(|error| {
        let none_left = [Errno::MFILE, Errno::NFILE].iter().any(|e| error.raw_os_error() == Some(e.raw_os_error()));
        if !none_left {
            return Err(error);
        }
        // Other parts of the process use more than their half of the limit.
        make_room(1);
        File::open(path)
    })
}

impl Handle {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = open(path)?;
        let metadata = file.metadata()?;
        let slot = Arc::new(Slot {
            path: Mutex::new(path.to_owned()),
            id: FileId::of(&metadata),
            length: metadata.len(),
            file: Mutex::new(Some(Arc::new(file))),
            used: AtomicU64::new(USES.fetch_add(1, Ordering::Relaxed)),
        });
        lock(&SLOTS).push(Arc::downgrade(&slot));
        Ok(Self(slot))
    }

    pub(crate) fn id(&self) -> FileId {
        self.0.id
    }

    /// Returns the length of the file when it was first opened, in bytes.
    pub(crate) fn first_length(&self) -> u64 {
        self.0.length
    }

    /// Returns the name of the file when it was last opened.
    pub(crate) fn path(&self) -> PathBuf {
        lock(&self.0.path).clone()
    }

    /// Closes the file until it is read again.
    pub(crate) fn close(&self) {
        *lock(&self.0.file) = None;
    }

    pub(crate) fn metadata(&self) -> io::Result<Metadata> {
        self.file()?.metadata()
    }

    pub(crate) fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file()?.read_at(out, offset)
    }

    /// Reads `len` bytes from `offset` on, or fewer at the end of the file.
    pub(crate) fn bytes_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        let mut filled = 0;
        while filled < len {
            match self.read_at(&mut bytes[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    /// Returns a reader of the whole file.
    pub(crate) fn reader(&self) -> HandleReader {
        self.reader_from(0)
    }

    /// Returns a reader of the file from `offset` on.
    pub(super) fn reader_from(&self, offset: u64) -> HandleReader {
        HandleReader { handle: self.clone(), offset }
    }

    /// Returns the open file. Opens it again if it was closed, also under another name in the same folder.
    fn file(&self) -> io::Result<Arc<File>> {
        let slot = &*self.0;
        slot.used.store(USES.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        let mut file = lock(&slot.file);
        if let Some(file) = &*file {
            return Ok(Arc::clone(file));
        }
        let path = self.path();
        let again = reopen(&path, slot.id)?.map_or_else(
            || {
                // The file may have been renamed.
                let renamed = folder::with_id(&path, slot.id)?;
                let again = renamed.as_deref().map(|path| reopen(path, slot.id)).transpose()?.flatten();
                Ok::<_, io::Error>(again.zip(renamed))
            },
            |again| Ok(Some((again, path.clone()))),
        )?;
        let Some((again, path)) = again else {
            let what =
                format!("\"{}\" was removed or replaced while it was read, and closed meanwhile", path.display());
            return Err(io::Error::new(io::ErrorKind::NotFound, what));
        };
        *lock(&slot.path) = path;
        let again = Arc::new(again);
        *file = Some(Arc::clone(&again));
        Ok(again)
    }
}

/// Opens the file at `path`, if it has the identity `id`.
fn reopen(path: &Path, id: FileId) -> io::Result<Option<File>> {
    match open(path) {
        Ok(file) => Ok((FileId::of(&file.metadata()?) == id).then_some(file)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// A sequential reader of a file.
pub(crate) struct HandleReader {
    handle: Handle,
    offset: u64,
}

impl Read for HandleReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.handle.read_at(out, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn is_open(handle: &Handle) -> bool {
        lock(&handle.0.file).is_some()
    }

    #[test]
    fn a_closed_file_is_opened_again_even_under_another_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "one").unwrap();
        let handle = Handle::open(&path).unwrap();
        handle.close();
        assert!(!is_open(&handle));
        assert_eq!(handle.bytes_at(1, 9).unwrap(), b"ne");
        handle.close();
        fs::rename(&path, folder.path().join("a.1")).unwrap();
        fs::write(&path, "two").unwrap();
        assert_eq!(handle.bytes_at(0, 9).unwrap(), b"one");
        assert!(handle.path().ends_with("a.1"));
        handle.close();
        fs::remove_file(handle.path()).unwrap();
        assert!(handle.bytes_at(0, 9).unwrap_err().to_string().contains("removed or replaced"));
    }

    #[test]
    fn the_least_recently_used_file_is_closed() {
        let folder = tempfile::tempdir().unwrap();
        let handles: Vec<Handle> = (0..40)
            .map(|n| {
                let path = folder.path().join(n.to_string());
                fs::write(&path, n.to_string()).unwrap();
                Handle::open(&path).unwrap()
            })
            .collect();
        handles[0].read_at(&mut [0], 0).unwrap();
        close_unused(handles.iter().map(|handle| Arc::clone(&handle.0)), 8);
        let open: Vec<usize> = (0..40).filter(|n| is_open(&handles[*n])).collect();
        assert_eq!(open, [0, 34, 35, 36, 37, 38, 39]);
        assert!((0..40).all(|n| handles[n].bytes_at(0, 9).unwrap() == n.to_string().as_bytes()));
    }
}
