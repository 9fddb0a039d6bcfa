//! The processes of a job, as the operating system sees them, and RocksDB in them.

use super::dashboard::{Dashboard, Section};
use super::panel::{Panel, Unit};

pub(super) fn dashboard() -> Dashboard {
    Dashboard {
        uid: "tidemill-process",
        title: "Tidemill / Processes",
        description: "Processor, memory, files and RocksDB of each process.",
        sections: vec![system(), rocksdb()],
    }
}

/// The largest value of each process.
fn of_each(metric: &str) -> String {
    format!("max by (instance) ({metric}{{$S}})")
}

fn system() -> Section {
    let panels = vec![
        Panel::lines("Processors", Unit::Count)
            .query("sum by (instance) (rate(process_cpu_seconds_total{$S}[$__rate_interval]))", "{{instance}}")
            .note("1 is one processor that does nothing else."),
        Panel::lines("Memory", Unit::Bytes)
            .query(&of_each("process_resident_memory_bytes"), "{{instance}} resident")
            .query(&of_each("process_virtual_memory_bytes"), "{{instance}} virtual"),
        Panel::lines("Open files", Unit::Count)
            .query(&of_each("process_open_fds"), "{{instance}}")
            .query(&of_each("process_max_fds"), "{{instance}} limit"),
        Panel::lines("Threads", Unit::Count).query(&of_each("process_threads"), "{{instance}}"),
        Panel::lines("Running since", Unit::Seconds)
            .query("time() - max by (instance) (process_start_time_seconds{$S})", "{{instance}}"),
        Panel::lines("Connections that were refused", Unit::Count)
            .query(
                "sum by (instance, reason) (tidemill_mesh_refused_connections_total{$S})",
                "{{instance}}: {{reason}}",
            )
            .note("No line: there were none. Strangers that connect to the ports of --hosts are counted here."),
    ];
    Section { title: "The operating system", panels }
}

fn rocksdb() -> Section {
    let by_worker = |metric: &str| format!("sum by (instance, worker) ({metric}{{$S}})");
    let panels = vec![
        Panel::lines("Files and rows", Unit::Bytes)
            .query(&by_worker("tidemill_rocksdb_files_bytes"), "worker {{worker}}: files")
            .query(&by_worker("tidemill_rocksdb_live_data_bytes"), "worker {{worker}}: live rows")
            .note("Files that are several times as large as live rows wait for compaction."),
        Panel::lines("Rows", Unit::Count).query(&by_worker("tidemill_rocksdb_rows"), "worker {{worker}}"),
        Panel::stack("Memory", Unit::Bytes)
            .query("sum(tidemill_rocksdb_memtables_bytes{$S})", "memtables")
            .query("sum(tidemill_rocksdb_table_readers_bytes{$S})", "indexes and filters")
            .query("sum(tidemill_rocksdb_block_cache_bytes{$S})", "cache of blocks"),
        Panel::lines("To be compacted", Unit::Bytes)
            .query(&by_worker("tidemill_rocksdb_pending_compaction_bytes"), "worker {{worker}}"),
        Panel::lines("Compactions and flushes", Unit::Count)
            .query("sum(tidemill_rocksdb_running_compactions{$S})", "compactions")
            .query("sum(tidemill_rocksdb_running_flushes{$S})", "flushes"),
        Panel::lines("What went wrong", Unit::Count)
            .query("sum(increase(tidemill_rocksdb_background_errors_total{$S}[$__rate_interval]))", "errors")
            .query("max(tidemill_rocksdb_writes_stopped{$S})", "1: takes no writes"),
    ];
    Section { title: "RocksDB", panels }
}
