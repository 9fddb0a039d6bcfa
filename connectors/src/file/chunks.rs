//! A file as Parquet's reader needs it: chunks from any offset.

use std::io;

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

use super::handle::{Handle, HandleReader};

impl Length for Handle {
    fn len(&self) -> u64 {
        self.first_length()
    }
}

impl ChunkReader for Handle {
    type T = io::BufReader<HandleReader>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(io::BufReader::new(self.reader_from(start)))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let bytes = self.bytes_at(start, length)?;
        if bytes.len() < length {
            return Err(ParquetError::EOF(format!("{} bytes at {start} in place of {length}", bytes.len())));
        }
        Ok(bytes.into())
    }
}
