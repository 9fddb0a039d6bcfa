//! The programs that are compared: what each is, and what it is called.

use std::fmt;

/// What a program computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Job {
    /// Windows of 10 s over readings of machines.
    Iot,
    /// Velocity of cards, and a rule.
    Fraud,
    /// Velocity of cards, and a model.
    FraudScore,
}

impl Job {
    pub const ALL: [Self; 3] = [Self::Iot, Self::Fraud, Self::FraudScore];

    pub fn name(self) -> &'static str {
        match self {
            Self::Iot => "iot",
            Self::Fraud => "fraud",
            Self::FraudScore => "fraud-score",
        }
    }
}

/// How a program runs a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// A plain loop on one thread.
    Limit,
    Timely {
        workers: usize,
    },
    Tidemill {
        workers: usize,
        checkpoints: Option<&'static str>,
        of: Build,
    },
    Renoir,
    Flink {
        backend: &'static str,
        checkpoints: bool,
    },
    Bytewax {
        recovery: bool,
    },
}

/// Which build of Tidemill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Build {
    /// This one.
    This,
    /// The one in the folder of `--against`.
    Other,
}

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Program {
    pub job: Job,
    pub engine: Engine,
}

impl Program {
    /// Returns all programs, job by job.
    pub fn all(with_other: bool) -> Vec<Self> {
        let builds: &[Build] = if with_other { &[Build::This, Build::Other] } else { &[Build::This] };
        let mut programs = Vec::new();
        for job in Job::ALL {
            let mut add = |engine| programs.push(Self { job, engine });
            add(Engine::Limit);
            for workers in [1, 2] {
                add(Engine::Timely { workers });
            }
            for workers in [1, 2] {
                for checkpoints in [None, Some("1s"), Some("100ms")] {
                    builds.iter().for_each(|of| add(Engine::Tidemill { workers, checkpoints, of: *of }));
                }
            }
            if job == Job::Iot {
                add(Engine::Renoir);
            }
            for (backend, checkpoints) in [("hashmap", false), ("hashmap", true), ("rocksdb", true)] {
                add(Engine::Flink { backend, checkpoints });
            }
            add(Engine::Bytewax { recovery: false });
            // A snapshot of windows each second takes Bytewax six minutes for the small input.
            if job != Job::Iot {
                add(Engine::Bytewax { recovery: true });
            }
        }
        programs
    }

    /// Returns how many workers the program has.
    pub fn workers(self) -> usize {
        match self.engine {
            Engine::Limit => 1,
            Engine::Timely { workers } | Engine::Tidemill { workers, .. } => workers,
            Engine::Renoir | Engine::Flink { .. } | Engine::Bytewax { .. } => 2,
        }
    }

    /// Returns whether it is a program of this build of Tidemill.
    pub fn is_of(self, build: Build) -> bool {
        matches!(self.engine, Engine::Tidemill { of, .. } if of == build)
    }

    /// Returns whether it is run only once, because it takes minutes.
    pub fn is_slow(self) -> bool {
        match self.engine {
            Engine::Bytewax { .. } => true,
            Engine::Flink { .. } => self.job != Job::Iot,
            _ => false,
        }
    }

    /// Returns whether it has the small input whatever the size asked for.
    pub fn is_small(self) -> bool {
        matches!(self.engine, Engine::Bytewax { .. })
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Limit => write!(f, "limit"),
            Self::Timely { workers } => write!(f, "timely-{workers}"),
            Self::Tidemill { workers, checkpoints, of } => {
                let (ck, interval) = checkpoints.map_or(("", ""), |interval| ("-ck", interval));
                let other = if *of == Build::Other { "-other" } else { "" };
                write!(f, "tidemill-{workers}{ck}{interval}{other}")
            }
            Self::Renoir => write!(f, "renoir-2"),
            Self::Flink { backend, checkpoints } => {
                let place = if *backend == "rocksdb" { "rocksdb" } else { "heap" };
                write!(f, "flink-2-{place}{}", if *checkpoints { "-ck1s" } else { "" })
            }
            Self::Bytewax { recovery } => write!(f, "bytewax-2{}", if *recovery { "-recovery1s" } else { "" }),
        }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.job.name(), self.engine)
    }
}
