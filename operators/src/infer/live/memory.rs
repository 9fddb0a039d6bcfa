//! How much memory is left for another version of a model.

/// Bytes that the process has in memory, and bytes that it can still get: of the machine's, or of what its cgroup allows,
/// whichever is less. None where the system does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Memory {
    pub(super) resident: u64,
    pub(super) left: u64,
}

impl Memory {
    #[cfg(target_os = "linux")]
    pub(super) fn now() -> Option<Self> {
        use procfs::Current as _;

        let machine = procfs::Meminfo::current().ok()?.mem_available?;
        let own = procfs::process::Process::myself().ok()?;
        let resident = own.statm().ok()?.resident * procfs::page_size();
        let cgroup = own.cgroups().ok().and_then(|all| {
            let unified = all.0.into_iter().find(|group| group.hierarchy == 0)?;
            of_cgroup(&std::path::Path::new("/sys/fs/cgroup").join(unified.pathname.trim_start_matches('/')))
        });
        Some(Self { resident, left: machine.min(cgroup.unwrap_or(u64::MAX)) })
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn now() -> Option<Self> {
        None
    }

    /// Checks that `count` more backends fit, each of which takes as much as the last one did.
    ///
    /// # Errors
    /// Says how much they need, and how much is left.
    pub(super) fn check(before: Option<Self>, after: Option<Self>, count: usize) -> Result<(), String> {
        let (Some(before), Some(after)) = (before, after) else { return Ok(()) };
        let each = after.resident.saturating_sub(before.resident);
        let needed = each.saturating_mul(count as u64);
        if needed <= after.left {
            return Ok(());
        }
        Err(format!(
            "not enough memory: {count} more threads need {} MiB each for it, and {} MiB are left",
            each >> 20,
            after.left >> 20
        ))
    }
}

/// Returns what a cgroup of version 2 and those around it leave.
#[cfg(target_os = "linux")]
fn of_cgroup(folder: &std::path::Path) -> Option<u64> {
    let number = |folder: &std::path::Path, name: &str| -> Option<u64> {
        std::fs::read_to_string(folder.join(name)).ok()?.trim().parse().ok()
    };
    let left = |folder: &std::path::Path| {
        // The system gives up copies of files that nobody has used lately.
        let stat = std::fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
        let files = stat.lines().find_map(|line| line.strip_prefix("inactive_file ")?.trim().parse::<u64>().ok());
        let used = number(folder, "memory.current")?.saturating_sub(files.unwrap_or(0));
        Some(number(folder, "memory.max")?.saturating_sub(used))
    };
    folder.ancestors().filter_map(left).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_with_both_sides() {
        let mib = |resident: u64, left: u64| Some(Memory { resident: resident << 20, left: left << 20 });
        assert_eq!(Memory::check(mib(100, 500), mib(300, 300), 1), Ok(()));
        let error = Memory::check(mib(100, 500), mib(300, 300), 2).unwrap_err();
        assert_eq!(error, "not enough memory: 2 more threads need 200 MiB each for it, and 300 MiB are left");
        assert_eq!(Memory::check(None, mib(300, 0), 9), Ok(()), "the system does not say");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_cgroup_leaves_the_least_of_those_around_it() {
        let scratch = tempfile::tempdir().unwrap();
        let inner = scratch.path().join("outer/inner");
        std::fs::create_dir_all(&inner).unwrap();
        let write = |folder: &std::path::Path, max: &str, current: &str| {
            std::fs::write(folder.join("memory.max"), max).unwrap();
            std::fs::write(folder.join("memory.current"), current).unwrap();
        };
        write(&inner, "max\n", "70\n");
        assert_eq!(of_cgroup(&inner), None);
        write(&scratch.path().join("outer"), "100\n", "80\n");
        assert_eq!(of_cgroup(&inner), Some(20));
        write(&inner, "90\n", "95\n");
        assert_eq!(of_cgroup(&inner), Some(0));
        std::fs::write(inner.join("memory.stat"), "file 60\ninactive_file 15\n").unwrap();
        assert_eq!(of_cgroup(&inner), Some(10));
        assert!(Memory::now().is_some_and(|memory| memory.resident > 0 && memory.left > 0));
    }
}
