//! A decoder of gzip files: members one after the other, perhaps followed by zeros, with which tapes and archives pad
//! files.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::GzDecoder;

/// The members of a gzip file, decompressed.
pub(super) struct Members<R> {
    state: State<R>,
}

enum State<R> {
    Within(Box<GzDecoder<BufReader<R>>>),
    Between(BufReader<R>),
    Ended,
}

impl<R: Read> Members<R> {
    pub(super) fn new(file: R) -> Self {
        let file = BufReader::with_capacity(1 << 16, file);
        Self { state: State::Within(Box::new(GzDecoder::new(file))) }
    }
}

impl<R: Read> Read for Members<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            if let State::Within(member) = &mut self.state {
                let read = member.read(out)?;
                if read > 0 || out.is_empty() {
                    return Ok(read);
                }
            }
            self.state = match std::mem::replace(&mut self.state, State::Ended) {
                State::Ended => return Ok(0),
                State::Within(member) => State::Between(member.into_inner()),
                State::Between(file) => next_member(file)?,
            };
        }
    }
}

/// Skips zeros up to the next member or the end of the file.
fn next_member<R: Read>(mut file: BufReader<R>) -> io::Result<State<R>> {
    loop {
        let bytes = file.fill_buf()?;
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        let Some(next) = bytes.get(zeros).copied() else {
            if bytes.is_empty() {
                return Ok(State::Ended);
            }
            file.consume(zeros);
            continue;
        };
        file.consume(zeros);
        if next != 0x1f {
            let what = "after its last member there is data that is not gzip: if it is garbage, remove it";
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        return Ok(State::Within(Box::new(GzDecoder::new(file))));
    }
}
