//! The rows of an epoch: the commands of each record, as bytes that wait in a checkpoint.
//!
//! ```text
//! row: number of commands u8 · of each: number of arguments u32 · of each: length u32, bytes
//! ```

use tidemill_engine::ConnectorError;

/// Number of bytes that an argument costs besides its own.
const PER_ARGUMENT: usize = 16;

/// A command: its name, its key, and the other arguments.
pub(super) type Command<'b> = Vec<&'b [u8]>;

/// The same, before it is encoded.
pub(super) type Arguments = Vec<Vec<u8>>;

/// Appends a row.
pub(super) fn write(commands: &[Arguments], rows: &mut Vec<u8>) -> Result<(), std::num::TryFromIntError> {
    rows.push(u8::try_from(commands.len())?);
    for arguments in commands {
        rows.extend(u32::try_from(arguments.len())?.to_le_bytes());
        for argument in arguments {
            rows.extend(u32::try_from(argument.len())?.to_le_bytes());
            rows.extend(argument);
        }
    }
    Ok(())
}

/// Rows that one script writes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Batch<'b> {
    pub(super) rows: usize,
    pub(super) commands: Vec<Command<'b>>,
    /// Whether these are the last rows of the epoch.
    pub(super) last: bool,
}

/// The rows that have not been written yet.
#[derive(Clone, Debug)]
pub(super) struct Rows<'b> {
    rest: &'b [u8],
}

impl<'b> Rows<'b> {
    pub(super) fn new(bytes: &'b [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Passes over `count` rows.
    pub(super) fn skip(&mut self, count: usize) -> Option<()> {
        (0..count).try_for_each(|_| self.row().map(drop))
    }

    /// Returns the next rows, as many as have no more than `max_bytes`, but at least one. `None` if they are damaged.
    pub(super) fn batch(&mut self, max_bytes: usize) -> Option<Batch<'b>> {
        let (mut batch, mut bytes) = (Batch::default(), 0);
        while !self.rest.is_empty() {
            let before = self.rest;
            let commands = self.row()?;
            let arguments = commands.iter().flatten();
            bytes += arguments.map(|argument| argument.len() + PER_ARGUMENT).sum::<usize>();
            if batch.rows > 0 && bytes > max_bytes {
                self.rest = before;
                return Some(batch);
            }
            batch.rows += 1;
            batch.commands.extend(commands);
        }
        batch.last = true;
        Some(batch)
    }

    fn row(&mut self) -> Option<Vec<Command<'b>>> {
        let (count, rest) = self.rest.split_first()?;
        self.rest = rest;
        (0..*count).map(|_| self.command()).collect()
    }

    fn command(&mut self) -> Option<Command<'b>> {
        let arguments = self.number()?;
        let command: Option<Command<'b>> = (0..arguments).map(|_| self.argument()).collect();
        // A command has a key.
        command.filter(|command| command.len() >= 2)
    }

    fn argument(&mut self) -> Option<&'b [u8]> {
        let len = self.number()?;
        let (argument, rest) = self.rest.split_at_checked(len as usize)?;
        self.rest = rest;
        Some(argument)
    }

    fn number(&mut self) -> Option<u32> {
        let (number, rest) = self.rest.split_first_chunk::<4>()?;
        self.rest = rest;
        Some(u32::from_le_bytes(*number))
    }
}

/// Checks that rows from a checkpoint are whole.
pub(super) fn check(bytes: &[u8], damaged: impl FnOnce() -> ConnectorError) -> Result<(), ConnectorError> {
    let mut rows = Rows::new(bytes);
    while !rows.rest.is_empty() {
        if rows.row().is_none() {
            return Err(damaged());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tidemill_engine::ErrorKind;

    use super::*;

    fn command(arguments: &[&str]) -> Vec<Vec<u8>> {
        arguments.iter().map(|argument| argument.as_bytes().to_vec()).collect()
    }

    fn three() -> Vec<u8> {
        let mut rows = Vec::new();
        write(&[command(&["SET", "a", ""])], &mut rows).unwrap();
        write(&[command(&["HSET", "b", "x", "1"]), command(&["PEXPIRE", "b", "5"])], &mut rows).unwrap();
        write(&[command(&["DEL", "c"])], &mut rows).unwrap();
        rows
    }

    #[test]
    fn rows_are_cut_into_batches_that_never_cut_a_row() {
        let bytes = three();
        let mut rows = Rows::new(&bytes);
        let all = rows.batch(1 << 20).unwrap();
        assert_eq!((all.rows, all.commands.len(), all.last), (3, 4, true));
        let mut rows = Rows::new(&bytes);
        let batches: Vec<_> = std::iter::repeat_with(|| rows.batch(1).unwrap()).take(3).collect();
        assert_eq!(
            batches.iter().map(|batch| (batch.rows, batch.last)).collect::<Vec<_>>(),
            [(1, false), (1, false), (1, true)]
        );
        assert_eq!(batches[1].commands[1], [&b"PEXPIRE"[..], b"b", b"5"]);
        let mut rows = Rows::new(&bytes);
        rows.skip(2).unwrap();
        assert_eq!(rows.batch(1).unwrap().commands, [[&b"DEL"[..], b"c"]]);
        assert!(rows.batch(1).is_some_and(|batch| batch.last && batch.rows == 0));
        assert_eq!(rows.skip(1), None);
    }

    #[test]
    fn rows_that_are_cut_off_are_damaged() {
        let bytes = three();
        let damaged = || ConnectorError::new(ErrorKind::Data, "damaged");
        check(&bytes, damaged).unwrap();
        for len in 1..bytes.len() {
            let whole = check(&bytes[..len], damaged).is_ok();
            assert_eq!(whole, Rows::new(&bytes[..len]).batch(1 << 20).is_some(), "{len}");
        }
        assert!(check(&bytes[..bytes.len() - 1], damaged).is_err());
        assert!(check(&[1, 255, 255, 255, 255, 0], damaged).is_err());
    }
}
